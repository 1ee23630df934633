import hashlib
import json

import numpy as np
import pytest
from scipy import ndimage

from medseg.datasets import find_cases, training_items
from medseg.datasets.phantoms import make_msd_phantom, write_msd_phantoms
from medseg.datasets.verify import verify_dataset
from medseg.errors import ConfigError, DataError
from medseg.volumes import axis_codes, read_volume, spacing_from_affine, voxels_to_world

SMALL = {"shape": (48, 40, 32), "spacing_mm": 6.0}


@pytest.fixture(scope="module")
def phantoms():
    return [make_msd_phantom(number, seed=0) for number in range(4)]


def _sha256(phantom):
    digest = hashlib.sha256()
    for array in (phantom.image_hu, phantom.labels, phantom.affine_ras_mm):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes(order="C"))
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("number", "seed", "options", "digest"),
    [
        (0, 0, {}, "e05d52c43eacb1819152ceff0a12dfbeca323b414c091aca9ca956ffeb4b1650"),
        (3, 7, {}, "64aa593936328431fdd10074bfe0b3cec1930b2e32feb964e2ad59578a32a971"),
        (1, 2, SMALL, "2d0f5619a2ffff97d70a716235e6b506f8a6ec12c4127a97eb41053ae6390afd"),
    ],
)
def test_the_same_voxels_on_every_machine(number, seed, options, digest):
    assert _sha256(make_msd_phantom(number, seed=seed, **options)) == digest


def test_types_spacing_and_orientation_vary(phantoms):
    for phantom in phantoms:
        assert (phantom.image_hu.dtype, phantom.labels.dtype) == (np.dtype(np.int16), np.dtype(np.uint8))
        assert set(np.unique(phantom.labels)) == {0, 1, 2}
        # float32 headers hold the affine exactly.
        np.testing.assert_array_equal(phantom.affine_ras_mm.astype(np.float32), phantom.affine_ras_mm)
    codes = {axis_codes(phantom.affine_ras_mm) for phantom in phantoms}
    assert codes == {("R", "A", "S"), ("L", "P", "S"), ("L", "A", "S"), ("R", "A", "I")}
    spacings = [spacing_from_affine(phantom.affine_ras_mm) for phantom in phantoms]
    assert len(set(spacings)) == len(phantoms)
    assert all(x == y != z for x, y, z in spacings)
    assert len({phantom.image_hu.shape[2] for phantom in phantoms}) == len(phantoms)


def test_organs_lie_where_they_belong_whatever_the_orientation(phantoms):
    for phantom in phantoms:
        affine = phantom.affine_ras_mm
        body = voxels_to_world(affine, ndimage.center_of_mass(phantom.image_hu > -300))[0]
        liver, spleen = (voxels_to_world(affine, ndimage.center_of_mass(phantom.labels == k))[0] - body for k in (1, 2))
        assert liver[0] > 20 > -20 > spleen[0]  # right and left
        assert spleen[1] < liver[1]  # the spleen lies behind
        ml = np.prod(spacing_from_affine(affine)) / 1000
        assert 400 < (phantom.labels == 1).sum() * ml < 2500
        assert 40 < (phantom.labels == 2).sum() * ml < 500
        # Lungs above, none below.
        top = voxels_to_world(affine, ndimage.center_of_mass(ndimage.binary_erosion(_lung(phantom))))[0] - body
        assert top[2] > 0


def _lung(phantom):
    return (phantom.image_hu < -740) & (phantom.image_hu > -900)


def test_values_are_those_of_ct(phantoms):
    for phantom in phantoms:
        image, labels = phantom.image_hu, phantom.labels
        assert -1024 <= image.min() < -990
        assert 200 < image.max() < 3071
        assert 80 < np.median(image[labels == 1]) < 135
        assert 80 < np.median(image[labels == 2]) < 145
        # No threshold finds the organs: much else is as bright, around the spleen several times as much.
        for value, share in ((1, 0.2), (2, 2.0)):
            low, high = np.percentile(image[labels == value], [5, 95])
            alike = (image > low) & (image < high) & (labels != value)
            assert alike.sum() > share * (labels == value).sum()


def test_written_folder_is_a_dataset_in_msd_layout(tmp_path):
    done = []
    description = write_msd_phantoms(tmp_path, cases=5, seed=3, on_case=done.append, **SMALL)
    assert done == [f"organs_{number:03d}" for number in range(5)]
    assert description == tmp_path / "dataset.json"
    content = json.loads(description.read_text())
    assert content["modality"] == {"0": "CT"}
    assert content["labels"] == {"0": "background", "1": "liver", "2": "spleen"}
    assert (content["numTraining"], len(content["training"])) == (5, 5)
    found = find_cases(tmp_path, modalities=["ct"])
    assert [item["case_id"] for item in found] == done
    assert all("label" in item for item in found)
    assert len(training_items(dataset_dir=tmp_path, modalities=["ct"], fold=0)) == 4
    phantom = make_msd_phantom(2, seed=3, **SMALL)
    for path, array in ((found[2]["image"][0], phantom.image_hu), (found[2]["label"], phantom.labels)):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_array_equal(volume.affine_ras_mm, phantom.affine_ras_mm)
        assert volume.array.dtype == array.dtype


def test_verify_finds_no_error(tmp_path):
    write_msd_phantoms(tmp_path, cases=3, **SMALL)
    verified = verify_dataset(tmp_path, workers=1)
    assert verified.n_cases == 3
    assert not verified.errors


def test_the_same_files_from_the_same_seed_and_missing_ones_completed(tmp_path):
    for name in "ab":
        write_msd_phantoms(tmp_path / name, cases=2, seed=3, **SMALL)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(names) == 5
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    lost, kept = (tmp_path / "a" / "imagesTr" / f"organs_00{number}.nii.gz" for number in (0, 1))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    write_msd_phantoms(tmp_path / "a", cases=2, seed=3, **SMALL)
    assert lost.read_bytes() == (tmp_path / "b" / "imagesTr" / lost.name).read_bytes()
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"holds other phantoms\. Choose an empty folder, or .* --force"):
        write_msd_phantoms(tmp_path / "a", cases=2, seed=4, **SMALL)
    write_msd_phantoms(tmp_path / "a", cases=2, seed=4, force=True, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": 0}, "cases: 0 phantoms asked for"),
        ({"seed": -1}, "seed: -1"),
        ({"shape": (48, 40)}, "Wanted three sizes from 24 to 1024"),
        ({"shape": (48, 40, 8)}, "Wanted three sizes"),
        ({"spacing_mm": 0.0}, "spacing_mm: 0.0 will not do"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        write_msd_phantoms(tmp_path / "d", **{"cases": 1, **SMALL, **change})
    assert not (tmp_path / "d").exists()
