"""The voxels of a case as the page's viewer reads them: 8 bits, differences, gzip, base64.

One stream holds up to three volumes of equal shape, x fastest: the image, the reference, the prediction. The image is
stored as differences along x and then along y, modulo 256, which compresses a quarter better than the voxels; the
viewer adds them up again. A label voxel is a number in a list of combinations of regions, so that regions may overlap.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.report.cases import Case, Masks
from medseg.report.shrink import mean_shrunk, picked, shrunk_shape

_MOST_CODES = 255
_BELOW, _ABOVE = 64, 32

Bytes8 = npt.NDArray[np.uint8]
Combinations = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Payload:
    """What the viewer of one case gets.

    Attributes:
        shape: Voxels along X, Y, Z as they are shown.
        spacing_mm: Their size.
        meta: What the viewer must know, as JSON.
        data: The volumes, gzip in base64.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    meta: str
    data: str


def make_payload(case: Case) -> Payload:
    """Shrinks, quantises and packs a case."""
    shape = shrunk_shape(case.image.shape, case.spacing_mm)
    x, y, z = (size * old / new for size, old, new in zip(case.spacing_mm, case.image.shape, shape, strict=True))
    image = mean_shrunk(case.image, shape)
    greys, values = knots(image, case.window)
    volumes = [differences(np.round(np.interp(image, values, greys)).astype(np.uint8))]
    names = list(dict.fromkeys([*case.reference, *case.prediction]))
    kinds: dict[str, Combinations] = {}
    for kind, masks in (("reference", case.reference), ("prediction", case.prediction)):
        if masks:
            codes, combinations = combine({name: picked(mask, shape) for name, mask in masks.items()}, names)
            volumes.append(codes)
            kinds[kind] = combinations
    packed = gzip.compress(b"".join(volume.tobytes("F") for volume in volumes), 6, mtime=0)
    meta = {
        "shape": shape,
        "spacing": [round(size, 5) for size in (x, y, z)],
        "window": case.window,
        "greys": greys,
        "values": values,
        "kinds": kinds,
        "regions": [[name, case.colours[name]] for name in names],  # kinds name them by their place here
    }
    return Payload(
        shape=shape, spacing_mm=(x, y, z), meta=json.dumps(meta), data=base64.b64encode(packed).decode("ascii")
    )


def knots(image: npt.NDArray[np.float32], window: tuple[float, float]) -> tuple[list[int], list[float]]:
    """Grey values and the intensities that they stand for, linear in between.

    Most of the 256 are spent on the window that is shown at first, fewer on what is darker, such as lungs beside soft
    tissue, and fewest on what is brighter.
    """
    low, high = min(float(image.min()), window[0]), max(float(image.max()), window[1])
    below, above = _BELOW if low < window[0] else 0, _ABOVE if high > window[1] else 0
    return [0, below, 255 - above, 255], [low, *window, high]


def differences(grey: Bytes8) -> Bytes8:
    """Each voxel less its neighbour in x, then each of these less its neighbour in y, modulo 256."""
    along_x = np.diff(grey, axis=0, prepend=np.uint8(0))
    return np.diff(along_x, axis=1, prepend=np.uint8(0))


def combine(masks: Masks, names: Sequence[str]) -> tuple[Bytes8, Combinations]:
    """Masks that may overlap as one volume of codes, and what each code stands for: places in `names`; code 0 is none.

    More than 255 combinations do not fit; the rarest are left out.
    """
    # A sum of random 64-bit numbers tells combinations apart, however many regions there are.
    keys = np.random.default_rng(0).integers(1, 2**63, len(names), dtype=np.uint64)
    sums = np.zeros(next(iter(masks.values())).shape, dtype=np.uint64)
    for name, key in zip(names, keys, strict=True):
        if name in masks:
            sums[masks[name]] += key
    where = np.nonzero(sums)
    _, first, inverse, counts = np.unique(sums[where], return_index=True, return_inverse=True, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_MOST_CODES]
    code_of = np.zeros(len(counts), dtype=np.uint8)
    code_of[common] = np.arange(1, len(common) + 1)
    codes = np.zeros(sums.shape, dtype=np.uint8)
    codes[where] = code_of[inverse]
    voxels = [tuple(int(axis[first[place]]) for axis in where) for place in common]
    held = [[place for place, name in enumerate(names) if name in masks and masks[name][voxel]] for voxel in voxels]
    return codes, [[], *held]
