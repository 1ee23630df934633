"""Box kernels against MONAI's: overlap, suppression, anchor matching, in one process and on the same boxes.

Run: python benchmarks/detection_kernels.py [--repeats 3] [--work pairs nms atss]

MONAI's functions are called as they are; none of them needs torchvision. They use torch's threads, medseg's kernels use
one. Anchors that MONAI's matcher wants listed are made before its clock starts. Times are wall medians after a warm-up;
memory is the peak of the resident set above its level before the call. The run fails when results differ.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher
from monai.data import box_utils
from side_by_side import HEADER, cost_in_turn, print_row

from medseg.inference.boxes import nms_in_blocks
from medseg.kernels.anchors import Floats, anchors_with_shapes
from medseg.kernels.atss import match_anchors
from medseg.kernels.boxes import box_giou, box_iou
from medseg.kernels.nms import nms

SCAN = (512, 512, 192)
STRIDES = [(4, 4, 1), (8, 8, 2), (16, 16, 4)]  # with three anchors a cell: 10.8 million
SHAPES, SCALES = [[6, 8, 4], [8, 6, 5], [10, 10, 6]], (1, 2, 4)  # the model zoo's LUNA16 bundle
NMS_IOU = 0.22  # the model zoo's LUNA16 bundle


def random_boxes(count: int, *, sites: int, seed: int = 0) -> Floats:
    """Boxes of 5 to 30 voxels a side around so many places of a scan."""
    draw = np.random.default_rng(seed)
    place = draw.integers(0, sites, count)
    centre = draw.uniform(20, 490, (sites, 3))[place] + draw.normal(0, 2, (count, 3))
    half = draw.uniform(2.5, 15, (sites, 3))[place] * draw.uniform(0.8, 1.2, (count, 3))
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def require(name: str, agrees: bool) -> None:
    """End the run when two results differ."""
    if not agrees:
        sys.exit(f"{name}: the results differ")


def compare_pairs(name: str, theirs: Callable[..., Any], ours: Callable[..., Any], *, repeats: int) -> None:
    """All pairs of 5000 and 5000 boxes."""
    a, b = random_boxes(5000, sites=500), random_boxes(5000, sites=500, seed=1)
    c, d = torch.from_numpy(a), torch.from_numpy(b)
    apart = float(np.abs(theirs(c, d).numpy() - ours(a, b)).max())
    require(name, apart < 1e-5)
    costs = cost_in_turn(lambda: theirs(c, d), lambda: ours(a, b), repeats=repeats)
    print_row(name, *costs, agreement=f"differ by at most {apart:.0e}")


def compare_nms(count: int, *, sites: int, repeats: int) -> None:
    """Suppression among so many boxes."""
    boxes = random_boxes(count, sites=sites)
    scores = np.random.default_rng(2).random(count).astype(np.float32)
    labels = np.zeros(count, dtype=np.int64)
    tensors = [torch.from_numpy(part) for part in (boxes, scores, labels)]

    def theirs() -> torch.Tensor:
        return box_utils.batched_nms(*tensors, NMS_IOU)

    def ours() -> Any:
        return nms(boxes, scores, labels, iou_threshold=NMS_IOU)

    def blocks() -> torch.Tensor:
        return nms_in_blocks(*tensors, iou_threshold=NMS_IOU)

    kept = theirs().tolist()
    for tool, call in {"": ours, ", torch in blocks": blocks}.items():
        name = f"NMS of {count} boxes at {sites} places{tool}"
        require(name, kept == call().tolist())
        print_row(name, *cost_in_turn(theirs, call, repeats=repeats), agreement=f"the same {len(kept)} boxes")


def compare_matching(count: int, *, repeats: int) -> None:
    """Positives among 10.8 million anchors."""
    boxes = random_boxes(count, sites=count)
    boxes = (boxes * np.array([1, 1, 192 / 512] * 2)).astype(np.float32)
    maps = [tuple(size // step for size, step in zip(SCAN, stride, strict=True)) for stride in STRIDES]
    generator = AnchorGeneratorWithAnchorShape(SCALES, SHAPES)
    anchors = generator(torch.empty(1, 1, *SCAN), [torch.empty(1, 1, *cells) for cells in maps])[0]
    levels = anchors_with_shapes(SHAPES, SCALES).levels(SCAN, maps)
    matcher, cells = ATSSMatcher(4, center_in_gt=False), [int(np.prod(shape)) for shape in maps]
    targets = torch.from_numpy(boxes)

    def theirs() -> torch.Tensor:
        return matcher(targets, anchors, cells, len(SHAPES))[1]

    def ours() -> tuple[Any, Any]:
        return match_anchors(SCAN, levels, boxes, num_candidates=4, center_in_gt=False)

    name = f"ATSS of {count} boxes among {len(anchors):,} anchors"
    matches, (found, owner) = theirs().numpy(), ours()
    expected = np.flatnonzero(matches >= 0)
    require(name, np.array_equal(found, expected) and np.array_equal(owner, matches[expected]))
    print_row(name, *cost_in_turn(theirs, ours, repeats=repeats), agreement=f"the same {len(found)} positives")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", nargs="+", choices=["pairs", "nms", "atss"], default=["pairs", "nms", "atss"])
    options = parser.parse_args()
    logging.disable(logging.INFO)
    print(HEADER, flush=True)
    if "pairs" in options.work:
        compare_pairs("IoU, 5000 x 5000", box_utils.box_iou, box_iou, repeats=options.repeats)
        compare_pairs("GIoU, 5000 x 5000", box_utils.box_giou, box_giou, repeats=options.repeats)
    if "nms" in options.work:
        for sites in (2000, 20_000):
            compare_nms(20_000, sites=sites, repeats=options.repeats)
    if "atss" in options.work:
        for count in (1, 5):
            compare_matching(count, repeats=options.repeats)


if __name__ == "__main__":
    main()
