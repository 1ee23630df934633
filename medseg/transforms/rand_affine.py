"""MONAI's RandAffined on the compiled kernel, and whole chains of crops, turns and flips in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import monai.transforms
import numpy as np
import torch
from monai.data.meta_obj import get_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.inverse import TraceableTransform
from monai.transforms.spatial.array import Affine
from monai.utils.misc import ensure_tuple, fall_back_tuple

from medseg.transforms.lookup import can_look_up
from medseg.transforms.settle import Move, moved_voxels


class RandAffined(monai.transforms.RandAffined):
    """MONAI's `RandAffined` without its grid of coordinates; the same arguments, draws, metadata and inverse.

    3D images, linear or nearest; everything else, and lazy application, by MONAI. Within 1e-4 of the intensities'
    range of MONAI's, whose coordinates are float32. An item that is not turned but has another size is cut or padded
    about its centre, and its affine says so; MONAI 1.6.1 moves the affine by the last item's turn.
    """

    _do_transform: bool

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """Transforms one item."""
        item, lazily = dict(data), self.lazy if lazy is None else lazy
        if lazily or not self._all_ours(item):
            return super().__call__(item, lazy=lazily)
        self.randomize(None)
        self.rand_affine.randomize()
        old = tuple(item[self.first_key(item)].shape[1:])
        new = fall_back_tuple(self.rand_affine.spatial_size, old)
        turns = bool(self._do_transform)
        if turns:
            self.rand_affine.rand_affine_grid(new, lazy=True)
        affine = self.rand_affine.rand_affine_grid.get_transformation_matrix() if turns else torch.eye(4)
        self._do_transform = turns or tuple(new) != ensure_tuple(old)  # as MONAI: what the inverse has to undo
        for key, mode, padding in self.key_iterator(item, self.mode, self.padding_mode):
            if self._do_transform:
                self.rand_affine.randomize()  # MONAI draws for each key, in vain; so that seeds give the same
                item[key] = self._moved(item[key], affine, tuple(new), mode=_name(mode), padding=_name(padding))
            else:
                item[key] = MetaTensor(item[key].float()).copy_meta_from(item[key])
            self.push_transform(item[key], replace=True)
        return item

    def _moved(self, image: MetaTensor, affine: Any, size: tuple[int, ...], *, mode: str, padding: str) -> MetaTensor:
        old = tuple(image.shape[1:])
        matrix = np.asarray(Affine.compute_w_affine(3, affine, old, size), dtype=np.float64)
        meta = TraceableTransform.track_transform_meta(
            image,
            sp_size=size,
            affine=torch.from_numpy(matrix),
            extra_info={
                "affine": affine,
                "mode": mode,
                "padding_mode": padding,
                "do_resampling": True,
                "align_corners": self.rand_affine.resampler.align_corners,
            },
            orig_size=old,
            transform_info=self.rand_affine.get_transform_info(),
        )
        found: MetaTensor = MetaTensor(moved_voxels(image, Move(matrix, size), mode=mode, padding=padding))
        return found.copy_meta_from(meta)

    def _all_ours(self, item: Mapping[Hashable, Any]) -> bool:
        keys = list(self.key_iterator(dict(item), self.mode, self.padding_mode))
        images = [item[key] for key, _, _ in keys]
        tracked = all(isinstance(image, MetaTensor) and not image.pending_operations for image in images)
        usable = all(can_look_up(item[key], _name(mode), _name(padding)) for key, mode, padding in keys)
        return bool(keys) and tracked and usable and get_track_meta() and self.rand_affine.resampler.device is None


def _name(option: Any) -> str:
    return str(getattr(option, "value", option))
