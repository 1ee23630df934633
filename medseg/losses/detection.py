"""The loss of an anchor-based detector: classes of drawn anchors, and boxes of the positive ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from monai.losses import BoxGIoULoss
from monai.losses.focal_loss import sigmoid_focal_loss

from medseg.errors import ConfigError
from medseg.kernels.anchors import AnchorLevel, Anchors, anchor_boxes
from medseg.kernels.atss import match_anchors
from medseg.losses.box_coding import decode_boxes, encode_boxes
from medseg.losses.hard_negatives import HardNegatives

ClassLoss = Literal["bce", "focal"]
BoxLoss = Literal["l1", "giou"]

_SMOOTH_L1_BETA = 1.0 / 9  # where the L1 of an offset turns quadratic: MONAI's RetinaNetDetector, torchvision's
_FOCAL_GAMMA, _FOCAL_ALPHA = 2.0, 0.25  # Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 5.1


@dataclass(frozen=True)
class _Matched:
    """What one image's anchors are to say: numbers of positive anchors, their classes, offsets and boxes."""

    anchor: torch.Tensor
    label: torch.Tensor
    box: torch.Tensor
    anchor_box: torch.Tensor


class DetectionLoss(torch.nn.Module):
    """Classification plus box regression, computed in float32 whatever the network ran in.

    Anchors are matched by ATSS (`medseg.kernels.atss`). An image without boxes has negatives only.

    Args:
        anchors: the anchors of a cell, for each level.
        num_candidates: ATSS: cells of each level that give candidates for a box.
        center_in_gt: ATSS: whether an anchor's centre must lie in the box; off, since nodules are small.
        class_loss: "bce" over drawn anchors, or "focal" (Lin et al. 2017), which needs no drawing.
        box_loss: "l1" of the offsets, smooth near 0; or "giou" (Rezatofighi et al. 2019) of the boxes.
        sampler: which anchors count; None takes all of them.
        weights: weight of "classification" and of "box_regression"; 1 where none is given.

    Raises:
        ConfigError: a loss of that name does not exist, "bce" has no sampler, or a weight has no term.
    """

    def __init__(
        self,
        anchors: Anchors,
        *,
        num_candidates: int = 4,
        center_in_gt: bool = False,
        class_loss: ClassLoss = "bce",
        box_loss: BoxLoss = "l1",
        sampler: HardNegatives | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        _check_choice("class_loss", class_loss, get_args(ClassLoss))
        _check_choice("box_loss", box_loss, get_args(BoxLoss))
        if class_loss == "bce" and sampler is None:
            msg = "class_loss bce: without a sampler the negatives drown the positives. Give one, or choose focal."
            raise ConfigError(msg)
        self.weights = {"classification": 1.0, "box_regression": 1.0}
        for name in weights or {}:
            _check_choice("weights", name, self.weights)
        self.weights |= {name: float(value) for name, value in (weights or {}).items()}
        self.anchors, self.num_candidates, self.center_in_gt = anchors, num_candidates, center_in_gt
        self.class_loss, self.box_loss, self.sampler = class_loss, box_loss, sampler

    def terms(
        self, prediction: Mapping[str, Sequence[torch.Tensor]], target: Sequence[Mapping[str, Any]]
    ) -> dict[str, torch.Tensor]:
        """Each term, unweighted: scalars, "box_regression" 0 without boxes.

        Args:
            prediction: "classification" and "box_regression", one map for each level, as RetinaNet gives them.
            target: for each image "box" (N, 6), corners in voxel edge coordinates; "label" (N,), classes from 0;
                "image_size", voxels (X, Y, Z).
        """
        maps = prediction["classification"]
        with torch.autocast(maps[0].device.type, enabled=False):
            logits, labels, offsets, boxes, anchors = (
                torch.cat(part)
                for part in zip(*(self._image(prediction, i, image) for i, image in enumerate(target)), strict=True)
            )
            return {
                "classification": self._class_term(logits, labels),
                "box_regression": self._box_term(offsets, boxes, anchors),
            }

    def total(self, terms: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The weighted sum of terms that `terms` returned."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def forward(
        self, prediction: Mapping[str, Sequence[torch.Tensor]], target: Sequence[Mapping[str, Any]]
    ) -> torch.Tensor:
        """The weighted sum, a scalar."""
        return self.total(self.terms(prediction, target))

    def _image(
        self, prediction: Mapping[str, Sequence[torch.Tensor]], index: int, target: Mapping[str, Any]
    ) -> tuple[torch.Tensor, ...]:
        """Logits and classes of the anchors that count; offsets, wanted boxes and anchors of the positive ones."""
        maps = [level[index] for level in prediction["classification"]]
        boxes = [level[index] for level in prediction["box_regression"]]
        levels = self.anchors.levels(target["image_size"], [level.shape[1:] for level in maps])
        logits = torch.cat([_by_anchor(level, self.anchors.per_cell) for level in maps]).float()
        matched = self._match(levels, target, device=logits.device)
        wanted = torch.zeros_like(logits)
        wanted[matched.anchor, matched.label] = 1.0
        if self.sampler is not None:
            chosen = torch.cat(self.sampler.draw(logits.detach().amax(dim=1), matched.anchor))
            logits, wanted = logits[chosen], wanted[chosen]
        offsets = _offsets_at(boxes, matched.anchor, self.anchors.per_cell)
        return logits, wanted, offsets, matched.box, matched.anchor_box

    def _match(self, levels: Sequence[AnchorLevel], target: Mapping[str, Any], *, device: torch.device) -> _Matched:
        size, box, label = target["image_size"], target["box"].float(), target["label"].long()
        anchor, which = match_anchors(
            size, levels, box.cpu().numpy(), num_candidates=self.num_candidates, center_in_gt=self.center_in_gt
        )
        number = torch.as_tensor(which, device=device)
        found = torch.as_tensor(anchor_boxes(size, levels, anchor), device=device)
        return _Matched(torch.as_tensor(anchor, device=device), label.to(device)[number], box.to(device)[number], found)

    def _class_term(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if self.class_loss == "bce":
            return F.binary_cross_entropy_with_logits(logits, wanted)
        loss: torch.Tensor = sigmoid_focal_loss(logits, wanted, gamma=_FOCAL_GAMMA, alpha=_FOCAL_ALPHA)
        return loss.sum() / wanted.sum().clamp(min=1)

    def _box_term(self, offsets: torch.Tensor, boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        if not len(offsets):
            return offsets.sum()  # 0, and still a part of the graph
        if self.box_loss == "l1":
            return F.smooth_l1_loss(offsets, encode_boxes(boxes, anchors), beta=_SMOOTH_L1_BETA)
        loss: torch.Tensor = BoxGIoULoss()(decode_boxes(offsets, anchors), boxes)
        return loss


def _by_anchor(level: torch.Tensor, per_cell: int) -> torch.Tensor:
    """A map (anchors * C, X, Y, Z) as rows (X * Y * Z * anchors, C): the order in which anchors are counted."""
    return level.reshape(per_cell, -1, *level.shape[1:]).permute(2, 3, 4, 0, 1).flatten(0, 3)


def _offsets_at(maps: Sequence[torch.Tensor], anchor: torch.Tensor, per_cell: int) -> torch.Tensor:
    """Offsets (P, 6) of the anchors with these numbers, in float32; no map is turned round for a few of them."""
    found, first = [], 0
    for level in maps:
        count = level[0].numel() * per_cell
        here = anchor[(anchor >= first) & (anchor < first + count)] - first
        cell, kind = here // per_cell, here % per_cell
        found.append(level.reshape(per_cell, 6, -1)[kind, :, cell])
        first += count
    return torch.cat(found).float()


def _check_choice(name: str, value: str, known: Any) -> None:
    if value not in known:
        msg = f"{name}: {value!r} does not exist. Known: {', '.join(known)}."
        raise ConfigError(msg)
