"""Made-up cases that stand in for patients: for the demo, for tests, and for trying a bundle without data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medseg.datasets.phantoms.baseline import ThresholdBaseline
from medseg.datasets.phantoms.brats import Phantom, make_brats_phantom, write_brats_phantoms

# What `medseg data phantom KIND` can write.
PHANTOMS: dict[str, Callable[..., Path]] = {"brats": write_brats_phantoms}

__all__ = ["PHANTOMS", "Phantom", "ThresholdBaseline", "make_brats_phantom", "write_brats_phantoms"]
