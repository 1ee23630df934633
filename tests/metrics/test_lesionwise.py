"""Lesion-wise scores against hand counts and a plain reference that follows the published procedure voxel by voxel."""

import itertools
import math

import numpy as np
import pytest

from medseg.errors import ConfigError, DataError
from medseg.metrics.lesionwise import LESION_RULES, get_lesion_rules, score_lesions

surface_distance = pytest.importorskip("surface_distance")

MM = (1.0, 1.0, 1.0)
GLI, MEN, MET = (LESION_RULES[f"brats2023_{name}"] for name in ("gli", "men", "met"))


def boxes(*corners, shape=(30, 24, 24)):
    mask = np.zeros(shape, dtype=bool)
    for (x, y, z), (dx, dy, dz) in corners:
        mask[x : x + dx, y : y + dy, z : z + dz] = True
    return mask


CUBE = ((4, 4, 4), (4, 4, 4))  # 64 mm3
FAR = ((20, 14, 14), (4, 4, 4))


def score(reference, prediction, rules=GLI, spacing_mm=MM):
    return score_lesions(reference, prediction, spacing_mm=spacing_mm, rules=rules)


def test_a_perfect_prediction():
    found = score(boxes(CUBE, FAR), boxes(CUBE, FAR))
    assert (found.dice, found.hd95_mm, found.f1) == (1.0, 0.0, 1.0)
    assert (found.n_tp, found.n_fp, found.n_fn) == (2, 0, 0)


def test_nothing_anywhere():
    found = score(boxes(), boxes())
    assert (found.dice, found.hd95_mm, found.f1, found.lesions) == (1.0, 0.0, 1.0, ())


def test_a_missed_lesion_counts_0_and_374_mm():
    found = score(boxes(CUBE, FAR), boxes(CUBE))
    assert (found.dice, found.hd95_mm) == (0.5, 374 / 2)
    assert found.f1 == pytest.approx(2 / 3)
    assert (found.n_tp, found.n_fp, found.n_fn) == (1, 0, 1)


def test_a_false_positive_counts_0_and_374_mm_even_if_it_is_one_voxel():
    found = score(boxes(CUBE), boxes(CUBE, ((20, 14, 14), (1, 1, 1))))
    assert (found.dice, found.hd95_mm, found.n_fp) == (0.5, 187.0, 1)


def test_a_false_positive_without_any_lesion():
    found = score(boxes(), boxes(CUBE))
    assert (found.dice, found.hd95_mm, found.f1) == (0.0, 374.0, 0.0)


def test_a_small_lesion_is_not_scored_and_what_was_found_of_it_is_no_false_positive():
    small = ((20, 14, 14), (5, 5, 2))  # 50 mm3: at the threshold is too small
    found = score(boxes(CUBE, small), boxes(CUBE, ((20, 14, 14), (5, 5, 1))))
    assert (found.dice, found.n_tp, found.n_fp, found.n_fn) == (1.0, 1, 0, 0)
    assert [lesion.scored for lesion in found.lesions] == [True, False]
    assert score(boxes(CUBE, small), boxes(CUBE)).dice == 1.0
    larger = ((20, 14, 14), (5, 5, 3))
    assert score(boxes(CUBE, larger), boxes(CUBE)).dice == 0.5


def test_volume_is_in_mm3():
    small = boxes(((4, 4, 4), (5, 5, 2)))
    assert score(small, boxes(), spacing_mm=(1.0, 1.0, 1.1)).n_fn == 1
    assert score(small, boxes(), spacing_mm=(1.0, 1.0, 1.0)).n_fn == 0
    assert score(small, boxes(), rules=MET).n_fn == 1


@pytest.mark.parametrize(("gap", "lesions"), [(5, 1), (6, 1), (7, 2)])
def test_parts_closer_than_two_dilations_are_one_lesion(gap, lesions):
    # Each part grows by 3 voxels; 6 voxels between them are filled, 7 leave one free.
    parts = boxes(CUBE, ((8 + gap, 4, 4), (4, 4, 4)))
    assert len(score(parts, boxes()).lesions) == lesions
    assert len(score(parts, boxes(), rules=MEN).lesions) == 2


@pytest.mark.parametrize(("gap", "found"), [(0, True), (2, True), (3, False)])
def test_a_prediction_within_the_dilation_belongs_to_the_lesion(gap, found):
    near = boxes(((8 + gap, 4, 4), (4, 4, 4)))
    result = score(boxes(CUBE), near)
    assert result.lesions[0].found is found
    assert result.dice == 0.0
    assert (result.n_tp, result.n_fp) == ((1, 0) if found else (0, 1))
    if found:
        assert result.hd95_mm < 12


def test_the_dilation_leaves_out_the_corners():
    # Three diagonal steps of 18 neighbours reach (2, 2, 2), not (3, 3, 3).
    lesion = boxes(CUBE)
    assert score(lesion, boxes(((9, 9, 9), (1, 1, 1)))).lesions[0].found
    assert not score(lesion, boxes(((10, 10, 10), (1, 1, 1)))).lesions[0].found


def test_one_prediction_may_belong_to_two_lesions():
    bridge = boxes(((4, 4, 4), (20, 4, 4)))
    two = boxes(CUBE, ((20, 4, 4), (4, 4, 4)))
    found = score(two, bridge)
    assert (found.n_tp, found.n_fp, found.n_fn) == (2, 0, 0)
    assert found.dice == pytest.approx(2 * 64 / (64 + 320))


def test_two_predictions_of_one_lesion_are_taken_together():
    halves = boxes(((4, 4, 4), (1, 4, 4)), ((7, 4, 4), (1, 4, 4)))
    found = score(boxes(CUBE), halves)
    assert (found.n_tp, found.n_fp) == (1, 0)
    assert found.dice == pytest.approx(2 * 32 / (64 + 32))


def test_the_penalty_of_2024s_radiotherapy_task_is_the_diagonal_in_voxels():
    found = score(boxes(CUBE), boxes(), rules=LESION_RULES["brats2024_men_rt"], spacing_mm=(2.0, 2.0, 2.0))
    assert found.hd95_mm == pytest.approx(math.sqrt(30**2 + 24**2 + 24**2))


def grown(mask, steps):
    """Dilation by faces and edges, spelled out."""
    out = mask.copy()
    near = [d for d in itertools.product((-1, 0, 1), repeat=3) if 0 < sum(map(abs, d)) <= 2]
    for _ in range(steps):
        padded = np.pad(out, 1)
        for d in near:
            out |= padded[tuple(slice(1 + s, 1 + s + n) for s, n in zip(d, mask.shape, strict=True))]
    return out


def flooded(mask):
    """Components by flood fill over 26 neighbours, numbered in the order of their first voxel."""
    labels, count = np.zeros(mask.shape, dtype=int), 0
    for start in map(tuple, np.argwhere(mask)):
        if labels[start]:
            continue
        count += 1
        stack = [start]
        labels[start] = count
        while stack:
            voxel = stack.pop()
            for d in itertools.product((-1, 0, 1), repeat=3):
                other = tuple(int(v + s) for v, s in zip(voxel, d, strict=True))
                if (
                    all(0 <= v < n for v, n in zip(other, mask.shape, strict=True))
                    and mask[other]
                    and not labels[other]
                ):
                    labels[other] = count
                    stack.append(other)
    return labels, count


def by_the_book(reference, prediction, rules, spacing_mm):
    """The published procedure on whole arrays, with DeepMind's own surface distances."""
    wide, count = flooded(grown(reference, rules.dilation))
    predicted, n_predicted = flooded(prediction)
    penalty = rules.missed_hd95_mm
    dices, distances, used, missed = [], [], set(), 0
    for number in range(1, count + 1):
        lesion = reference & (wide == number)
        mine = set(np.unique(predicted[grown(lesion, rules.dilation)])) - {0}
        used |= mine
        if lesion.sum() * np.prod(spacing_mm) <= rules.least_volume_mm3:
            continue
        theirs = np.isin(predicted, list(mine))
        dices.append(2 * (lesion & theirs).sum() / (lesion.sum() + theirs.sum()))
        missed += not mine
        if mine:
            pair = surface_distance.compute_surface_distances(lesion, theirs, spacing_mm)
            distances.append(surface_distance.compute_robust_hausdorff(pair, 95))
        else:
            distances.append(penalty)
    n_fp = n_predicted - len(used)
    total = len(dices) + n_fp
    if not total:
        return 1.0, 0.0, 0, 0, 0
    return sum(dices) / total, (sum(distances) + n_fp * penalty) / total, len(dices) - missed, n_fp, missed


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["brats2023_gli", "brats2023_met"])
def test_random_lesions_agree_with_the_plain_procedure(seed, name):
    rng = np.random.default_rng(seed)
    shape, spacing_mm = (22, 18, 16), (1.0, 1.0, 1.0) if seed % 2 else (0.9, 1.2, 2.0)

    def scatter(n):
        # Reaches over the edge, so that lesions touch the border of the image.
        return boxes(*(([*rng.integers(0, 16, size=3)], [*rng.integers(1, 6, size=3)]) for _ in range(n)), shape=shape)

    reference = scatter(4)
    prediction = (np.roll(reference, 1, axis=0) & (rng.random(shape) > 0.2)) | scatter(2)
    rules = LESION_RULES[name]
    found = score(reference, prediction, rules=rules, spacing_mm=spacing_mm)
    ours = (found.dice, found.hd95_mm, found.n_tp, found.n_fp, found.n_fn)
    assert ours == pytest.approx(by_the_book(reference, prediction, rules, spacing_mm), abs=1e-9)


SMALL, SMALL_BESIDE = ((20, 14, 14), (3, 3, 3)), ((25, 14, 14), (3, 3, 3))  # 27 mm3 each, two voxels apart
NASTY = {
    # name: reference, prediction, rules, spacing, (Dice, HD95, TP, FP, FN); a cube moved by one slice has HD95 1 slice
    "parts that the dilation joins are one lesion, found by either": (
        boxes(CUBE, ((14, 4, 4), (4, 4, 4))),
        boxes(CUBE),
        GLI,
        MM,
        (2 * 64 / (128 + 64), None, 1, 0, 0),
    ),
    "the same parts are two lesions with one step of dilation": (
        boxes(CUBE, ((14, 4, 4), (4, 4, 4))),
        boxes(CUBE),
        MEN,
        MM,
        (1 / 2, 374 / 2, 1, 0, 1),
    ),
    "one lesion in two predictions and a third that is far": (
        boxes(CUBE),
        boxes(((4, 4, 4), (1, 4, 4)), ((7, 4, 4), (1, 4, 4)), FAR),
        GLI,
        MM,
        (2 * 32 / 96 / 2, None, 1, 1, 0),
    ),
    "one prediction over two lesions counts in full for both": (
        boxes(CUBE, ((20, 4, 4), (4, 4, 4))),
        boxes(((4, 4, 4), (20, 4, 4))),
        GLI,
        MM,
        (128 / 384, None, 2, 0, 0),
    ),
    "nothing predicted": (boxes(CUBE, FAR), boxes(), GLI, MM, (0, 374, 0, 0, 2)),
    "nothing there": (boxes(), boxes(CUBE, FAR), GLI, MM, (0, 374, 0, 2, 0)),
    "a lesion below the threshold is neither missed nor found": (
        boxes(CUBE, SMALL),
        boxes(CUBE),
        GLI,
        MM,
        (1, 0, 1, 0, 0),
    ),
    "only a lesion below the threshold, and a false positive": (
        boxes(SMALL),
        boxes(CUBE, SMALL),
        GLI,
        MM,
        (0, 374, 0, 1, 0),
    ),
    "parts below the threshold that are one lesion above it": (
        boxes(SMALL, SMALL_BESIDE),
        boxes(),
        GLI,
        MM,
        (0, 374, 0, 0, 1),
    ),
    "the same parts with one step of dilation are joined too": (
        boxes(SMALL, SMALL_BESIDE),
        boxes(SMALL, SMALL_BESIDE),
        MEN,
        MM,
        (1, 0, 1, 0, 0),
    ),
    "a prediction that runs from a lesion to one too small to be scored": (
        boxes(CUBE, ((16, 4, 4), (3, 4, 4))),
        boxes(((4, 4, 4), (15, 4, 4))),
        GLI,
        MM,
        (2 * 64 / (64 + 240), None, 1, 0, 0),
    ),
    "false positives that touch at a corner are one": (
        boxes(CUBE),
        boxes(CUBE, ((20, 14, 14), (2, 2, 2)), ((22, 16, 16), (2, 2, 2))),
        GLI,
        MM,
        (1 / 2, 187, 1, 1, 0),
    ),
    "three voxels made up, each alone": (
        boxes(),
        boxes(*(((x, 4, 4), (1, 1, 1)) for x in (4, 10, 16))),
        GLI,
        MM,
        (0, 374, 0, 3, 0),
    ),
    "a slice off on slices of 2.5 mm": (
        boxes(CUBE),
        boxes(((4, 4, 5), (4, 4, 4))),
        GLI,
        (1.0, 1.0, 2.5),
        (0.75, 2.5, 1, 0, 0),
    ),
    "one found a voxel off, one missed, two made up": (
        boxes(CUBE, FAR),
        boxes(((5, 4, 4), (4, 4, 4)), ((14, 4, 16), (1, 1, 1)), ((26, 4, 16), (1, 1, 1))),
        GLI,
        MM,
        (0.75 / 4, (1 + 3 * 374) / 4, 1, 2, 1),
    ),
    "metastases of 2 mm3 are not scored, of 3 mm3 they are": (
        boxes(((4, 4, 4), (2, 1, 1)), ((20, 4, 4), (3, 1, 1))),
        boxes(),
        MET,
        MM,
        (0, 374, 0, 0, 1),
    ),
    "a lesion in the corner of the image": (
        boxes(((0, 0, 0), (4, 4, 4))),
        boxes(((0, 0, 0), (4, 4, 3))),
        GLI,
        MM,
        (96 / 112, 1, 1, 0, 0),
    ),
}


@pytest.mark.parametrize("name", NASTY)
def test_nasty_cases_by_hand(name):
    reference, prediction, rules, spacing_mm, wanted = NASTY[name]
    found = score(reference, prediction, rules=rules, spacing_mm=spacing_mm)
    ours = (found.dice, found.hd95_mm, found.n_tp, found.n_fp, found.n_fn)
    assert ours == pytest.approx(by_the_book(reference, prediction, rules, spacing_mm), abs=1e-9)
    assert all(mine == pytest.approx(theirs) for mine, theirs in zip(ours, wanted, strict=True) if theirs is not None)
    counted = found.n_tp + found.n_fp + found.n_fn
    assert found.f1 == pytest.approx(2 * found.n_tp / (counted + found.n_tp) if counted else 1)


def test_the_order_of_the_axes_does_not_matter():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 12, 14, 10)) > 0.97
    one = score(a, b, rules=MET, spacing_mm=(1.0, 2.0, 3.0))
    turned = score(a.transpose(2, 0, 1), b.transpose(2, 0, 1), rules=MET, spacing_mm=(3.0, 1.0, 2.0))
    assert (one.dice, one.n_tp, one.n_fp) == pytest.approx((turned.dice, turned.n_tp, turned.n_fp))
    assert one.hd95_mm == pytest.approx(turned.hd95_mm)


def test_unknown_rules_and_bad_shapes_are_refused():
    assert get_lesion_rules("brats2023") is GLI
    with pytest.raises(ConfigError, match=r"--lesion-wise: no rules are named 'brats1999'. Known: brats2023, "):
        get_lesion_rules("brats1999", where="--lesion-wise")
    with pytest.raises(DataError, match="must be equal and 3D"):
        score(boxes(), boxes(shape=(3, 3, 3)))
