"""An abdomen in CT after contrast: liver and spleen among organs as bright as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.anatomy import Mask
from medseg.datasets.phantoms.ct_grid import CtGrid, fraction, soften, to_hu, tube
from medseg.datasets.phantoms.fields import Draws, Field

ROOM_MM = (190.0, 140.0, 130.0)  # half of what the body needs along each axis
BACKGROUND, LIVER, SPLEEN = 0, 1, 2

# Portal venous phase, in HU, drawn once a case. Orders of magnitude from MSD's liver and spleen tasks; the ranges
# overlap on purpose.
_HU = {
    "fat": (-115.0, -90.0),
    "muscle": (50.0, 70.0),
    "bone": (220.0, 420.0),
    "lung": (-870.0, -790.0),
    "liver": (85.0, 130.0),
    "spleen": (95.0, 140.0),
    "kidney": (110.0, 190.0),
    "vessel": (120.0, 180.0),
    "stomach": (5.0, 60.0),
    "bowel": (10.0, 110.0),
}


@dataclass(frozen=True)
class _Body:
    """Where everything is. `wall` is 0 in the middle of the body and 1 on the skin."""

    wall: Field
    cavity: Mask
    lung: Mask
    liver: Mask
    spleen: Mask
    kidneys: Mask
    vessels: Mask
    stomach: Mask
    gas: Mask
    bone: Mask


def make_abdomen(grid: CtGrid, draws: Draws) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """A scan in HU and its label map: 1 the liver, 2 the spleen."""
    body = _make_body(grid, draws)
    hu = {name: draws.uniform(*span) for name, span in _HU.items()}
    texture = grid.smooth(draws, 9.0)
    bowel = grid.smooth(draws, 22.0)
    signal = np.where(body.wall < 1.0, hu["fat"] + 12.0 * texture, -1000.0)
    signal[(body.wall < 0.88) & ~body.cavity] = hu["muscle"]
    signal[body.cavity & (bowel > -0.1)] = hu["bowel"]
    signal[body.cavity & (bowel > 0.55)] = -700.0
    parts = (
        (body.lung, hu["lung"]),
        (body.stomach, hu["stomach"]),
        (body.gas, -950.0),
        (body.kidneys, hu["kidney"]),
        (body.bone, hu["bone"]),
        (body.liver, hu["liver"]),
        (body.spleen, hu["spleen"]),
        (body.vessels, hu["vessel"]),
    )
    for mask, level in parts:
        signal[mask] = level
    signal += np.where(body.wall < 1.0, 8.0 * texture, 0.0)
    labels = np.full(grid.shape, BACKGROUND, dtype=np.uint8)
    labels[body.liver] = LIVER
    labels[body.spleen] = SPLEEN
    return to_hu(soften(signal), draws.uniform(8.0, 20.0) * draws.noise(grid.shape)), labels


def _make_body(grid: CtGrid, draws: Draws) -> _Body:
    x, y, z = grid.coordinates_mm
    a, b = draws.uniform(150.0, 172.0), draws.uniform(100.0, 120.0)
    u, v = x / a, (y - 5.0) / b
    wall = np.sqrt(u * u + v * v) + 0.03 * grid.smooth(draws, 80.0)
    cavity = wall < draws.uniform(0.74, 0.82)
    rough = grid.smooth(draws, 35.0)
    lung = cavity & (_dome_mm(grid, draws) < z) & (np.abs(x) > 12.0 + 8.0 * rough)
    inside = cavity & ~lung
    spleen = inside & (_spleen(grid, draws) + 0.10 * rough < 1.0)
    liver = inside & ~spleen & (_liver(grid, draws) + 0.10 * rough < 1.0)
    spine = (np.sqrt(x * x + (y + 0.62 * b) * (y + 0.62 * b)) < 20.0) & (wall < 0.95)
    ribs = (wall > 0.83) & (wall < 0.90) & (fraction((z + 0.35 * y + 300.0) / 27.0) < 0.35) & (z > -40.0)
    aorta = np.sqrt((x + 12.0) * (x + 12.0) + (y + 0.36 * b) * (y + 0.36 * b)) < draws.uniform(9.0, 12.0)
    cava = np.sqrt((x - 16.0) * (x - 16.0) + (y + 0.34 * b) * (y + 0.34 * b)) < draws.uniform(8.0, 11.0)
    stomach = inside & (_stomach(grid, draws) + 0.10 * rough < 1.0)
    kidneys = inside & (_kidneys(grid, draws) < 1.0)
    portal = liver & _branches(grid, draws)
    solid = ~(spine | ribs)
    liver, spleen = liver & solid & ~cava & ~aorta, spleen & solid & ~aorta
    vessels = (inside & (aorta | cava)) | (portal & liver)
    gas = stomach & (y > draws.uniform(35.0, 60.0))
    return _Body(wall, cavity, lung, liver, spleen, kidneys, vessels, stomach, gas, (spine | ribs) & (wall < 1.0))


def _dome_mm(grid: CtGrid, draws: Draws) -> Field:
    """Height of the diaphragm: a dome on each side."""
    x, y, _ = grid.coordinates_mm
    u, v = (np.abs(x) - 75.0) / 80.0, y / 100.0
    return draws.uniform(60.0, 85.0) + 30.0 * (1.0 - u * u - v * v)


def _liver(grid: CtGrid, draws: Draws) -> Field:
    size = draws.uniform(0.9, 1.1)
    right = grid.ellipsoid((72.0, 0.0, 15.0), (72.0 * size, 82.0 * size, 82.0 * size))
    left = grid.ellipsoid((0.0, 42.0, 38.0), (62.0 * draws.uniform(0.7, 1.2), 34.0, 38.0 * size))
    return np.minimum(right, left)


def _spleen(grid: CtGrid, draws: Draws) -> Field:
    size = draws.uniform(0.8, 1.25)
    body = grid.ellipsoid((-96.0, -36.0, 26.0), (30.0 * size, 46.0 * size, 48.0 * size))
    # The hilum is hollowed by the stomach.
    hollow = grid.ellipsoid((-62.0, -20.0, 26.0), (24.0, 30.0, 34.0))
    return np.maximum(body, 2.0 - hollow)


def _stomach(grid: CtGrid, draws: Draws) -> Field:
    size = draws.uniform(0.8, 1.15)
    return grid.ellipsoid((-52.0, 24.0, 24.0), (40.0 * size, 44.0 * size, 46.0 * size))


def _kidneys(grid: CtGrid, draws: Draws) -> Field:
    parts = []
    for side in (-1.0, 1.0):
        size = draws.uniform(0.9, 1.1)
        centre = (side * 58.0, -48.0, -45.0 + draws.uniform(-8.0, 8.0))
        parts.append(grid.ellipsoid(centre, (27.0 * size, 25.0 * size, 52.0 * size)))
    return np.minimum(*parts)


def _branches(grid: CtGrid, draws: Draws) -> Mask:
    """Vessels of the liver, which the label counts with it."""
    found = np.zeros(grid.shape, dtype=np.bool_)
    for _ in range(5):
        end = (draws.uniform(30.0, 125.0), draws.uniform(-50.0, 50.0), draws.uniform(-30.0, 70.0))
        distance, along = tube(grid, (25.0, -5.0, 5.0), end)
        found |= distance < 7.0 - 5.0 * along
    return found
