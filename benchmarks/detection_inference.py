"""Boxes in a whole scan: MONAI's RetinaNetDetector with its sliding window, and medseg's BoxDetector, in one process.

Run: python benchmarks/detection_inference.py [--depths 192 600] [--window 512 512 192] [--repeats 1]

The network is a stub that costs little (one strided convolution, strides 4x4x2, 8x8x4 and 16x16x8, three anchors a
cell), so that what is timed is the work around it: windows, merging, boxes, suppression. Both get the same float32 scan
in memory, the same windows and thresholds. Memory is the peak of the resident set above its level before the call; the
scan itself (4 bytes a voxel) is not in it; the network's own memory is, and stderr says how much that is. The run fails
when boxes differ by more than 1e-3 voxel, or scores by more than 1e-4. MONAI's detector needs torchvision for training
only, and none is installed here.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from side_by_side import HEADER, Cost, peak_mb, print_row
from torch import nn

from medseg.inference.detector import BoxDetector
from medseg.kernels.anchors import anchors_with_shapes

SHAPES, SCALES = [[6, 8, 4], [8, 6, 5], [10, 10, 6]], (1, 2, 4)  # the model zoo's LUNA16 bundle, and its thresholds:
SCORE, CANDIDATES, NMS_IOU, MOST = 0.02, 1000, 0.22, 100
AGREE_VOX, AGREE_SCORE = 1e-3, 1e-4


class StubNetwork(nn.Module):
    """Maps of the right shapes from almost no work; keeps the time that it took."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.spatial_dims, self.num_classes, self.num_anchors, self.size_divisible = 3, 1, 3, (16, 16, 8)
        self.cls_key, self.box_reg_key = "classification", "box_regression"
        self.heads = nn.ModuleList(nn.Conv3d(1, size, (4, 4, 2), stride=(4, 4, 2)) for size in (3, 18))
        with torch.no_grad():
            self.heads[0].weight.mul_(2)
            self.heads[0].bias.fill_(-8)
        self.seconds = 0.0

    def forward(self, image: torch.Tensor) -> dict[str, list[torch.Tensor]]:
        """Class maps in which one fine cell in some thousands passes, and box maps."""
        start = time.perf_counter()
        classes, boxes = ([head(image)] for head in self.heads)
        for maps in (classes, boxes):
            for _ in range(2):
                maps.append(nn.functional.max_pool3d(maps[-1], 2))
        self.seconds += time.perf_counter() - start
        return {"classification": classes, "box_regression": boxes}


def monai_detector(network: StubNetwork, window: list[int]) -> Callable[[torch.Tensor], Any]:
    """MONAI's, set up as its model zoo's LUNA16 bundle does."""
    detector = RetinaNetDetector(network, AnchorGeneratorWithAnchorShape(SCALES, SHAPES)).eval()
    detector.set_box_selector_parameters(
        score_thresh=SCORE, topk_candidates_per_level=CANDIDATES, nms_thresh=NMS_IOU, detections_per_img=MOST
    )
    detector.set_sliding_window_inferer(window, overlap=0.25, sw_batch_size=1, mode="constant")

    def detect(image: torch.Tensor) -> Any:
        detector.anchors = None  # as for a scan of a new size
        with torch.no_grad():
            return detector(image, use_inferer=True)[0]

    return detect


def difference(theirs: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]) -> str:
    """How far the results are apart; ends the run when that is too far."""
    if len(theirs["labels"]) != len(ours["label"]) or not len(ours["label"]):
        sys.exit(f"MONAI found {len(theirs['labels'])} boxes, medseg {len(ours['label'])}")
    vox = (theirs["boxes"] - ours["box"]).abs().max().item()
    score = (theirs["labels_scores"] - ours["score"]).abs().max().item()
    if vox > AGREE_VOX or score > AGREE_SCORE:
        sys.exit(f"boxes differ by {vox} voxels, scores by {score}")
    return f"{len(ours['label'])} boxes, apart by at most {vox:.0e} voxel, scores {score:.0e}"


def compare(depth: int, window: list[int], *, repeats: int) -> None:
    """One scan of 512 x 512 x depth."""
    image = torch.randn(1, 1, 512, 512, depth, generator=torch.Generator().manual_seed(1))
    network = StubNetwork().eval()
    theirs = monai_detector(network, window)
    detector = BoxDetector(
        anchors_with_shapes(SHAPES, SCALES),
        window,
        score_threshold=SCORE,
        candidates_per_level=CANDIDATES,
        nms_iou=NMS_IOU,
        max_detections=MOST,
    )
    detector(image[..., :64], network)  # compiles
    calls = (lambda: theirs(image), lambda: detector(image, network)[0])
    agreement = difference(*(call() for call in calls))
    gc.collect()
    whole: tuple[list[float], list[float]] = ([], [])
    around: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, seconds, rest in zip(calls, whole, around, strict=True):
            start, network.seconds = time.perf_counter(), 0.0
            call()
            seconds.append(time.perf_counter() - start)
            rest.append(seconds[-1] - network.seconds)
    memory = [peak_mb(call) for call in calls]
    part = image[(..., *(slice(side) for side in window))]
    print(
        f"network alone, one window: {peak_mb(torch.no_grad()(lambda: network(part))):.0f} MB",
        file=sys.stderr,
        flush=True,
    )
    for name, times in {"": whole, ", without the network's time": around}.items():
        costs = (Cost(statistics.median(seconds), mb) for seconds, mb in zip(times, memory, strict=True))
        print_row(f"512x512x{depth}{name}", *costs, agreement=agreement)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--depths", type=int, nargs="+", default=[192, 600])
    parser.add_argument("--window", type=int, nargs=3, default=[512, 512, 192])
    options = parser.parse_args()
    print(HEADER, flush=True)
    for depth in options.depths:
        compare(depth, options.window, repeats=options.repeats)


if __name__ == "__main__":
    main()
