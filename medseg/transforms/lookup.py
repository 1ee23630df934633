"""An image looked up on other voxels, given by an affine: compiled on a CPU, by torch elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from medseg.kernels.affine import PADDINGS, affine_linear, affine_nearest
from medseg.kernels.resample import resample_at
from medseg.volumes.boxes import between_edges

Matrix = npt.NDArray[np.float64]
ORDERS = {"nearest": 0, "bilinear": 1}
_SNAP = 1e-6  # voxels: what is left of whole numbers and zeros after products of affines


def can_look_up(image: torch.Tensor, mode: Any, padding: Any) -> bool:
    """Whether this module does what is asked for, as MONAI names it; all else is left to MONAI."""
    real = image.dtype not in (torch.complex64, torch.complex128, torch.bfloat16)
    return image.ndim == 4 and image.numel() > 0 and real and str(mode) in ORDERS and str(padding) in PADDINGS


def look_up(image: torch.Tensor, matrix: Matrix, shape: Sequence[int], *, mode: str, padding: str) -> torch.Tensor:
    """The image `(C, X, Y, Z)` on voxels whose indices a 4x4 matrix takes to old ones, in float32.

    On a CPU, where the new voxels lie on a grid of the old ones, the result is stored in the image's memory order.

    Args:
        image: Any real type. On a CPU any memory order.
        matrix: From the new voxels' indices to the old ones'.
        shape: Of the result.
        mode: "nearest" or "bilinear", which is trilinear.
        padding: What lies around the image: "zeros", "border" or "reflection".

    >>> shift = np.eye(4)
    >>> shift[2, 3] = 0.5
    >>> look_up(torch.tensor([[[[2, 4]]]]), shift, (1, 1, 2), mode="bilinear", padding="border").ravel().tolist()
    [3.0, 4.0]
    """
    along = axis_positions(matrix, image.shape[1:], shape, padding=padding)
    if image.device.type != "cpu":
        return look_up_on_device(image, matrix, shape, mode=mode, padding=padding)
    channels, threads = image.detach().numpy(), torch.get_num_threads()
    axes = (0, 1, 2) if along is None else _as_stored(channels[0].transpose(along[0]))
    stored = np.empty((len(channels), *(shape[axis] for axis in axes)), dtype=np.float32)  # numpy asks for large pages
    out = stored.transpose(0, *(1 + np.argsort(axes)))
    for channel, target in zip(channels, out, strict=True):
        if along is not None:
            resample_at(channel.transpose(along[0]), along[1], order=ORDERS[mode], threads=threads, out=target)
        elif mode == "nearest":
            target[...] = affine_nearest(channel, matrix, shape=shape, padding=padding, threads=threads)
        else:
            affine_linear(channel, matrix, shape=shape, padding=padding, threads=threads, out=target)
    return torch.from_numpy(out)


def in_whole_steps(image: torch.Tensor, matrix: Matrix, shape: Sequence[int]) -> npt.NDArray[Any] | None:
    """A view of the image's voxels, flipped, turned and cropped as the matrix says; None where it says more than that.

    Args:
        image: On a CPU, `(C, X, Y, Z)`.
        matrix: As in `look_up`.
        shape: Of the result.
    """
    along = axis_positions(matrix, image.shape[1:], shape, padding="zeros")
    if along is None:
        return None
    axes, positions = along
    slices = [slice(None)]
    for places in positions:
        first, step = int(places[0]), int(places[1] - places[0]) if len(places) > 1 else 1
        if abs(step) != 1 or not np.array_equal(places, first + step * np.arange(len(places))):
            return None
        stop = first + step * len(places)
        slices.append(slice(first, None if stop < 0 else stop, step))
    return image.detach().numpy().transpose(0, *(axis + 1 for axis in axes))[tuple(slices)]


def look_up_on_device(
    image: torch.Tensor, matrix: Matrix, shape: Sequence[int], *, mode: str, padding: str
) -> torch.Tensor:
    """The torch twin, for images on any device."""
    along = axis_positions(matrix, image.shape[1:], shape, padding=padding)
    if along is None:
        return _sampled(image, matrix, shape, mode=mode, padding=padding)
    axes, positions = along
    values = image.permute(0, *(axis + 1 for axis in axes)).float()
    for axis, places in enumerate(positions, 1):
        inside = np.clip(places, 0.0, values.shape[axis] - 1.0)
        values = _nearest(values, inside, axis) if mode == "nearest" else _blended(values, inside, axis)
    return values


def axis_positions(
    matrix: Matrix, old: Sequence[int], new: Sequence[int], *, padding: str
) -> tuple[tuple[int, int, int], tuple[Matrix, Matrix, Matrix]] | None:
    """The old axis along each new one, and where the new voxels lie on it; None when they do not lie on a grid of it.

    Also None where voxels lie beyond the old ones and the padding is not "border": then more than their places count.
    """
    linear, offset = matrix[:3, :3], matrix[:3, 3]
    first = int(np.abs(linear[:, 0]).argmax())
    second = max((axis for axis in range(3) if axis != first), key=lambda axis: abs(linear[axis, 1]))
    axes = (first, second, 3 - first - second)
    rest = linear.copy()
    rest[list(axes), [0, 1, 2]] = 0
    if (np.abs(rest).max(axis=0) * np.asarray(new)).max() > _SNAP:
        return None
    x, y, z = (_snapped(offset[axis] + linear[axis, place] * np.arange(new[place])) for place, axis in enumerate(axes))
    beyond = any(at.min() < 0 or at.max() > old[axis] - 1 for at, axis in zip((x, y, z), axes, strict=True))
    return None if beyond and padding != "border" else (axes, (x, y, z))


def _as_stored(volume: npt.NDArray[Any]) -> tuple[int, ...]:
    """Its axes, slowest in memory first."""
    return tuple(sorted(range(3), key=lambda axis: (volume.shape[axis] > 1, -abs(volume.strides[axis]))))


def _snapped(positions: Matrix) -> Matrix:
    whole = np.rint(positions)
    return np.where(np.abs(positions - whole) < _SNAP, whole, positions)


def _nearest(values: torch.Tensor, positions: Matrix, axis: int) -> torch.Tensor:
    return values.index_select(axis, torch.from_numpy(np.rint(positions).astype(np.int64)).to(values.device))


def _blended(values: torch.Tensor, positions: Matrix, axis: int) -> torch.Tensor:
    low = np.floor(positions)
    weight = torch.from_numpy((positions - low).astype(np.float32)).to(values.device)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    below, above = (
        values.index_select(axis, torch.from_numpy(index.astype(np.int64)).to(values.device))
        for index in (low, low + (positions > low))
    )
    return below + weight.reshape(shape) * (above - below)


def _sampled(image: torch.Tensor, matrix: Matrix, shape: Sequence[int], *, mode: str, padding: str) -> torch.Tensor:
    edges = between_edges(matrix)
    old, new = np.array(image.shape[1:], dtype=np.float64), np.array(shape, dtype=np.float64)
    # grid_sample's coordinates: edges at -1 and 1, last axis first
    scaled = edges[:3, :3] * new / old[:, None]
    offset = (2.0 * edges[:3, 3] + edges[:3, :3] @ new) / old - 1.0
    theta = np.concatenate([scaled, offset[:, None]], axis=1)[::-1][:, [2, 1, 0, 3]].copy()
    grid = F.affine_grid(
        torch.as_tensor(theta, dtype=torch.float32, device=image.device)[None], [1, 1, *shape], align_corners=False
    )
    return F.grid_sample(image.float()[None], grid, mode=mode, padding_mode=padding, align_corners=False)[0]
