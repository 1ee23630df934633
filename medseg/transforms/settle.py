"""What MONAI's lazy transforms have put off, carried out at once by the kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import AFFINE_TOL, to_affine_nd
from monai.transforms.inverse import TraceableTransform
from monai.transforms.lazy.functional import apply_pending
from monai.utils.enums import LazyAttr, TraceKeys

from medseg.transforms.lookup import Matrix, can_look_up, in_whole_steps, look_up


class Move(NamedTuple):
    """New voxels, by the matrix that takes their indices to the old ones', and their counts."""

    matrix: Matrix
    shape: tuple[int, ...]


def move_of(operation: Mapping[Any, Any]) -> Move:
    """What a pending operation moves."""
    matrix = to_affine_nd(3, np.asarray(operation[LazyAttr.AFFINE], dtype=np.float64))
    return Move(matrix, tuple(int(size) for size in operation[LazyAttr.SHAPE]))


def is_still(move: Move, shape: tuple[int, ...]) -> bool:
    """Whether the voxels stay what they are, within MONAI's tolerance."""
    return move.shape == tuple(shape) and bool(np.allclose(move.matrix, np.eye(4), atol=AFFINE_TOL))


def moved_voxels(image: torch.Tensor, move: Move, *, mode: str, padding: str) -> torch.Tensor:
    """The voxels in float32, looked up only where they move."""
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    if is_still(move, tuple(plain.shape[1:])):
        move = Move(np.eye(4), move.shape)
        if plain.dtype == torch.float32 or plain.device.type != "cpu":
            return plain.float()
    if plain.device.type == "cpu":
        copied = in_whole_steps(plain, move.matrix, move.shape)
        if copied is not None:  # numpy asks for large pages, so that it copies in a third of torch's time
            return torch.from_numpy(copied.astype(np.float32, order="C"))
    return look_up(plain, move.matrix, move.shape, mode=str(mode), padding=str(padding))


def done_at_once(
    image: MetaTensor, later: MetaTensor, *, info: dict[str, Any], voxels: Callable[[Move], torch.Tensor]
) -> MetaTensor:
    """The image after the last operation that is pending in `later`, with the bookkeeping of MONAI's eager transform.

    Args:
        image: As it was before.
        later: What the transform made of it lazily.
        info: The transform's own, `get_transform_info()`.
        voxels: Gives the moved voxels.
    """
    operation = later.pending_operations[-1]
    move = move_of(operation)
    meta = TraceableTransform.track_transform_meta(
        image,
        sp_size=move.shape,
        affine=None if is_still(move, tuple(image.shape[1:])) else torch.from_numpy(move.matrix),
        extra_info=operation.get(TraceKeys.EXTRA_INFO),
        orig_size=operation[TraceKeys.ORIG_SIZE],
        transform_info=info,
        lazy=False,
    )
    found: MetaTensor = MetaTensor(voxels(move)).copy_meta_from(meta)
    return found


def settled(image: MetaTensor, *, mode: str | None = None, padding: str = "zeros") -> MetaTensor:
    """The image with all its pending operations carried out in one pass.

    Args:
        image: With operations pending.
        mode: How voxels are looked up: "bilinear" or "nearest"; what the operations ask for when not given, else
            "bilinear".
        padding: What lies around the image: "zeros", "border" or "reflection".
    """
    operations = list(image.pending_operations)
    if not operations:
        return image
    mode = mode or _asked_mode(operations)
    if not can_look_up(image, mode, padding):
        return apply_pending(image, overrides={"mode": mode, "padding_mode": padding})[0]
    matrix = np.eye(4)
    for operation in operations:
        matrix = matrix @ move_of(operation).matrix
    move = Move(matrix, move_of(operations[-1]).shape)
    affine = image.peek_pending_affine()
    image.clear_pending_operations()
    found = MetaTensor(moved_voxels(image, move, mode=mode, padding=padding)).copy_meta_from(image)
    found.affine = affine
    for operation in operations:
        found.push_applied_operation(operation)
    return found


def _asked_mode(operations: list[dict[str, Any]]) -> str:
    infos = [operation.get(TraceKeys.EXTRA_INFO) or {} for operation in operations]
    modes = {str(getattr(info["mode"], "value", info["mode"])) for info in infos if "mode" in info}
    return modes.pop() if len(modes) == 1 else "bilinear"
