"""AP of boxes: by hand, by a slow reading of COCO's rules, and against MONAI where MONAI is right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import DataError
from medseg.kernels.boxes import box_iou
from medseg.metrics.box_ap import IOU_THRESHOLDS, CaseBoxes, _iou, average_precision, average_recall, match_class

CUBE = (0.0, 0.0, 0.0, 10.0, 10.0, 10.0)
FAR = (100.0, 0.0, 0.0, 110.0, 10.0, 10.0)


def moved(box, by):
    return (box[0] + by, *box[1:3], box[3] + by, *box[4:])


def case(found=(), true=(), *, labels=None, true_labels=None):
    """Found boxes as (box, score), true boxes."""
    return CaseBoxes(
        box=np.array([box for box, _ in found], dtype=float).reshape(-1, 6),
        score=np.array([score for _, score in found], dtype=float),
        label=np.array(labels or [0] * len(found), dtype=int),
        true_box=np.array(true, dtype=float).reshape(-1, 6),
        true_label=np.array(true_labels or [0] * len(true), dtype=int),
    )


def ap(*cases, label=0):
    return average_precision(match_class(cases, label)).tolist()


def ar(*cases, label=0):
    return average_recall(match_class(cases, label)).tolist()


def test_perfect_boxes():
    assert ap(case([(CUBE, 0.9)], [CUBE])) == [1.0] * 9
    assert ar(case([(CUBE, 0.9)], [CUBE])) == [1.0] * 9


def test_the_thresholds_are_those_of_the_overlap():
    # 4 of 10 mm aside: 600 of 1400 mm3 are shared, IoU 3/7 = 0.43.
    assert ap(case([(moved(CUBE, 4), 0.9)], [CUBE])) == [1.0] * 7 + [0.0] * 2


def test_an_overlap_at_the_threshold_counts():
    half = (0.0, 0.0, 0.0, 10.0, 10.0, 5.0)
    assert ap(case([(half, 0.9)], [CUBE])) == [1.0] * 9


def test_half_of_the_boxes_found_gives_51_of_101_recalls():
    assert ap(case([(CUBE, 0.9)], [CUBE, FAR])) == pytest.approx([51 / 101] * 9)
    assert ar(case([(CUBE, 0.9)], [CUBE, FAR])) == [0.5] * 9


def test_a_surer_false_positive_halves_the_precision_and_a_less_sure_one_does_not():
    assert ap(case([(FAR, 0.95), (CUBE, 0.9)], [CUBE])) == [0.5] * 9
    assert ap(case([(CUBE, 0.9), (FAR, 0.1)], [CUBE])) == [1.0] * 9


def test_a_second_box_on_the_same_truth_is_a_false_positive():
    twice = case([(moved(CUBE, 1), 0.9), (CUBE, 0.8)], [CUBE])
    assert match_class([twice], 0).found.tolist() == [[True, False]] * 9


def test_each_takes_the_free_box_it_overlaps_most():
    near = moved(CUBE, 3)
    pair = case([(CUBE, 0.9), (CUBE, 0.8)], [near, CUBE])
    assert match_class([pair], 0).found[0].tolist() == [True, True]
    greedy = case([(CUBE, 0.9), (moved(CUBE, 9), 0.8)], [CUBE])
    assert match_class([greedy], 0).found[0].tolist() == [True, False]


def test_false_positives_in_cases_without_truth_count():
    assert ap(case([(CUBE, 0.9)], [CUBE]), case([(CUBE, 0.95)])) == [0.5] * 9


def test_no_boxes_found_give_zero_and_no_truth_gives_an_error():
    assert ap(case([], [CUBE])) == [0.0] * 9
    assert ar(case([], [CUBE])) == [0.0] * 9
    for score in (ap, ar):
        with pytest.raises(DataError, match="no recall"):
            score(case([(CUBE, 0.9)]))


def test_classes_are_apart():
    both = case([(CUBE, 0.9), (FAR, 0.8)], [CUBE, FAR], labels=[0, 1], true_labels=[1, 1])
    assert ap(both, label=1) == pytest.approx([51 / 101] * 9)


def test_the_hundred_best_boxes_of_a_case_count():
    crowd = [(moved(FAR, 20 * i), 0.9) for i in range(100)]
    assert ar(case([*crowd, (CUBE, 0.1)], [CUBE])) == [0.0] * 9
    assert ar(case([*crowd[:99], (CUBE, 0.1)], [CUBE])) == [1.0] * 9


def test_the_overlap_is_the_kernels_in_double_precision():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 20, (30, 3))
    boxes = np.concatenate([low, low + rng.uniform(1, 20, (30, 3))], axis=1)
    assert _iou(boxes[:12], boxes) == pytest.approx(box_iou(boxes[:12], boxes), abs=1e-6)
    flat = np.array([[0.0, 0, 0, 0, 1, 1]])
    assert _iou(flat, flat).tolist() == [[0.0]]


spots = st.integers(0, 8)
found_boxes = st.lists(st.tuples(spots, st.integers(1, 9)), max_size=8, unique_by=lambda row: row[1])
scenes = st.lists(st.tuples(found_boxes, st.lists(spots, max_size=4)), min_size=1, max_size=4).filter(
    lambda cases: any(true for _, true in cases)
)


def as_cases(scenes):
    """Boxes 10 mm wide, found ones at multiples of 3 mm, true ones at such that no two are overlapped equally."""
    return [
        case(
            [(moved(CUBE, 3 * x), score / 10 + n / 1000) for x, score in found], [moved(CUBE, 3.137 * x) for x in true]
        )
        for n, (found, true) in enumerate(scenes)
    ]


def by_the_book(cases, threshold):
    """AP at one threshold, step by step."""
    outcomes, n_true = [], 0
    for one in cases:
        free = list(range(len(one.true_box)))
        n_true += len(free)
        for index in sorted(range(len(one.score)), key=lambda i: -one.score[i]):
            best, chosen = threshold, None
            for j in free:
                shared = max(0.0, 10 - abs(one.box[index][0] - one.true_box[j][0])) * 100
                overlap = shared / (2000 - shared)
                if overlap >= best:
                    best, chosen = overlap, j
            outcomes.append((one.score[index], chosen is not None))
            if chosen is not None:
                free.remove(chosen)
    outcomes.sort(key=lambda row: -row[0])
    curve = []
    for rank in range(1, len(outcomes) + 1):
        true = sum(found for _, found in outcomes[:rank])
        curve.append((true / n_true, true / rank))
    recalls = np.linspace(0, 1, 101)
    return sum(max((p for r, p in curve if r >= recall), default=0.0) for recall in recalls) / 101


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_it_equals_the_rules_read_slowly(scenes):
    cases = as_cases(scenes)
    assert ap(*cases)[::4] == pytest.approx([by_the_book(cases, t) for t in IOU_THRESHOLDS[::4]])


@settings(max_examples=40, deadline=None)
@given(scenes, st.randoms(use_true_random=False))
def test_the_order_of_cases_and_boxes_does_not_matter(scenes, random):
    mixed = [(random.sample(found, len(found)), random.sample(true, len(true))) for found, true in scenes]
    one = as_cases(scenes)
    other = random.sample(as_cases(mixed), len(mixed))
    assert ap(*one) == pytest.approx(ap(*other))


def with_monai(cases, n_classes=1):
    from monai.apps.detection.metrics.coco import COCOMetric
    from monai.apps.detection.metrics.matching import matching_batch
    from monai.data.box_utils import box_iou as monai_iou

    metric = COCOMetric(
        classes=[str(i) for i in range(n_classes)],
        iou_list=IOU_THRESHOLDS,
        iou_range=(0.1, 0.5, 0.05),
        max_detection=[100],
    )
    matched = matching_batch(
        iou_fn=monai_iou,
        iou_thresholds=metric.iou_thresholds,
        pred_boxes=[one.box for one in cases],
        pred_classes=[one.label for one in cases],
        pred_scores=[one.score for one in cases],
        gt_boxes=[one.true_box for one in cases],
        gt_classes=[one.true_label for one in cases],
    )
    return metric(matched)[0]


def crowds(n_true):
    """Eight cases with crowded boxes, found ones beside true ones."""
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(8):
        true = [moved(CUBE, x) for x in rng.uniform(0, 60, n_true // 8)]
        near = [moved(box, rng.normal(0, 4)) for box in true for _ in range(2)]
        near += [moved(FAR, x) for x in rng.uniform(0, 60, 3)]
        cases.append(case([(box, score) for box, score in zip(near, rng.random(len(near)), strict=True)], true))
    return cases


def test_it_agrees_with_monai():
    # 32 true boxes: recalls are sums of powers of two, which MONAI's float32 holds exactly.
    cases = crowds(32)
    theirs = with_monai(cases)
    assert ap(*cases) == pytest.approx([theirs[f"AP_IoU_{t:.2f}_MaxDet_100"] for t in IOU_THRESHOLDS], abs=1e-6)
    assert ar(*cases) == pytest.approx([theirs[f"AR_IoU_{t:.2f}_MaxDet_100"] for t in IOU_THRESHOLDS], abs=1e-6)
    assert np.mean(ap(*cases)) == pytest.approx(theirs["mAP_IoU_0.10_0.50_0.05_MaxDet_100"], abs=1e-6)
    assert 0.1 < np.mean(ap(*cases)) < 0.9


def test_monai_averages_in_minus_one_for_a_class_without_truth():
    # A perfect detector of two classes, one of which does not occur: 0 in MONAI, 1 in pycocotools and here.
    assert with_monai([case([(CUBE, 0.9)], [CUBE])], n_classes=2)["AP_IoU_0.10_MaxDet_100"] == pytest.approx(0)
    assert ap(case([(CUBE, 0.9)], [CUBE]))[0] == 1


def test_monai_loses_a_recall_to_float32():
    # Nine of ten boxes found are recall 0.9, which float32 puts below 0.9: 90 recalls instead of 91.
    true = [moved(CUBE, 20 * i) for i in range(10)]
    nine = case([(box, 0.9 - i / 100) for i, box in enumerate(true[:9])], true)
    assert ap(nine)[0] == pytest.approx(91 / 101)
    assert with_monai([nine])["AP_IoU_0.10_MaxDet_100"] == pytest.approx(90 / 101)
