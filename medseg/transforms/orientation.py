"""MONAI's Orientationd by one copy in numpy."""

from __future__ import annotations

from typing import Any

import monai.transforms
import numpy as np
import numpy.typing as npt
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor

from medseg.kernels.slabs import run_slabs
from medseg.transforms.lookup import can_look_up, in_whole_steps
from medseg.transforms.settle import Move, done_at_once, is_still


class Orientationd(monai.transforms.Orientationd):
    """MONAI's `Orientationd`, a third of its time; the same arguments, voxels, metadata, lazy application and inverse.

    Axes that change places come out in C order, where MONAI's are a view in another one.
    """

    ornt_transform: monai.transforms.Orientation

    def __init__(self, keys: KeysCollection, axcodes: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(keys, axcodes, *args, **kwargs)
        theirs: monai.transforms.Orientation = self.ornt_transform
        self.ornt_transform = Orientation(
            axcodes=theirs.axcodes,
            as_closest_canonical=theirs.as_closest_canonical,
            labels=theirs.labels,
            lazy=theirs.lazy,
        )


class Orientation(monai.transforms.Orientation):
    """MONAI's `Orientation`, whose name stands in the metadata: its bookkeeping, another copy."""

    def __call__(self, data_array: torch.Tensor, lazy: bool | None = None) -> torch.Tensor:
        """The image with other axes; MONAI's arguments."""
        lazily = self.lazy if lazy is None else lazy
        on_cpu = data_array.device.type == "cpu" and not data_array.requires_grad
        usable = get_track_meta() and on_cpu and can_look_up(data_array, "nearest", "zeros")
        if lazily or not usable or not isinstance(data_array, MetaTensor) or data_array.pending_operations:
            return super().__call__(data_array, lazy=lazy)
        info, plain = self.get_transform_info(), data_array.as_tensor()
        with self.trace_transform(True):  # a lazy call in an untraced inverse would leave no trace
            later = super().__call__(data_array, lazy=True)

        def turned(move: Move) -> torch.Tensor:
            if is_still(move, tuple(plain.shape[1:])):
                return plain
            copied = in_whole_steps(plain, move.matrix, move.shape)
            if copied is None:
                msg = f"Orientationd: {move.matrix.tolist()} is more than turns by right angles."
                raise RuntimeError(msg)
            return torch.from_numpy(_in_c_order(copied))

        return done_at_once(data_array, later, info=info, voxels=turned)


def _in_c_order(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of an image `(C, X, Y, Z)`, shared by threads."""
    out = np.empty(image.shape, image.dtype)

    def copy(first: int, last: int) -> None:
        out[:, first:last] = image[:, first:last]

    run_slabs(copy, image.shape[1], threads=torch.get_num_threads())
    return out
