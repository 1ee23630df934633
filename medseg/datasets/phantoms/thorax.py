"""A thorax in CT: lungs with their vessels, airways, heart, ribs and spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medseg.datasets.phantoms.anatomy import Mask
from medseg.datasets.phantoms.ct_grid import CtGrid, fraction, soften, tube
from medseg.datasets.phantoms.fields import Draws, Field, ramp

ROOM_MM = (185.0, 140.0, 150.0)  # half of what the body needs along each axis

_HILUM_MM = (34.0, -12.0, -8.0)


@dataclass(frozen=True)
class Thorax:
    """The anatomy of one phantom.

    Attributes:
        signal_hu: The scan without noise.
        lung: Voxels of the lungs with their vessels and airways.
        depth_mm: About how deep a voxel lies under the surface of its lung; negative outside.
        vessels: Vessels within the lungs.
        airways: Open airways, with those outside the lungs.
    """

    signal_hu: Field
    lung: Mask
    depth_mm: Field
    vessels: Mask
    airways: Mask


def make_thorax(grid: CtGrid, draws: Draws) -> Thorax:
    """A thorax of varied size, outline, vessels and density."""
    x, y, z = grid.coordinates_mm
    a, b = draws.uniform(155.0, 175.0), draws.uniform(105.0, 122.0)
    u, v = x / a, y / b
    # The shoulders are wider.
    skin = np.sqrt(u * u + v * v) + 0.02 * grid.smooth(draws, 70.0) - 0.0003 * np.maximum(z - 60.0, 0.0)
    heart = grid.ellipsoid((-22.0, 28.0, -38.0), (58.0, 46.0, draws.uniform(48.0, 60.0)))
    depth = _lung_depth(grid, draws, skin, heart)
    vessels = _vessels(grid, draws)
    airways = np.where(heart < 1.1, 100.0, _airways(grid, draws))
    lung = depth > 0.0
    signal = _soft_tissue(grid, draws, skin, heart)
    # Blood and water sink: the back is denser.
    texture = grid.smooth(draws, 6.0)
    air = draws.uniform(-880.0, -820.0) - 0.35 * y + draws.uniform(10.0, 30.0) * texture
    signal = np.where(lung, air, signal)
    signal[lung & (airways < 1.6)] = -60.0
    signal[lung & vessels] = draws.uniform(10.0, 60.0)
    signal[airways < 0.0] = -990.0
    return Thorax(soften(signal), lung, depth, lung & vessels & (airways >= 1.6), airways < 0.0)


def _lung_depth(grid: CtGrid, draws: Draws, skin: Field, heart: Field) -> Field:
    x, y, z = grid.coordinates_mm
    rough = grid.smooth(draws, 40.0)
    chest = (draws.uniform(0.74, 0.80) - skin) * 112.0
    middle = np.abs(x + 6.0 * rough) - (20.0 + 10.0 * ramp(0.5 - y / 60.0))
    # A dome under each lung, the right one higher; the apex closes above.
    p, q = (np.abs(x) - 70.0) / 75.0, y / 95.0
    dome = -118.0 + np.where(x > 0.0, 12.0, 0.0) + 45.0 * (1.0 - p * p - q * q)
    apex = (1.0 - grid.ellipsoid((0.0, 0.0, 0.0), (150.0, 115.0, 138.0))) * 100.0
    spine = np.sqrt(x * x + (y + 78.0) * (y + 78.0)) - 27.0
    walls = (chest + 2.0 * rough, middle, z - dome, apex, spine, (heart - 1.0) * 50.0)
    depth: Field = np.minimum.reduce(np.broadcast_arrays(*walls))
    return depth


def _soft_tissue(grid: CtGrid, draws: Draws, skin: Field, heart: Field) -> Field:
    x, y, z = grid.coordinates_mm
    muscle, fat, bone = draws.uniform(35.0, 60.0), draws.uniform(-115.0, -90.0), draws.uniform(220.0, 450.0)
    # Ribs slope down to the front; vertebrae alternate with their discs.
    ribs = (skin > 0.81) & (skin < 0.87) & (fraction((z - 0.45 * y + 600.0) / 26.0) < 0.36)
    spine = np.sqrt(x * x + (y + 82.0) * (y + 82.0)) < 19.0
    disc = fraction((z + 600.0) / 24.0) < 0.2
    sternum = (np.abs(x) < 17.0) & (skin > 0.78) & (skin < 0.86) & (y > 0.0)
    aorta = np.sqrt((x + 24.0) * (x + 24.0) + (y + 52.0) * (y + 52.0)) < 12.0
    signal = np.where(skin < 1.0, fat, -1000.0)
    signal[skin < draws.uniform(0.90, 0.95)] = muscle
    signal[(skin < 0.74) & (grid.smooth(draws, 16.0) > 0.35)] = fat
    signal[np.broadcast_to(aorta, grid.shape)] = draws.uniform(40.0, 160.0)
    signal[heart < 1.0] = draws.uniform(35.0, 140.0)
    signal[ribs | sternum | (spine & ~disc)] = bone
    signal[spine & disc] = 80.0
    return signal


def _vessels(grid: CtGrid, draws: Draws) -> Mask:
    """Round in any slice that they cross: branches from the hilum, and winding ones everywhere."""
    found = np.zeros(grid.shape, dtype=np.bool_)
    for side in (-1.0, 1.0):
        for _ in range(12):
            joint = _towards(_HILUM_MM, side, draws, 0.45)
            tip = _towards((side * joint[0], joint[1], joint[2]), side, draws, 0.8)
            for start, end, wide, narrow in (((side * 34.0, -12.0, -8.0), joint, 5.5, 3.4), (joint, tip, 3.4, 1.2)):
                distance, along = tube(grid, start, end)
                found |= distance < wide - (wide - narrow) * along
    one, other = grid.smooth(draws, 24.0), grid.smooth(draws, 24.0)
    # Where two sheets of zeros cross they make a curve.
    width = draws.uniform(0.07, 0.11)
    return found | ((np.abs(one) < width) & (np.abs(other) < width))


def _towards(
    start_mm: tuple[float, float, float], side: float, draws: Draws, share: float
) -> tuple[float, float, float]:
    """A point part of the way from `start_mm`, given for the right side, to somewhere at the edge of the lung."""
    goal = (draws.uniform(70.0, 125.0), draws.uniform(-75.0, 70.0), draws.uniform(-95.0, 105.0))
    x, y, z = (s + (g - s) * share for s, g in zip(start_mm, goal, strict=True))
    return (side * x, y, z)


def _airways(grid: CtGrid, draws: Draws) -> Field:
    """Distance in mm to the inner wall of trachea and bronchi, negative inside."""
    radius = draws.uniform(7.5, 9.5)
    fork = (0.0, -8.0, 18.0)
    distance, _ = tube(grid, (0.0, -2.0, 400.0), fork)
    walls = [distance - radius]
    for side in (-1.0, 1.0):
        hilum = (side * 36.0, -16.0, -12.0)
        distance, along = tube(grid, fork, hilum)
        walls.append(distance - (0.75 - 0.15 * along) * radius)
        for _ in range(3):
            distance, along = tube(grid, hilum, _towards((36.0, -16.0, -12.0), side, draws, 0.5))
            walls.append(distance - (4.2 - 2.6 * along))
    wall: Field = np.minimum.reduce(walls)
    return wall
