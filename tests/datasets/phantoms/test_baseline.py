import numpy as np
import pytest

from medseg.datasets.phantoms import ThresholdBaseline, make_brats_phantom, write_brats_phantoms
from medseg.datasets.phantoms.baseline import RegionRule, normalise, predict_with_thresholds
from medseg.labels import get_convention, labels_to_regions
from medseg.metrics.overlap import Counts, dice
from medseg.volumes import read_volume

CONVENTION = get_convention("brats2017")


def _case(number, seed):
    phantom = make_brats_phantom(number, seed=seed)
    return np.stack(list(phantom.images.values())), phantom.labels


def _mean_dice(predicted, truth):
    scores = []
    for mask, reference in zip(
        labels_to_regions(predicted, CONVENTION), labels_to_regions(truth, CONVENTION), strict=True
    ):
        both, extra, missed = ((mask & reference).sum(), (mask & ~reference).sum(), (reference & ~mask).sum())
        scores.append(dice(Counts(both=int(both), prediction_only=int(extra), reference_only=int(missed))))
    return np.mean(scores)


def _toy(seed):
    """Regions that thresholds can tell: FLAIR bright for the whole, T1c bright for the rim around a dark centre."""
    images = 100 + np.random.default_rng(seed).integers(0, 5, (4, 20, 20, 20)).astype(np.int16)
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[4:16, 4:16, 4:16] = 2
    labels[6:14, 6:14, 6:14] = 4
    labels[8:12, 8:12, 8:12] = 1
    images[3][labels > 0] += 80
    images[1][labels == 4] += 90
    return images, labels


def test_thresholds_solve_what_thresholds_can_tell():
    cases = [_toy(seed) for seed in range(3)]
    fitted = ThresholdBaseline.fit([image for image, _ in cases], [label for _, label in cases], convention=CONVENTION)
    image, labels = _toy(9)
    assert _mean_dice(fitted.predict(image), labels) == 1.0


def test_thresholds_fail_on_phantoms():
    """The best they can do stays at .5 or below, so that the demo's task is not a toy."""
    cases = [_case(number, 0) for number in range(6)]
    fitted = ThresholdBaseline.fit([image for image, _ in cases], [label for _, label in cases], convention=CONVENTION)
    scores = [_mean_dice(fitted.predict(image), labels) for image, labels in (_case(n, 1) for n in range(6))]
    assert np.mean(scores) <= 0.5
    # Not a straw man either: it finds something in most of them.
    assert np.median(scores) > 0.2


def test_rule_keeps_the_largest_component_and_fills_holes():
    image = np.zeros((1, 9, 9, 9), dtype=np.float32)
    image[0, 1:6, 1:6, 1:6] = 5.0
    image[0, 3, 3, 3] = 1.0
    image[0, 8, 8, 8] = 5.0
    within = np.ones((9, 9, 9), dtype=bool)

    def count(**options):
        return int(RegionRule((4.0,), (np.inf,), **options).apply(image, within).sum())

    assert (count(), count(largest_only=True), count(filled=True)) == (125, 124, 126)
    assert count(largest_only=True, filled=True) == 125
    assert not RegionRule((4.0,), (np.inf,), largest_only=True, filled=True).apply(image, ~within).any()


def test_normalise_ignores_the_background():
    image = np.zeros((2, 4, 4, 4), dtype=np.int16)
    image[0, :2] = np.arange(32).reshape(2, 4, 4) + 10
    normalised = normalise(image)
    assert normalised[0, :2].mean() == pytest.approx(0.0, abs=1e-6)
    assert normalised[0, :2].std() == pytest.approx(1.0, abs=1e-6)
    assert not normalised[0, 2:].any()
    assert not normalised[1].any()


def test_it_predicts_a_folder_after_another(tmp_path):
    for name, seed in (("known", 0), ("unseen", 1)):
        write_brats_phantoms(tmp_path / name, cases=2, seed=seed, shape=(32, 36, 28), spacing_mm=4.0)
    arguments = {"modalities": ("t1", "t1c", "t2", "flair"), "label_convention": "brats2017"}
    predict_with_thresholds(tmp_path / "known", tmp_path / "unseen", tmp_path / "out", **arguments)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"phantom_s1_00{n}.nii.gz" for n in (0, 1)]
    scan = read_volume(next((tmp_path / "unseen" / "phantom_s1_000").iterdir()))
    written = read_volume(tmp_path / "out" / "phantom_s1_000.nii.gz")
    assert set(np.unique(written.array)) <= {0, 1, 2, 4}
    np.testing.assert_array_equal(written.affine_ras_mm, scan.affine_ras_mm)
