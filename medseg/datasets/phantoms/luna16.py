"""Phantoms in LUNA16's own layout: thorax CT with nodules, ten subsets, annotations in LPS mm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.phantoms.ct_grid import CtGrid, to_hu
from medseg.datasets.phantoms.fields import Draws
from medseg.datasets.phantoms.nodules import Mark, add_nodule, index_map, place_excluded, place_nodules
from medseg.datasets.phantoms.recipe import is_made_by, make_recipe, write_bytes, write_json
from medseg.datasets.phantoms.thorax import ROOM_MM, make_thorax
from medseg.volumes import Affine

DEFAULT_SHAPE = (160, 128, 96)
DEFAULT_SPACING_MM = 1.5
_VERSION = 2  # raised when the same seed gives other voxels
_KIND = 1_000_002  # after the seed in each stream's key, where brats has its number: kinds share none
_THICKNESS = (0.7, 1.9)
# In RAS; as LUNA16 stores them, LPS, the first is the identity. Some of its scans are turned as the second.
_SIGNS = ((-1.0, -1.0, 1.0), (1.0, 1.0, 1.0))
_SUBSETS = 10
_PADDING_HU = -3024  # what some scanners store outside their field of view


@dataclass(frozen=True)
class Finding:
    """A row of LUNA16's tables.

    Attributes:
        centre_lps_mm: World position, x to the left and y to the back.
        diameter_mm: -1 for a mark on what is no nodule.
    """

    centre_lps_mm: tuple[float, float, float]
    diameter_mm: float


@dataclass(frozen=True, eq=False)
class ThoraxPhantom:
    """One scan.

    Attributes:
        series_uid: Its name, under the UID root for made-up identifiers.
        image_hu: int16 voxels; -3024 outside the field of view of some.
        nodules_map: uint8: 1 in the first nodule, 2 in the second, ...; 0 outside.
        affine_ras_mm: Anisotropic, its axes flipped in some scans.
        nodules: Those of 3 mm and more.
        excluded: Smaller nodules, and vessels that were taken for one.
    """

    series_uid: str
    image_hu: npt.NDArray[np.int16]
    nodules_map: npt.NDArray[np.uint8]
    affine_ras_mm: Affine
    nodules: tuple[Finding, ...]
    excluded: tuple[Finding, ...]


def make_luna16_phantom(
    number: int, *, seed: int, shape: Sequence[int] = DEFAULT_SHAPE, spacing_mm: float = DEFAULT_SPACING_MM
) -> ThoraxPhantom:
    """The phantom of that number: it depends on nothing but these arguments.

    Args:
        number: Which of the seed's phantoms. Every fourth is without nodules, every third is flipped.
        seed: Another seed gives other scans.
        shape: Voxels along each axis, 24 to 1024; the number of slices follows the scan's own thickness.
        spacing_mm: Mean voxel size in the slice. A thorax too large for the field of view is made smaller; its
            nodules keep their size.

    Raises:
        ConfigError: When an argument is out of range.
    """
    make_recipe("luna16", _VERSION, cases=number + 1, seed=seed, shape=shape, spacing_mm=spacing_mm)
    draws = Draws(seed, _KIND, number, 0)
    grid = CtGrid.drawn(draws, shape, spacing_mm, thickness=_THICKNESS, signs=_SIGNS[number % 3 == 2], room_mm=ROOM_MM)
    thorax = make_thorax(grid, Draws(seed, _KIND, number, 1))
    chance = Draws(seed, _KIND, number, 2)
    nodules = place_nodules(grid, thorax, chance, count=0 if number % 4 == 3 else chance.whole(1, 5))
    excluded = place_excluded(grid, thorax, chance, nodules)
    signal = thorax.signal_hu
    parts = [add_nodule(grid, signal, mark, chance) for mark in nodules]
    for mark in excluded:
        if mark.diameter_mm:
            add_nodule(grid, signal, mark, chance)
    image_hu = to_hu(signal, draws.uniform(15.0, 45.0) * draws.noise(grid.shape))
    if draws.whole(0, 2) == 0:
        image_hu[_outside_view(grid)] = _PADDING_HU
    found = [tuple(_finding(grid, mark) for mark in marks) for marks in (nodules, excluded)]
    return ThoraxPhantom(
        _series_uid(seed, number), image_hu, index_map(grid, parts), grid.affine_ras_mm, found[0], found[1]
    )


def write_luna16_phantoms(
    out_dir: str | Path,
    *,
    cases: int,
    seed: int = 0,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    force: bool = False,
    on_case: Callable[[str], None] | None = None,
) -> Path:
    """Write phantoms as LUNA16 is distributed: `subset0` to `subset9` with .mhd and .raw, and three tables.

    The tables are `annotations.csv`, `annotations_excluded.csv` and `seriesuids.csv`. A folder that already holds
    these very phantoms is completed where a file is missing; the scans that are there are left alone.

    Args:
        out_dir: The dataset's folder.
        cases: How many.
        seed: As in `make_luna16_phantom`.
        shape: As in `make_luna16_phantom`.
        spacing_mm: As in `make_luna16_phantom`.
        force: Write into a folder that holds something else, over files of the same name.
        on_case: Called with the series' UID of each case when it is there.

    Returns:
        The path of `annotations.csv`.

    Raises:
        ConfigError: When an argument is out of range.
        DataError: When the folder holds something else, or the disk refuses.
    """
    folder = Path(out_dir)
    recipe = make_recipe("luna16", _VERSION, cases=cases, seed=seed, shape=shape, spacing_mm=spacing_mm)
    known = is_made_by(folder / "phantom.json", recipe, force=force)
    tables = [folder / name for name in ("annotations.csv", "annotations_excluded.csv", "seriesuids.csv")]
    known_tables = known and all(table.is_file() for table in tables)
    write_json(folder / "phantom.json", {"phantom": recipe})
    rows: tuple[list[str], list[str]] = ([], [])
    for number in range(cases):
        uid = _series_uid(seed, number)
        header = folder / f"subset{number % _SUBSETS}" / f"{uid}.mhd"
        there = known and header.is_file() and header.with_suffix(".raw").is_file()
        if not (there and known_tables):
            phantom = make_luna16_phantom(number, seed=seed, shape=shape, spacing_mm=spacing_mm)
            rows[0].extend(_row(uid, finding) for finding in phantom.nodules)
            rows[1].extend(_row(uid, finding) for finding in phantom.excluded)
            if not there:
                _write_metaimage(header, phantom)
        if on_case:
            on_case(uid)
    if not known_tables:
        for table, lines in zip(tables[:2], rows, strict=True):
            _write_lines(table, ["seriesuid,coordX,coordY,coordZ,diameter_mm", *lines])
        _write_lines(tables[2], [_series_uid(seed, number) for number in range(cases)])
    return tables[0]


def _outside_view(grid: CtGrid) -> npt.NDArray[np.bool_]:
    x, y = (2.0 * np.arange(size) / (size - 1) - 1.0 for size in grid.shape[:2])
    outside = x[:, None] * x[:, None] + y[None, :] * y[None, :] > 1.0
    return np.broadcast_to(outside[:, :, None], grid.shape)


def _finding(grid: CtGrid, mark: Mark) -> Finding:
    x, y, z = grid.world_ras_mm(mark.centre_vox)
    return Finding((-x, -y, z), -1.0 if mark.diameter_mm is None else mark.diameter_mm)


def _series_uid(seed: int, number: int) -> str:
    """A UID under 2.25, which anyone may use (ISO/IEC 9834-8): it can be no patient's."""
    draws = Draws(seed, _KIND, number, 3)
    return f"2.25.{draws.whole(10**17, 10**18 - 1)}{draws.whole(10**17, 10**18 - 1)}"


def _row(uid: str, finding: Finding) -> str:
    x, y, z = finding.centre_lps_mm
    diameter = "-1" if finding.diameter_mm < 0 else f"{finding.diameter_mm:.9f}"
    return f"{uid},{x:.9f},{y:.9f},{z:.9f},{diameter}"


def _write_lines(file: Path, lines: Sequence[str]) -> None:
    # LUNA16's tables end their lines with CR LF.
    write_bytes(file, "".join(f"{line}\r\n" for line in lines).encode())


def _write_metaimage(header: Path, phantom: ThoraxPhantom) -> None:
    """The .raw first, so that a .mhd never points nowhere."""
    raw = header.with_suffix(".raw")
    write_bytes(raw, phantom.image_hu.astype("<i2").tobytes(order="F"))
    # World and file differ in x and y: RAS here, LPS there.
    x, y, z = phantom.affine_ras_mm[:3, 3].tolist()
    a, b, c = phantom.affine_ras_mm.diagonal()[:3].tolist()
    directions = [-1 if a > 0 else 1, -1 if b > 0 else 1, 1 if c > 0 else -1]
    matrix = " ".join(str(directions[i] if i == j else 0) for i in range(3) for j in range(3))
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        f"TransformMatrix = {matrix}",
        f"Offset = {-x} {-y} {z}",
        "CenterOfRotation = 0 0 0",
        "AnatomicalOrientation = RAI",
        f"ElementSpacing = {abs(a)} {abs(b)} {abs(c)}",
        "DimSize = " + " ".join(str(size) for size in phantom.image_hu.shape),
        "ElementType = MET_SHORT",
        f"ElementDataFile = {raw.name}",
    ]
    write_bytes(header, ("\n".join(lines) + "\n").encode())
