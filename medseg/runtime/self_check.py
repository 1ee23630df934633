"""One window with the logits that torch gave for it: what a runtime must reproduce before it may segment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.errors import WeightsError
from medseg.runtime.runtimes import Runtime

FILE = "self_check.npz"
_SEED = 11
Floats = npt.NDArray[np.float32]


def made_up_window(channels: int, sides: list[int]) -> Floats:
    """A window `(1, C, X, Y, Z)` of normal noise, the same on every machine."""
    draws = np.random.default_rng(_SEED).standard_normal((1, channels, *sides))
    return np.asarray(draws, dtype=np.float32)


def write_self_check(folder: Path, window: Floats, logits: Floats) -> None:
    """Keeps the window and its logits beside the network."""
    np.savez_compressed(folder / FILE, window=window, logits=logits)


def deviation(found: Floats, wanted: Floats) -> float:
    """Root mean square of the difference, as a share of the wanted values' own.

    >>> deviation(np.array([1.1, -1.1], np.float32), np.array([1.0, -1.0], np.float32)).__round__(3)
    0.1
    """
    size = float(np.sqrt(np.mean(np.square(wanted, dtype=np.float64)))) or 1.0
    return float(np.sqrt(np.mean(np.square(found - wanted, dtype=np.float64)))) / size


def measured(folder: Path, network: object) -> float | None:
    """How far a network is from torch's logits; None where the folder is older than this check."""
    path = folder / FILE
    if not path.is_file() or not callable(network):
        return None
    with np.load(path) as stored:
        found = np.asarray(network(stored["window"]), dtype=np.float32)
        wanted = stored["logits"]
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    return deviation(found, wanted)


def require_parity(folder: Path, network: object, *, name: str, runtime: Runtime) -> float | None:
    """Refuses a runtime whose logits are not those of torch; returns how far they are.

    Raises:
        WeightsError: With the difference and what would have been let through.
    """
    far = measured(folder, network)
    if far is not None and not far <= runtime.within:
        msg = (
            f"{folder}: {name} gives other logits here than torch gave at the export: {far:.2g} of their size apart, "
            f"{runtime.within:g} is let through. Export the bundle again, or choose another --runtime."
        )
        raise WeightsError(msg)
    return far
