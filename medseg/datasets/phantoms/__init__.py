"""Made-up cases that stand in for patients: for the demo, for tests, and for trying a bundle without data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medseg.datasets.phantoms.baseline import ThresholdBaseline
from medseg.datasets.phantoms.brats import Phantom, make_brats_phantom, write_brats_phantoms
from medseg.datasets.phantoms.luna16 import ThoraxPhantom, make_luna16_phantom, write_luna16_phantoms
from medseg.datasets.phantoms.msd import OrganPhantom, make_msd_phantom, write_msd_phantoms

# What `medseg data phantom KIND` can write.
PHANTOMS: dict[str, Callable[..., Path]] = {
    "brats": write_brats_phantoms,
    "luna16": write_luna16_phantoms,
    "msd": write_msd_phantoms,
}

__all__ = [
    "PHANTOMS",
    "OrganPhantom",
    "Phantom",
    "ThoraxPhantom",
    "ThresholdBaseline",
    "make_brats_phantom",
    "make_luna16_phantom",
    "make_msd_phantom",
    "write_brats_phantoms",
    "write_luna16_phantoms",
    "write_msd_phantoms",
]
