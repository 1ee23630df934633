"""What four MR sequences show of a brain with a tumour, and the look-alikes that a threshold falls for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.anatomy import Brain, Mask, Tissue
from medseg.datasets.phantoms.fields import Draws, Field, blur
from medseg.datasets.phantoms.tumour import Tumour

SEQUENCES = ("t1", "t1c", "t2", "flair")

# Signal against white matter on T1. Ranges are drawn once a case. Order: t1, t1c, t2, flair.
# Orders of magnitude from BraTS scans; the ranges overlap on purpose.
_TISSUE = {
    Tissue.FLUID: ((0.30, 0.40), (0.30, 0.42), (2.2, 3.0), (0.22, 0.40)),
    Tissue.GREY: ((0.70, 0.80), (0.74, 0.86), (1.15, 1.35), (1.08, 1.28)),
    Tissue.WHITE: ((1.0, 1.0), (1.0, 1.0), (0.85, 0.95), (0.90, 1.0)),
    Tissue.NUCLEI: ((0.80, 0.90), (0.82, 0.92), (0.95, 1.1), (1.0, 1.15)),
}
_TUMOUR = (
    ((0.68, 0.88), (0.68, 0.88), (1.4, 2.1), (1.3, 1.75)),  # oedema
    ((0.40, 0.60), (0.40, 0.62), (1.9, 2.7), (0.55, 1.5)),  # necrosis
    ((0.60, 0.80), (0.66, 0.90), (1.5, 2.0), (1.3, 1.75)),  # solid
    ((0.68, 0.90), (1.45, 2.2), (1.3, 1.8), (1.2, 1.7)),  # enhancing
)


@dataclass(frozen=True)
class _LookAlikes:
    """What is bright without being tumour."""

    vessels: Mask
    choroid: Mask
    hyperintensities: Mask
    rim: Mask
    meninges: Mask  # the part of the rim that enhances


def scan(brain: Brain, tumour: Tumour, draws: Draws) -> dict[str, npt.NDArray[np.int16]]:
    """The four sequences as int16, 0 outside the brain and at least 1 inside."""
    look_alikes = _look_alikes(brain, tumour, draws)
    texture = draws.smooth(brain.grid.shape, brain.grid.cells(5.0))
    return {
        name: _sequence(brain, tumour, look_alikes, texture, sequence, draws) for sequence, name in enumerate(SEQUENCES)
    }


def _sequence(
    brain: Brain, tumour: Tumour, look_alikes: _LookAlikes, texture: Field, sequence: int, draws: Draws
) -> npt.NDArray[np.int16]:
    oedema, necrosis, solid, enhancing = (_drawn(part, sequence, draws) for part in _TUMOUR)
    signal = _healthy(brain, look_alikes, sequence, draws)
    # What the skull stripping left looks like oedema, in part like enhancing tumour.
    signal[look_alikes.rim] = oedema * draws.uniform(0.9, 1.1) + 0.12 * texture[look_alikes.rim]
    signal[look_alikes.meninges] = enhancing * draws.uniform(0.9, 1.1) + 0.2 * texture[look_alikes.meninges]
    vessels = signal[look_alikes.vessels]
    signal += (oedema + 0.12 * texture - signal) * tumour.oedema_share
    if SEQUENCES[sequence] == "t1c":
        # Vessels cross oedema.
        signal[look_alikes.vessels] = vessels
    for part, level, rough in (
        (tumour.necrosis, necrosis, 0.10),
        (tumour.solid, solid, 0.10),
        (tumour.enhancing, enhancing, 0.25),
    ):
        signal[part] = level + rough * texture[part]
    shape = brain.grid.shape
    bias = 1.0 + draws.uniform(0.12, 0.30) * draws.smooth(shape, brain.grid.cells(60.0))
    noise = draws.uniform(0.03, 0.06) * draws.noise(shape)
    gain = draws.uniform(250.0, 1600.0)
    voxels = (blur(signal) * bias + noise) * gain + 0.5
    limited = np.minimum(np.maximum(voxels, 1.0), 32767.0).astype(np.int16)
    return np.where(brain.mask, limited, np.int16(0)).astype(np.int16)


def _healthy(brain: Brain, look_alikes: _LookAlikes, sequence: int, draws: Draws) -> Field:
    levels = np.zeros(len(Tissue))
    for tissue, ranges in _TISSUE.items():
        levels[tissue] = _drawn(ranges, sequence, draws)
    signal = levels[brain.tissue]
    # Contrast agent shows in vessels and choroid plexus; slow white-matter disease on T2 and FLAIR.
    vessels, choroid = draws.uniform(1.5, 2.4), draws.uniform(1.3, 2.2)
    lesion, dark = draws.uniform(1.35, 1.85), draws.uniform(0.75, 0.9)
    if SEQUENCES[sequence] == "t1c":
        signal[look_alikes.vessels] = vessels
        signal[look_alikes.choroid] = choroid
    elif SEQUENCES[sequence] in ("t2", "flair"):
        signal[look_alikes.hyperintensities] = lesion
    else:
        signal[look_alikes.hyperintensities] = dark
    return signal


def _look_alikes(brain: Brain, tumour: Tumour, draws: Draws) -> _LookAlikes:
    shape, cells = brain.grid.shape, brain.grid.cells
    x, _, z = brain.grid.coordinates_mm
    other = draws.smooth(shape, cells(13.0))
    # Where two sheets of zeros cross they make a curve: a vessel in a sulcus.
    width = draws.uniform(0.10, 0.18)
    # More and wider ones feed the tumour.
    reach = width * (1.0 + draws.uniform(0.0, 0.4) * tumour.oedema_share)
    near = (brain.depth_mm < 38.0) | (tumour.oedema_share > 0.0)
    vessels = (np.abs(brain.fold) < reach) & (np.abs(other) < reach) & near
    sinus = (np.abs(x) < 3.2) & (brain.depth_mm < 6.5) & (z > -20.0)
    patchy = draws.smooth(shape, cells(22.0))
    rim = brain.mask & (brain.depth_mm < draws.uniform(3.5, 5.5) + 2.0 * other) & (patchy > draws.uniform(-0.4, -0.1))
    rim &= tumour.oedema_share == 0.0
    meninges = rim & (patchy > draws.uniform(-0.1, 0.15))
    choroid = (brain.ventricle < 0.75) & (draws.smooth(shape, cells(8.0)) > draws.uniform(0.1, 0.3))
    patches = draws.smooth(shape, cells(11.0))
    caps = (brain.ventricle > 1.0) & (brain.ventricle + 0.5 * patches < draws.uniform(1.1, 1.6))
    spots = (patches > draws.uniform(0.5, 0.75)) & (brain.depth_mm > 9.0)
    white = np.asarray(brain.tissue == Tissue.WHITE)
    return _LookAlikes(brain.mask & (vessels | sinus), choroid, white & (caps | spots), rim, meninges)


def _drawn(ranges: tuple[tuple[float, float], ...], sequence: int, draws: Draws) -> float:
    return draws.uniform(*ranges[sequence])
