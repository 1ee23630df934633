"""Telling nodules given in LPS from nodules given in RAS, by where the lungs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.lungs import lung_mask
from medseg.volumes.boxes import points_lps_to_ras, points_to_voxel
from medseg.volumes.geometry import Affine, spacing_from_affine

_RIM_MM = 10.0  # nodules sit on the pleura too


@dataclass(frozen=True, kw_only=True)
class FrameVotes:
    """How many nodule centres lie in the lungs, or within 10 mm of them. Votes of several scans add up.

    Attributes:
        points: Centres; of scans in which no lung is found, none count.
        inside: Those that lie in the lungs as they are given.
        mirrored: Those that lie in the lungs with x and y negated.
    """

    points: int = 0
    inside: int = 0
    mirrored: int = 0

    def __add__(self, other: FrameVotes) -> FrameVotes:
        return FrameVotes(
            points=self.points + other.points,
            inside=self.inside + other.inside,
            mirrored=self.mirrored + other.mirrored,
        )

    @property
    def confused(self) -> bool:
        """Whether fewer than half of the centres lie in the lungs, and more would if x and y were negated."""
        return 2 * self.inside < self.points <= 2 * self.mirrored and self.mirrored > self.inside


def frame_votes(volume_hu: npt.NDArray[Any], affine_ras_mm: Affine, centres_ras_mm: npt.ArrayLike) -> FrameVotes:
    """Counts the nodule centres of one scan in the lungs, as given and mirrored.

    Args:
        volume_hu: CT `(X, Y, Z)` in HU.
        affine_ras_mm: Voxel indices to RAS mm.
        centres_ras_mm: Points `(N, 3)` that are said to be in RAS mm.
    """
    centres = np.asarray(centres_ras_mm, dtype=np.float64).reshape(-1, 3)
    lungs = lung_mask(volume_hu, spacing_from_affine(affine_ras_mm), margin_mm=_RIM_MM)
    if not len(centres) or not lungs.any():
        return FrameVotes()
    mirrored = points_lps_to_ras(centres)
    counts = [_count_inside(lungs, points_to_voxel(affine_ras_mm, points)) for points in (centres, mirrored)]
    return FrameVotes(points=len(centres), inside=counts[0], mirrored=counts[1])


def frame_warning(votes: FrameVotes, *, where: str) -> str | None:
    """One line where the votes say that LPS was taken for RAS, or the other way round; else None.

    >>> frame_warning(FrameVotes(points=3, inside=3, mirrored=3), where="case7") is None
    True
    """
    if not votes.confused:
        return None
    return (
        f"{where}: {votes.inside} of {votes.points} nodule centres lie in the lungs, with x and y negated "
        f"{votes.mirrored}. They seem to be LPS where RAS is wanted: negate x and y where they are read."
    )


def _count_inside(lungs: npt.NDArray[np.bool_], points_vox: npt.NDArray[np.float64]) -> int:
    voxels = np.floor(points_vox).astype(np.int64)
    inside = ((voxels >= 0) & (voxels < lungs.shape)).all(axis=1)
    return int(lungs[tuple(voxels[inside].T)].sum())
