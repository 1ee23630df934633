"""Boxes in a whole scan, from the maps of an anchor-based network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers.inferer import Inferer

from medseg.errors import ConfigError, DataError
from medseg.inference.boxes import clip_boxes, flip_boxes, nms
from medseg.inference.candidates import Candidates
from medseg.inference.lung import LungField, centres_inside
from medseg.inference.scan_maps import Network, ScanMaps
from medseg.inference.sliding_window import mirror_combinations
from medseg.inference.windows import Blend, Shape, Windows, windows_over
from medseg.kernels.anchors import Anchors
from medseg.kernels.clustering import weighted_box_clustering

Detection = dict[str, torch.Tensor]  # box (N, 6) float32 in voxels, score (N,) float32, label (N,) int64
Mask = npt.NDArray[np.bool_]


class BoxDetector(Inferer):
    """Whole-scan inference of an anchor-based detector: windows, merged maps, boxes.

    The result is that of MONAI's `RetinaNetDetector` with a sliding window, computed in another order. Maps are merged
    a slab at a time, scores are compared with the threshold before any box is made, and what remains is a few thousand
    candidates; so memory does not grow with the length of the scan. It differs where MONAI misplaces boxes: a window
    is never larger than the scan (MONAI pads the scan on both sides, then cuts its maps), and windows start at
    multiples of `size_divisible`.

    With `tta`, or with several networks, each network and mirrored scan gives its boxes, and weighted box clustering
    makes them one set: a finding of one in five scores a fifth.

    Args:
        anchors: The anchors of the network's pyramid.
        roi_size: Window in voxels, `(X, Y, Z)`, multiples of `size_divisible`.
        overlap: Share of a window that the next one covers, 0 to below 1.
        sw_batch_size: Windows in one forward pass.
        blend: "constant", or "gaussian": the centre of a window counts more.
        size_divisible: What the sizes of the network's input must be multiples of; the network's own when not given.
        score_threshold: Scores must be above it.
        candidates_per_level: Anchors of each level that become boxes, the best ones.
        nms_iou: IoU above which the worse of two boxes goes.
        max_detections: Boxes of a scan at most, the best ones.
        tta: Whether to detect in mirrored scans too.
        mirror_axes: Spatial axes (0, 1, 2) to mirror; all their combinations are used.
        cluster_iou: IoU above which boxes of different networks or mirrored scans are one; `nms_iou` when not given.
        lung: Finds the lungs in the input, so that boxes centred outside them are dropped.
        sw_device: Where the network runs; the input's device when not given.
        device: Where maps are merged; the input's device when not given.

    Raises:
        ConfigError: An argument outside its range.
    """

    def __init__(
        self,
        anchors: Anchors,
        roi_size: Sequence[int],
        *,
        overlap: float = 0.25,
        sw_batch_size: int = 1,
        blend: Blend = "constant",
        size_divisible: Sequence[int] | None = None,
        score_threshold: float = 0.02,
        candidates_per_level: int = 1000,
        nms_iou: float = 0.22,
        max_detections: int = 100,
        tta: bool = False,
        mirror_axes: Sequence[int] = (0, 1, 2),
        cluster_iou: float | None = None,
        lung: LungField | None = None,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.anchors, self.roi_size, self.overlap = anchors, tuple(roi_size), overlap
        self.sw_batch_size, self.blend, self.size_divisible = sw_batch_size, blend, size_divisible
        self.score_threshold, self.candidates_per_level = score_threshold, candidates_per_level
        self.nms_iou, self.max_detections = nms_iou, max_detections
        self.cluster_iou = nms_iou if cluster_iou is None else cluster_iou
        self.mirrors = mirror_combinations(mirror_axes) if tta else ((),)
        self.lung, self.sw_device, self.device = lung, sw_device, device
        self._check()

    def __call__(
        self,
        inputs: torch.Tensor,
        network: Network | Sequence[Network],
        *args: Any,
        lung_mask: Mask | None = None,
        **kwargs: Any,
    ) -> list[Detection]:
        """Boxes in each scan of a batch.

        Args:
            inputs: Shape `(B, C, X, Y, Z)`.
            network: Gives a dictionary with `classification`, a list of logits `(B, A * classes, x, y, z)` for each
                level, and `box_regression`, offsets `(B, A * 6, x, y, z)`; or one list, the former before the latter.
                Or several such networks, whose boxes are clustered.
            args: Passed on to the network.
            lung_mask: Where boxes may have their centres, shape `(X, Y, Z)`; the same for all scans of the batch.
            kwargs: Passed on to the network.

        Returns:
            For each scan `box` (N, 6), float32, corners in voxels where voxel i covers `[i, i + 1]`; `score` (N,), best
            first; `label` (N,), int64, classes from 0.

        Raises:
            DataError: The input has no five axes, or the mask another shape.
            ConfigError: The network does not fit the anchors or the windows.
            NumericError: A map is not finite.
        """
        if inputs.ndim != 5:
            msg = f"detection: input of shape {tuple(inputs.shape)}; wanted (batch, channels, X, Y, Z)."
            raise DataError(msg)
        networks = [_called(part, args, kwargs) for part in _members(network)]
        with torch.no_grad():
            return [self._scan(image, networks, lung_mask) for image in inputs]

    def _scan(self, image: torch.Tensor, networks: list[tuple[Network, Any]], mask: Mask | None) -> Detection:
        mask = self._mask(image, mask)
        image = image.as_subclass(torch.Tensor)
        size = image.shape[1:]
        found = []
        for network, divisible in networks:
            windows = self._windows(size, divisible)
            for flips in self.mirrors:
                boxes, scores, labels = self._candidates(image, network, windows, flips)
                boxes, wide = clip_boxes(boxes, size)
                boxes = flip_boxes(boxes[wide], size, flips)
                found.append(self._suppress(boxes, scores[wide], labels[wide], mask))
        return found[0] if len(found) == 1 else self._cluster(found)

    def _mask(self, image: torch.Tensor, mask: Mask | None) -> Mask | None:
        if mask is None:
            return None if self.lung is None else self.lung(image)
        if mask.shape != tuple(image.shape[1:]):
            msg = f"detection: lung mask of shape {mask.shape} for a scan of {tuple(image.shape[1:])} voxels."
            raise DataError(msg)
        return mask

    def _windows(self, size: Sequence[int], divisible: Any) -> Windows:
        units = self.size_divisible or divisible or 1
        units = (units,) * 3 if isinstance(units, int) else tuple(int(unit) for unit in units)
        if any(side % unit for side, unit in zip(self.roi_size, units, strict=True)):
            msg = f"detection: roi_size {self.roi_size} is not a multiple of the network's size_divisible {units}."
            raise ConfigError(msg)
        return windows_over(size, self.roi_size, overlap=self.overlap, divisible=units)

    def _candidates(
        self, image: torch.Tensor, network: Network, windows: Windows, flips: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The best boxes of every level in the mirrored scan, not clipped; scores; labels."""
        maps = ScanMaps(
            network,
            windows,
            per_cell=self.anchors.per_cell,
            flips=flips,
            blend=self.blend,
            batch_size=self.sw_batch_size,
            network_device=self.sw_device or image.device,
            device=self.device or image.device,
        )
        kept: list[Candidates] = []
        for slabs in maps.slabs(image):
            kept = kept or [self._collector(slab.cells) for slab in slabs]
            for candidates, slab in zip(kept, slabs, strict=True):
                candidates.add(slab.logits, slab.offsets, first=slab.first, weights=slab.weights)
        levels = self.anchors.levels(windows.image_size, [candidates.cells for candidates in kept])
        parts = [candidates.boxes(level, windows.image_size) for candidates, level in zip(kept, levels, strict=True)]
        boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
        return boxes, scores, labels

    def _collector(self, cells: Shape) -> Candidates:
        return Candidates(
            cells, per_cell=self.anchors.per_cell, threshold=self.score_threshold, most=self.candidates_per_level
        )

    def _suppress(
        self, boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, mask: Mask | None
    ) -> Detection:
        if mask is not None:
            inside = torch.from_numpy(centres_inside(boxes.cpu().numpy(), mask)).to(boxes.device)
            boxes, scores, labels = boxes[inside], scores[inside], labels[inside]
        kept = nms(boxes, scores, labels, iou_threshold=self.nms_iou, max_kept=self.max_detections)
        return {"box": boxes[kept], "score": scores[kept], "label": labels[kept]}

    def _cluster(self, found: Sequence[Detection]) -> Detection:
        device = found[0]["box"].device
        box, score, label = (torch.cat([one[key] for one in found]).cpu().numpy() for key in ("box", "score", "label"))
        merged = weighted_box_clustering(box, score, label, expected=len(found), iou_threshold=self.cluster_iou)
        names = ("box", "score", "label")
        best = [torch.from_numpy(np.array(part[: self.max_detections])).to(device) for part in merged]
        return dict(zip(names, best, strict=True))

    def _check(self) -> None:
        if len(self.roi_size) != 3 or min(self.roi_size) < 1:
            msg = f"BoxDetector: roi_size {self.roi_size} is not three counts of voxels."
            raise ConfigError(msg)
        shares = {"score_threshold": self.score_threshold, "nms_iou": self.nms_iou, "cluster_iou": self.cluster_iou}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                msg = f"BoxDetector: {name} {share} is outside 0 to 1."
                raise ConfigError(msg)
        if not 0 <= self.overlap < 1 or self.blend not in ("constant", "gaussian"):
            msg = (
                f"BoxDetector: overlap {self.overlap} must be 0 to below 1, blend {self.blend!r} constant or gaussian."
            )
            raise ConfigError(msg)
        if min(self.sw_batch_size, self.candidates_per_level, self.max_detections) < 1:
            msg = "BoxDetector: sw_batch_size, candidates_per_level and max_detections must be at least 1."
            raise ConfigError(msg)


def _members(network: Network | Sequence[Network]) -> list[Any]:
    return list(network) if isinstance(network, list | tuple | torch.nn.ModuleList) else [network]


def _called(network: Network, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Network, Any]:
    """The network with its further arguments, and what it says its input must be divisible by."""
    divisible = getattr(getattr(network, "module", network), "size_divisible", None)
    return (lambda batch: network(batch, *args, **kwargs)), divisible
