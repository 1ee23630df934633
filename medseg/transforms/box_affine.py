"""Random rotation and zoom of an image with its boxes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Randomizable
from monai.utils.misc import ensure_tuple, ensure_tuple_rep

from medseg.errors import ConfigError
from medseg.kernels.affine import affine_linear, affine_nearest
from medseg.transforms.box_tensors import boxes_of, checked_share, cut_boxes, moved, plain, put_boxes, spatial_shape
from medseg.volumes import Affine, spacing_from_affine
from medseg.volumes.boxes import between_edges, transform_balls, transform_boxes

MODES = ("bilinear", "nearest")
SHAPES = {"ball": transform_balls, "box": transform_boxes}


class RandAffineBoxesd(Randomizable, MapTransform):
    """Turns and zooms images and boxes about the image's centre, in millimetres: thick slices are not sheared.

    The new box is the one around the transformed ellipsoid in the old box. Nodules are balls, or nearly so: the box
    around the eight turned corners would grow with every turn although the nodule does not, by up to 1.7 times.

    Args:
        keys: Keys of images `(C, X, Y, Z)` of one size.
        box_key: Key of the voxel boxes, edge coordinates.
        label_keys: Keys that hold one value per box.
        prob: Probability per item.
        rotate_range: Largest angle in radians about each axis, in both directions; one for all axes or one each.
        zoom_range: Least and largest zoom; above 1 things become larger.
        spatial_size: Size of the result, about the same centre; None keeps the image's. Also applied, as a crop, to
            items that are not turned.
        shape: What fills a box: `ball`, or `box` for the box around the eight transformed corners.
        min_share: Share of its volume that a box must keep in the result.
        mode: `bilinear` or `nearest` (for masks), one for all keys or one each.
        pad_values: What lies around an image, one value for all keys or one each.
        allow_missing_keys: Whether an item without a key passes.

    Raises:
        ConfigError: When a range or a mode cannot be.
    """

    def __init__(
        self,
        keys: KeysCollection,
        box_key: str = "box",
        label_keys: KeysCollection = "label",
        *,
        prob: float = 0.5,
        rotate_range: float | Sequence[float] = 0.0,
        zoom_range: Sequence[float] = (1.0, 1.0),
        spatial_size: int | Sequence[int] | None = None,
        shape: str = "ball",
        min_share: float = 0.25,
        mode: str | Sequence[str] = "bilinear",
        pad_values: float | Sequence[float] = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.modes = ensure_tuple_rep(mode, len(self.keys))
        if not set(self.modes) <= set(MODES) or shape not in SHAPES:
            msg = (
                f"RandAffineBoxesd: mode {mode!r}, shape {shape!r}. Wanted {' or '.join(MODES)}, {' or '.join(SHAPES)}."
            )
            raise ConfigError(msg)
        if len(zoom_range) != 2 or not 0 < zoom_range[0] <= zoom_range[1]:
            msg = f"RandAffineBoxesd: zoom_range {tuple(zoom_range)}. Wanted the least and the largest zoom, above 0."
            raise ConfigError(msg)
        self.box_key, self.label_keys, self.shape = box_key, ensure_tuple(label_keys), shape
        self.prob = checked_share(prob, where="RandAffineBoxesd: prob")
        self.rotate_range, self.zoom_range = ensure_tuple_rep(rotate_range, 3), tuple(zoom_range)
        self.spatial_size = None if spatial_size is None else ensure_tuple_rep(spatial_size, 3)
        self.min_share = checked_share(min_share, where="RandAffineBoxesd: min_share")
        self.pad_values = ensure_tuple_rep(pad_values, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Transforms one item; its input tensors stay as they were."""
        item = dict(data)
        keys = list(self.key_iterator(item))
        turn = self.R.uniform() < self.prob
        angles = [self.R.uniform(-limit, limit) for limit in self.rotate_range]
        zoom = float(np.exp(self.R.uniform(*np.log(self.zoom_range))))
        old = spatial_shape(item, keys)
        new = old if self.spatial_size is None else self.spatial_size
        if not turn and new == old:
            return item
        linear = inverse_linear(angles, zoom, _spacing_mm(item[keys[0]])) if turn else np.eye(3)
        matrix = about_centre(linear, old, new)
        for key, mode, pad_value in self.key_iterator(item, self.modes, self.pad_values):
            voxels = resample_affine(plain(item[key]), matrix, new, nearest=mode == "nearest", pad_value=pad_value)
            item[key] = moved(item[key], voxels, matrix)
        onward = np.linalg.inv(between_edges(matrix))
        boxes = SHAPES[self.shape](onward, boxes_of(item, self.box_key))
        cut, keep = cut_boxes(boxes, new, min_share=self.min_share)
        put_boxes(item, cut, box_key=self.box_key, label_keys=self.label_keys, keep=keep)
        return item


def inverse_linear(angles: Sequence[float], zoom: float, spacing_mm: Sequence[float]) -> Affine:
    """The 3x3 matrix from turned and zoomed voxel offsets back to the image's own.

    Args:
        angles: Radians about the first, the second and the third axis, turned in this order.
        zoom: Above 1 things become larger.
        spacing_mm: Voxel size along each axis.
    """
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        about = np.eye(3)
        about[first, first] = about[second, second] = np.cos(angle)
        about[first, second], about[second, first] = -np.sin(angle), np.sin(angle)
        turn = about @ turn
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    back: Affine = (turn.T * spacing) / spacing[:, None] / zoom
    return back


def about_centre(linear: Affine, old: Sequence[int], new: Sequence[int]) -> Affine:
    """The matrix 4x4 from new voxel indices to old ones that maps the new image's centre to the old one's.

    Where nothing is turned or zoomed it hits whole voxels: with an odd difference in size, half a voxel off.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    centre_old, centre_new = (np.array(old) - 1) / 2.0, (np.array(new) - 1) / 2.0
    matrix[:3, 3] = centre_old - linear @ centre_new
    if np.array_equal(linear, np.eye(3)):
        matrix[:3, 3] = np.floor(matrix[:3, 3])
    return matrix


def resample_affine(
    image: torch.Tensor, matrix: Affine, size: Sequence[int], *, nearest: bool = False, pad_value: float = 0.0
) -> torch.Tensor:
    """The image `(C, X, Y, Z)` on new voxels whose indices the 4x4 matrix maps to old ones.

    Linear results are float32, nearest ones keep the type. On a CPU by the compiled kernel, else by torch.
    """
    if image.device.type != "cpu":
        return resample_affine_torch(image, matrix, size, nearest=nearest, pad_value=pad_value)
    look_up = affine_nearest if nearest else affine_linear
    channels = image.detach().numpy() if nearest else image.detach().float().numpy()
    return torch.from_numpy(np.stack([look_up(channel, matrix, shape=size, outside=pad_value) for channel in channels]))


def resample_affine_torch(
    image: torch.Tensor, matrix: Affine, size: Sequence[int], *, nearest: bool = False, pad_value: float = 0.0
) -> torch.Tensor:
    """The same through `torch.nn.functional.grid_sample`, on any device."""
    edges = between_edges(matrix)
    old, new = np.array(image.shape[1:], dtype=np.float64), np.array(size, dtype=np.float64)
    # grid_sample's coordinates: edges at -1 and 1, last axis first
    scaled = edges[:3, :3] * new / old[:, None]
    offset = (2.0 * edges[:3, 3] + edges[:3, :3] @ new) / old - 1.0
    theta = np.concatenate([scaled, offset[:, None]], axis=1)[::-1][:, [2, 1, 0, 3]].copy()
    grid = torch.nn.functional.affine_grid(
        torch.as_tensor(theta, dtype=torch.float32, device=image.device)[None], [1, 1, *size], align_corners=False
    )
    mode = "nearest" if nearest else "bilinear"
    shifted = (image.float() - pad_value)[None]
    values = torch.nn.functional.grid_sample(shifted, grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
    values = values + pad_value
    return values.to(image.dtype) if nearest else values


def _spacing_mm(image: torch.Tensor) -> tuple[float, float, float]:
    return spacing_from_affine(image.affine.cpu().numpy()) if isinstance(image, MetaTensor) else (1.0, 1.0, 1.0)
