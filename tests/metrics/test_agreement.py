"""The metrics against other people's code: DeepMind's surface-distance and MONAI, to 1e-6."""

import math
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medseg.labels import get_convention, labels_to_regions
from medseg.metrics import score_labels
from medseg.metrics.surface import average_distance_mm, hausdorff_mm, surface_dice, surface_distances

SILVER = Path(__file__).resolve().parents[3] / "shared" / "data" / "brats_tcga_silver"
SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.9, 5.0)]
CLOSE = {"rel": 1e-6, "abs": 1e-9}
REGIONS = {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)}


@pytest.fixture(scope="module")
def deepmind():
    module = pytest.importorskip("surface_distance", reason="the extra 'dev' has surface-distance")

    def scores(reference, prediction, spacing_mm, tolerance_mm=1.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            distances = module.compute_surface_distances(reference, prediction, spacing_mm)
        both_ways = (
            np.sum(distances["distances_gt_to_pred"] * distances["surfel_areas_gt"])
            + np.sum(distances["distances_pred_to_gt"] * distances["surfel_areas_pred"])
        ) / (distances["surfel_areas_gt"].sum() + distances["surfel_areas_pred"].sum())
        return {
            "dice": module.compute_dice_coefficient(reference, prediction),
            "hd95_mm": module.compute_robust_hausdorff(distances, 95),
            "hd_mm": module.compute_robust_hausdorff(distances, 100),
            "nsd": module.compute_surface_dice_at_tolerance(distances, tolerance_mm),
            "assd_mm": both_ways,
        }

    return scores


@pytest.fixture(scope="module")
def monai():
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")

    def scores(reference, prediction, spacing_mm, tolerance_mm=1.0):
        y, y_pred = (torch.from_numpy(mask.copy())[None, None].float() for mask in (reference, prediction))
        shared = {"include_background": True, "spacing": list(spacing_mm)}
        return {
            "dice": metrics.compute_dice(y_pred, y).item(),
            "iou": metrics.compute_iou(y_pred, y).item(),
            "hd95_mm": metrics.compute_hausdorff_distance(y_pred, y, percentile=95, **shared).item(),
            "nsd": metrics.compute_surface_dice(y_pred, y, [tolerance_mm], **shared).item(),
            "nsd_subvoxel": metrics.compute_surface_dice(
                y_pred, y, [tolerance_mm], use_subvoxels=True, **shared
            ).item(),
            "assd_mm": metrics.compute_average_surface_distance(y_pred, y, symmetric=True, **shared).item(),
        }

    return scores


def ours(reference, prediction, spacing_mm, definition, tolerance_mm=1.0):
    distances = surface_distances(reference, prediction, spacing_mm=spacing_mm, definition=definition)
    return {
        "hd95_mm": hausdorff_mm(distances),
        "hd_mm": hausdorff_mm(distances, percentile=100),
        "nsd": surface_dice(distances, tolerance_mm=tolerance_mm),
        "assd_mm": average_distance_mm(distances),
    }


def blobs(seed, *, shape=(40, 36, 30), threshold=0.1):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 2.5) > threshold * 0.3


def pick(scores, wanted):
    return {name: scores[name] for name in wanted}


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(4))
def test_blobs_that_touch_the_image_edge_score_as_deepmind_has_it(deepmind, seed, spacing_mm):
    reference, prediction = blobs(seed), blobs(seed) ^ blobs(seed + 100, threshold=0.8)
    want = deepmind(reference, prediction, spacing_mm)
    got = ours(reference, prediction, spacing_mm, "deepmind")
    assert got == pytest.approx(pick(want, got), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tolerance_mm=st.sampled_from([0.0, 1.0, 1.5]))
def test_any_small_masks_score_as_deepmind_has_it(deepmind, data, tolerance_mm):
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6))
    reference, prediction = (data.draw(hnp.arrays(bool, shape)) for _ in range(2))
    reference.flat[0] = prediction.flat[-1] = True
    want = deepmind(reference, prediction, (1.0, 1.0, 1.0), tolerance_mm)
    got = ours(reference, prediction, (1.0, 1.0, 1.0), "deepmind", tolerance_mm)
    assert got == pytest.approx(pick(want, got), **CLOSE)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_blobs_score_as_monai_has_it(monai, seed, spacing_mm):
    reference, prediction = blobs(seed), blobs(seed) ^ blobs(seed + 100, threshold=0.8)
    want = monai(reference, prediction, spacing_mm)
    voxel = ours(reference, prediction, spacing_mm, "voxel")
    for name in ("hd95_mm", "nsd", "assd_mm"):
        assert voxel[name] == pytest.approx(want[name], **CLOSE)
    assert ours(reference, prediction, spacing_mm, "deepmind")["nsd"] == pytest.approx(want["nsd_subvoxel"], **CLOSE)
    labels = score_labels(
        reference.astype(np.uint8), prediction.astype(np.uint8), regions={"1": [1]}, spacing_mm=spacing_mm
    )["1"].values
    assert labels["dice"] == pytest.approx(want["dice"], **CLOSE)
    assert labels["iou"] == pytest.approx(want["iou"], **CLOSE)


@pytest.fixture(scope="module")
def silver():
    if not SILVER.is_dir():
        pytest.skip("no real scans at ../shared/data/brats_tcga_silver")
    reference = np.asanyarray(nib.load(SILVER / "fusion_mav.nii.gz").dataobj).astype(np.uint8)
    predictions = [
        np.asanyarray(nib.load(path).dataobj).astype(np.uint8) for path in sorted(SILVER.glob("seg_*.nii.gz"))
    ]
    return reference, predictions[:3]


@pytest.mark.parametrize("definition", ["deepmind", "voxel"])
def test_real_segmentations_score_as_the_references_have_it(silver, deepmind, monai, definition):
    reference, predictions = silver
    convention = get_convention("brats2017")
    for prediction in predictions:
        scores = score_labels(reference, prediction, regions=REGIONS, spacing_mm=(1.0, 1.0, 1.0), definition=definition)
        masks = [labels_to_regions(labels, convention) for labels in (reference, prediction)]
        for name, ref, pred in zip(REGIONS, *masks, strict=True):
            if not ref.any() or not pred.any():
                assert scores[name].state != "ok"
                continue
            want = (deepmind if definition == "deepmind" else monai)(ref, pred, (1.0, 1.0, 1.0))
            shared = scores[name].values.keys() & want.keys()
            assert pick(scores[name].values, shared) == pytest.approx(pick(want, shared), **CLOSE)


def test_where_monai_drops_empty_cases(monai):
    # docs/metrics.md says so; when this fails, MONAI has changed and the page must too.
    mask, empty = np.ones((4, 4, 4), dtype=bool), np.zeros((4, 4, 4), dtype=bool)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        false_alarm, nothing = monai(empty, mask, (1.0, 1.0, 1.0)), monai(empty, empty, (1.0, 1.0, 1.0))
    assert math.isnan(false_alarm["dice"])
    assert math.isnan(nothing["dice"])
    assert math.isnan(nothing["hd95_mm"])
    assert math.isinf(false_alarm["hd95_mm"]) or math.isnan(false_alarm["hd95_mm"])
