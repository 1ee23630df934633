import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medseg.datasets.phantoms import make_luna16_phantom, write_luna16_phantoms
from medseg.datasets.phantoms.nodules import diameter_at
from medseg.errors import ConfigError, DataError
from medseg.volumes import axis_codes, read_volume, spacing_from_affine, voxels_to_world

SMALL = {"shape": (64, 56, 40), "spacing_mm": 3.5}
_IN_SLICE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])
_LPS = np.array([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def phantoms():
    return [make_luna16_phantom(number, seed=0, shape=(88, 72, 52), spacing_mm=2.6) for number in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("luna16")
    write_luna16_phantoms(path, cases=12, seed=3, **SMALL)
    return path


def _sha256(phantom):
    digest = hashlib.sha256()
    for array in (phantom.image_hu, phantom.nodules_map, phantom.affine_ras_mm):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes(order="C"))
    digest.update(repr((phantom.series_uid, phantom.nodules, phantom.excluded)).encode())
    return digest.hexdigest()


def _rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("number", "seed", "options", "digest"),
    [
        (0, 0, {}, "9d228ee1374dc9a0e8843426e14f5e84f78f90bb61b7c4039bb07346294beacc"),
        (2, 7, SMALL, "038d91ce3ab76d46914e368f928c96751fecc7d79df556f5dd241b572ef8b12f"),
        (3, 1, SMALL, "ff4c0b53e5323d0762c89fdcd3d2cded6a6de9f461e19a99ac9368dce44afa6b"),
    ],
)
def test_the_same_scan_and_tables_on_every_machine(number, seed, options, digest):
    assert _sha256(make_luna16_phantom(number, seed=seed, **options)) == digest


def test_spacing_orientation_and_padding_vary(phantoms):
    assert {axis_codes(phantom.affine_ras_mm) for phantom in phantoms} == {("L", "P", "S"), ("R", "A", "S")}
    spacings = [spacing_from_affine(phantom.affine_ras_mm) for phantom in phantoms]
    assert len(set(spacings)) == len(phantoms)
    assert all(x == y != z for x, y, z in spacings)
    least = {int(phantom.image_hu.min()) for phantom in phantoms}
    assert -3024 in least
    assert -1024 in least
    assert all(phantom.image_hu.dtype == np.int16 for phantom in phantoms)


def test_lungs_heart_and_bone_are_where_they_belong(phantoms):
    for phantom in phantoms:
        image = phantom.image_hu
        # The trachea is open above: holes are filled slice by slice.
        body = ndimage.binary_fill_holes(image > -400, structure=_IN_SLICE)
        air = ndimage.binary_erosion((image < -700) & (image > -950)) & body
        assert 0.08 < air.sum() / body.sum() < 0.6
        assert 0.01 < (image > 180).sum() / body.sum() < 0.15
        # The heart makes the left lung the smaller one; the spine lies behind.
        right = phantom.affine_ras_mm[0, 0] > 0
        middle = image.shape[0] // 2
        high, low = air[middle:].sum(), air[:middle].sum()
        assert (high > low) == right
        bone = voxels_to_world(phantom.affine_ras_mm, ndimage.center_of_mass(image > 180))[0]
        assert bone[1] < voxels_to_world(phantom.affine_ras_mm, ndimage.center_of_mass(body))[0][1]


def test_nodules_have_the_sizes_of_luna16_and_some_scans_have_none(phantoms):
    assert [bool(phantom.nodules) for phantom in phantoms] == [True, True, True, False, True, True]
    sizes = [nodule.diameter_mm for phantom in phantoms for nodule in phantom.nodules]
    assert min(sizes) >= 3.0
    assert max(sizes) <= 30.0
    assert max(sizes) > 2 * min(sizes)
    excluded = [mark.diameter_mm for phantom in phantoms for mark in phantom.excluded]
    assert all(size == -1.0 or 1.5 <= size < 3.0 for size in excluded)
    assert excluded.count(-1.0) > 0.5 * len(excluded)


def test_nodules_have_their_volume_do_not_touch_and_stand_out(phantoms):
    for phantom in phantoms:
        mm3 = np.prod(spacing_from_affine(phantom.affine_ras_mm))
        parts = phantom.nodules_map
        assert parts.max() == len(phantom.nodules)
        for index, nodule in enumerate(phantom.nodules, start=1):
            inside = parts == index
            around = ndimage.binary_dilation(inside, iterations=2) & ~inside
            assert not (parts[around] > 0).any()
            assert np.median(phantom.image_hu[around]) < -500  # lung
            if nodule.diameter_mm > 8:
                assert inside.sum() * mm3 == pytest.approx(np.pi / 6 * nodule.diameter_mm**3, rel=0.35)
                assert np.median(phantom.image_hu[inside]) > np.median(phantom.image_hu[around]) + 150


def test_vessels_look_like_nodules_in_one_slice():
    """Many bright spots in a slice of a scan without nodules, of which nearly all go on in the next slices."""
    image = make_luna16_phantom(3, seed=0).image_hu
    lung = ndimage.binary_erosion(ndimage.binary_closing(image < -600, iterations=3), iterations=3)
    bright = (image > -400) & lung
    spots = [ndimage.label(bright[:, :, z])[0] for z in range(image.shape[2])]
    assert max(spot.max() for spot in spots) > 25
    inner = range(1, image.shape[2] - 1)
    going_on = sum(len(np.unique(spots[z][bright[:, :, z - 1] | bright[:, :, z + 1]])) - 1 for z in inner)
    assert going_on > 0.8 * sum(spot.max() for spot in spots)
    assert ndimage.label(bright)[1] < 0.25 * sum(spot.max() for spot in spots)


def test_annotations_are_the_centres_of_mass_in_lps_mm_read_back_from_the_files(folder):
    annotations = _rows(folder / "annotations.csv")
    uids = (folder / "seriesuids.csv").read_text().split()
    assert len(annotations) >= 9
    for number, uid in enumerate(uids):
        volume = read_volume(folder / f"subset{number % 10}" / f"{uid}.mhd")
        phantom = make_luna16_phantom(number, seed=3, **SMALL)
        np.testing.assert_array_equal(volume.array, phantom.image_hu)
        np.testing.assert_allclose(volume.affine_ras_mm, phantom.affine_ras_mm, atol=1e-9)
        rows = [row for row in annotations if row["seriesuid"] == uid]
        assert len(rows) == len(phantom.nodules)
        for index, row in enumerate(rows, start=1):
            told_lps = np.array([float(row[f"coord{axis}"]) for axis in "XYZ"])
            centre_vox = ndimage.center_of_mass(phantom.nodules_map == index)
            found_lps = voxels_to_world(volume.affine_ras_mm, centre_vox)[0] * _LPS
            assert (np.abs(found_lps - told_lps) <= np.array(volume.spacing_mm)).all()


def test_a_nodule_is_found_in_the_image_at_its_annotation(folder):
    """By its brightness alone, within one voxel: large ones that lie free of the wall and of thick vessels."""
    checked = 0
    for number, uid in enumerate((folder / "seriesuids.csv").read_text().split()):
        volume = read_volume(folder / f"subset{number % 10}" / f"{uid}.mhd")
        for row in _rows(folder / "annotations.csv"):
            if row["seriesuid"] != uid or float(row["diameter_mm"]) < 8:
                continue
            centre_ras = np.array([float(row[f"coord{axis}"]) for axis in "XYZ"]) * _LPS
            grid = np.stack(np.indices(volume.shape), axis=-1).reshape(-1, 3)
            distance = np.linalg.norm(voxels_to_world(volume.affine_ras_mm, grid) - centre_ras, axis=1)
            near = (distance < 0.75 * float(row["diameter_mm"])).reshape(volume.shape)
            shell = near & (distance > 0.6 * float(row["diameter_mm"])).reshape(volume.shape)
            if (volume.array[shell] > -500).mean() > 0.06:
                continue
            bright = np.where(near, np.maximum(volume.array + 700.0, 0.0), 0.0)
            found_ras = voxels_to_world(volume.affine_ras_mm, ndimage.center_of_mass(bright))[0]
            assert (np.abs(found_ras - centre_ras) <= np.array(volume.spacing_mm)).all()
            checked += 1
    assert checked >= 2


def test_layout_and_tables_are_luna16s(folder):
    assert sorted(path.name for path in folder.glob("subset*")) == [f"subset{number}" for number in range(10)]
    headers = sorted(folder.glob("subset*/*.mhd"))
    assert len(headers) == len(list(folder.glob("subset*/*.raw"))) == 12
    raw = (folder / "seriesuids.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    assert sorted(raw.decode().split()) == sorted(path.stem for path in headers)
    assert all(path.stem.startswith("2.25.") and len(path.stem) <= 64 for path in headers)
    for name in ("annotations.csv", "annotations_excluded.csv"):
        assert (folder / name).read_bytes().startswith(b"seriesuid,coordX,coordY,coordZ,diameter_mm\r\n")
    assert {row["diameter_mm"] for row in _rows(folder / "annotations_excluded.csv")} > {"-1"}
    with_nodules = {row["seriesuid"] for row in _rows(folder / "annotations.csv")}
    assert 0 < 12 - len(with_nodules) < 12
    matrices = {line for path in headers for line in path.read_text().splitlines() if line.startswith("Transform")}
    assert matrices == {"TransformMatrix = 1 0 0 0 1 0 0 0 1", "TransformMatrix = -1 0 0 0 -1 0 0 0 1"}


def test_the_same_files_from_the_same_seed_and_missing_ones_completed(tmp_path):
    for name in "ab":
        write_luna16_phantoms(tmp_path / name, cases=2, seed=5, **SMALL)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*") if path.is_file())
    assert len(names) == 8
    kept = next((tmp_path / "a" / "subset0").glob("*.raw"))
    before = kept.stat().st_mtime_ns
    next((tmp_path / "a" / "subset1").glob("*.raw")).unlink()
    (tmp_path / "a" / "annotations.csv").unlink()
    write_luna16_phantoms(tmp_path / "a", cases=2, seed=5, **SMALL)
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"holds other phantoms\. Choose an empty folder, or .* --force"):
        write_luna16_phantoms(tmp_path / "a", cases=3, seed=5, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": 0}, "cases: 0 phantoms asked for"),
        ({"seed": -1}, "seed: -1"),
        ({"shape": (64, 56, 2000)}, "Wanted three sizes from 24 to 1024"),
        ({"spacing_mm": 20.0}, "spacing_mm: 20.0 will not do"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        write_luna16_phantoms(tmp_path / "d", **{"cases": 1, **SMALL, **change})
    assert not (tmp_path / "d").exists()


def test_diameters_follow_the_real_ones():
    table = Path(__file__).parents[4] / "shared" / "data" / "luna16" / "annotations.csv"
    if not table.is_file():
        pytest.skip("needs LUNA16's annotations.csv")
    with table.open(newline="") as file:
        real = [float(row["diameter_mm"]) for row in csv.DictReader(file)]
    shares = np.linspace(0.02, 0.98, 49)
    drawn = [diameter_at(share) for share in shares]
    np.testing.assert_allclose(drawn, np.quantile(real, shares), rtol=0.12)
