"""A chain of spatial transforms carried out in one pass over the voxels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.traits import LazyTrait
from monai.transforms.transform import apply_transform
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from medseg.errors import ConfigError
from medseg.transforms.settle import settled


class InOnePassd(Compose):
    """Reads each voxel of the result from the image it comes from, through all the transforms at once.

    The transforms run lazily, as MONAI's `Compose(lazy=True)` runs them, and what they have put off is done by the
    compiled kernel (on a GPU by torch): interpolated once instead of once for each, with no image between. A turned
    crop sees the tissue beside it instead of padding. The result is therefore NOT that of the same transforms one after
    the other, but for flips, crops and changes of axes before one interpolation. The inverse undoes them one by one.

    Args:
        transforms: MONAI's or medseg's dictionary transforms that can be lazy, and others that do not change the
            voxels of the keys.
        keys: Keys of images `(C, X, Y, Z)`.
        mode: "bilinear" or "nearest", one for all keys or one each; what the transforms ask for when not given.
        padding_mode: What lies around the images: "zeros", "border" or "reflection", likewise.

    Raises:
        ConfigError: A transform changes voxels and cannot be lazy.
    """

    def __init__(
        self,
        transforms: Sequence[Callable[..., Any]],
        keys: KeysCollection,
        mode: str | Sequence[str] | None = None,
        padding_mode: str | Sequence[str] = "zeros",
    ) -> None:
        super().__init__(transforms, lazy=True)
        self.keys = ensure_tuple(keys)
        self.modes = ensure_tuple_rep(mode, len(self.keys))
        self.paddings = ensure_tuple_rep(padding_mode, len(self.keys))

    def __call__(self, data: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        """Transforms one item, or a list of them; a list where a transform gives several."""
        for transform in self.transforms:
            data = self._put_off(transform, data)
        return self._done(data)

    def _put_off(self, transform: Any, data: Any) -> Any:
        if isinstance(transform, LazyTrait):
            if transform.requires_current_data:
                data = self._done(data)
            found = apply_transform(transform, data, lazy=True)
            nested = isinstance(data, list) and any(isinstance(item, list) for item in found)
            return [inner for item in found for inner in item] if nested else found
        self._check_untouched(transform, data)
        return apply_transform(transform, data)

    def _done(self, data: Any) -> Any:
        if isinstance(data, list):
            return [self._done(item) for item in data]
        done: dict[Hashable, Any] = dict(data)
        for key, mode, padding in zip(self.keys, self.modes, self.paddings, strict=True):
            if isinstance(done.get(key), MetaTensor):
                done[key] = settled(done[key], mode=mode, padding=padding)
        return done

    def _check_untouched(self, transform: Any, data: Any) -> None:
        keys = set(ensure_tuple(getattr(transform, "keys", ()))) & set(self.keys)
        images = [item.get(key) for item in (data if isinstance(data, list) else [data]) for key in keys]
        if any(isinstance(image, MetaTensor) and image.pending_operations for image in images):
            msg = (
                f"InOnePassd: {type(transform).__name__} cannot be lazy, and would see what earlier transforms have "
                "put off. Put it before or after InOnePassd."
            )
            raise ConfigError(msg)
