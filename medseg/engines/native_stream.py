"""Predictions on the scan's own grid in one stream, in place of the first steps of a postprocessing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch
from monai.data.utils import collate_meta_tensor
from monai.transforms import Compose

from medseg.engines.precision import plain
from medseg.inference import SlidingWindow
from medseg.inference.image_grid import grid_before
from medseg.labels import are_exclusive

_log = logging.getLogger("medseg.predict")
_DONE = "medseg_on_native_grid"  # in the metadata of a prediction


@dataclass(frozen=True)
class Steps:
    """What the first steps of a postprocessing come to."""

    activation: Literal["sigmoid", "softmax"]
    threshold: float | None  # of masks; None: the best class
    count: int  # steps
    exclusive: bool = False  # whether a voxel is in the mask of its best channel alone


class NativeStream:
    """Merges windows, resamples to the scan's grid and decides in one stream, where that gives the same masks.

    It stands for Activationsd, Invertd and AsDiscreted (a sigmoid and a threshold, or a softmax and an argmax) or
    SettleRegionsd (a sigmoid, a threshold, the likeliest region) at the head of the postprocessing, for one image at a
    time that came through LoadCased, Orientationd, Spacingd and CropForegroundd. At most 1e-6 of the voxels differ from
    the steps', where scores lie within float32 rounding of the threshold; of an argmax under half precision, also
    voxels whose best scores are equal. Whatever else there is, other steps or saved probabilities, goes through the
    steps.

    Args:
        inferer: A `SlidingWindow`; with any other everything goes through the steps.
        postprocessing: The steps of a prediction `pred` beside its `image`.
        enabled: Whether to stream at all.

    Attributes:
        notes: What was planned and held for each case, for run.json.
    """

    def __init__(self, inferer: Any, postprocessing: Compose, *, enabled: bool = True) -> None:
        self.inferer, self.postprocessing = inferer, postprocessing
        self.steps = steps_of(postprocessing.transforms) if enabled and type(inferer) is SlidingWindow else None
        self.rest = Compose(postprocessing.transforms[self.steps.count :]) if self.steps else postprocessing
        self.notes: list[dict[str, Any]] = []

    def predict(
        self, images: Any, network: Any, *, channels_last: bool = False, beside_mb: float = 0.0
    ) -> MetaTensor | None:
        """Masks `(1, R, X, Y, Z)` or labels `(1, 1, X, Y, Z)` on the scan's grid; None where the steps have to do it.

        Args:
            images: A batch of one, with metadata.
            network: Gives scores of windows.
            channels_last: Whether it gets them in channels-last memory.
            beside_mb: What else this process may come to hold meanwhile, in MiB.
        """
        if self.steps is None or not isinstance(images, MetaTensor) or images.ndim != 5 or len(images) != 1:
            return None
        image = decollate_batch(images)[0]
        grid = grid_before(image)
        if grid is None:
            return None
        found = self.inferer.predict_labels(
            plain(images, channels_last=channels_last),
            network,
            grid=grid,
            activation=self.steps.activation,
            threshold=self.steps.threshold,
            exclusive=self.steps.exclusive,
            beside_mb=beside_mb if images.device.type == "cpu" else 0.0,
        )
        self._note(image, found)
        labels = found.labels if self.steps.threshold is not None else found.labels[None]
        meta = {**{key: value for key, value in image.meta.items() if key != "affine"}, _DONE: True}
        affine = torch.as_tensor(np.asarray(image.meta["original_affine"]), dtype=torch.float64)
        masks = torch.from_numpy(np.ascontiguousarray(labels))
        return collate_meta_tensor([MetaTensor(masks, affine=affine, meta=meta, applied_operations=[])])  # type: ignore[no-any-return]

    def __call__(self, item: Mapping[str, Any]) -> Any:
        """What is left of the postprocessing for a prediction that was streamed, all of it for another."""
        pred = item.get("pred")
        streamed = isinstance(pred, MetaTensor) and pred.meta.get(_DONE)
        return (self.rest if streamed else self.postprocessing)(item)

    def _note(self, image: MetaTensor, found: Any) -> None:
        plan = found.plan
        note = {
            "file": str(image.meta.get("filename_or_obj", "")),
            "windows": plan.windows,
            "batch_size": plan.batch_size,
            "predicted_peak_mb": round(plan.predicted_mb, 1),
            "peak_mb": round(found.peak_mb, 1),
            "spilled_mb": round(plan.spilled_mb, 1),
        }
        self.notes.append(note)
        _log.info(
            "%d windows; memory: predicted %.0f MiB, held %.0f MiB", plan.windows, plan.predicted_mb, found.peak_mb
        )


def steps_of(transforms: Sequence[Any]) -> Steps | None:
    """What the head of a postprocessing comes to, if a stream can stand for it."""
    names = [type(transform).__name__ for transform in transforms[:3]]
    if names[:2] != ["Activationsd", "Invertd"] or names[2:] not in (["AsDiscreted"], ["SettleRegionsd"]):
        return None
    activation, invert, decision = transforms[:3]
    if any(tuple(transform.keys) != ("pred",) for transform in (activation, invert, decision)):
        return None
    if any(invert.nearest_interp) or activation.other[0] is not None:
        return None
    sigmoid, softmax = bool(activation.sigmoid[0]), bool(activation.softmax[0])
    if sigmoid == softmax:
        return None
    return _settled(decision) if names[2] == "SettleRegionsd" and sigmoid else _decided(decision, sigmoid=sigmoid)


def _settled(decision: Any) -> Steps | None:
    threshold = float(decision.threshold)
    return Steps("sigmoid", threshold, 3, are_exclusive(decision.convention)) if threshold > 0 else None


def _decided(decision: Any, *, sigmoid: bool) -> Steps | None:
    if type(decision).__name__ != "AsDiscreted" or any(decision.to_onehot[:1]) or decision.rounding[0] is not None:
        return None
    argmax, threshold = bool(decision.argmax[0]), decision.threshold[0]
    if sigmoid and not argmax and threshold is not None:
        return Steps("sigmoid", float(threshold), 3)
    return Steps("softmax", None, 3) if not sigmoid and argmax and threshold is None else None
