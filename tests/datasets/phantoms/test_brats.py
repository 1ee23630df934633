import hashlib
import json

import numpy as np
import pytest
from scipy import ndimage

from medseg.datasets import find_cases, training_items
from medseg.datasets.phantoms import make_brats_phantom, write_brats_phantoms
from medseg.errors import ConfigError, DataError
from medseg.labels import get_convention, labels_to_regions
from medseg.volumes import axis_codes, read_geometry, read_volume

SMALL = (40, 48, 36)
MODALITIES = ("t1", "t1c", "t2", "flair")


@pytest.fixture(scope="module")
def phantoms():
    return [make_brats_phantom(number, seed=0) for number in range(4)]


def _sha256(phantom):
    digest = hashlib.sha256()
    for array in (*phantom.images.values(), phantom.labels):
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes(order="C"))
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("number", "seed", "shape", "digest"),
    [
        (0, 0, (96, 112, 80), "37eaa56acb55794e55cdd1cde3ed7366b6285f09aa413b2c993e9ec141782651"),
        (3, 7, (96, 112, 80), "ed6a622e9f122191f78e7bc55e6e868d7c085bbc6876752fc08d2a6ccf97eb5e"),
        (1, 2, (40, 48, 36), "a857b280a67b1e51c585a16b4a1024c1117b6df1625916ec63b73f2894a297d7"),
    ],
)
def test_the_same_voxels_on_every_machine(number, seed, shape, digest):
    assert _sha256(make_brats_phantom(number, seed=seed, shape=shape)) == digest


def test_types_background_and_affine(phantoms):
    for phantom in phantoms:
        assert {image.dtype for image in phantom.images.values()} == {np.dtype(np.int16)}
        assert phantom.labels.dtype == np.uint8
        inside = phantom.images["t1"] > 0
        assert all(((image > 0) == inside).all() for image in phantom.images.values())
        assert not phantom.labels[~inside].any()
        assert axis_codes(phantom.affine_ras_mm) == ("L", "P", "S")
        assert phantom.affine_ras_mm[1, 3] == 111 * 1.75
        # The head lies within the field of view.
        assert not any(inside.take(edge, axis).any() for axis in range(3) for edge in (0, -1))
        assert 700 < inside.sum() * 1.75**3 / 1000 < 1500


def test_every_part_is_there_and_the_tumour_is_nested(phantoms):
    for phantom in phantoms:
        assert set(np.unique(phantom.labels)) == {0, 1, 2, 4}
        core, whole, enhancing = labels_to_regions(phantom.labels, get_convention("brats2017"))
        assert enhancing.sum() < core.sum() < whole.sum()
        # The core is one piece and hardly touches healthy tissue where oedema can spread.
        assert ndimage.label(core)[1] <= 3
        rim = ndimage.binary_dilation(core) & ~core
        assert whole[rim].mean() > 0.4


def test_contrasts_are_those_of_the_field(phantoms):
    """Medians over cases against the healthy brain: in one case the bias field may hide a contrast."""

    def level(name, value):
        ratios = []
        for phantom in phantoms:
            image, labels = phantom.images[name], phantom.labels
            healthy = (image > 0) & (labels == 0)
            ratios.append(np.median(image[labels == value]) / np.median(image[healthy]))
        return np.median(ratios)

    assert level("flair", 2) > 1.2
    assert level("t2", 2) > 1.2
    assert level("t1", 2) < 1.05
    assert level("t1c", 4) > 1.3
    assert level("t1", 4) < 1.1
    assert level("t1c", 1) < 0.9


def test_phantoms_differ_in_size_place_and_gain(phantoms):
    volumes = [np.count_nonzero(phantom.labels) for phantom in phantoms]
    assert max(volumes) > 2 * min(volumes)
    centres = np.array([ndimage.center_of_mass(phantom.labels > 0) for phantom in phantoms])
    assert (centres.std(axis=0) > 4).any()
    gains = [np.median(phantom.images["t1"][phantom.images["t1"] > 0]) for phantom in phantoms]
    assert max(gains) > 1.5 * min(gains)
    assert len({_sha256(phantom) for phantom in phantoms}) == len(phantoms)


def test_a_phantom_depends_on_its_own_number_only():
    alone = make_brats_phantom(2, seed=5, shape=SMALL)
    assert _sha256(alone) == _sha256([make_brats_phantom(n, seed=5, shape=SMALL) for n in range(3)][2])
    assert _sha256(alone) != _sha256(make_brats_phantom(2, seed=6, shape=SMALL))


@pytest.mark.parametrize(
    ("convention", "values"),
    [("brats2015", {1, 2, 3, 4}), ("brats2017", {1, 2, 4}), ("brats2023", {1, 2, 3}), ("msd_task01", {1, 2, 3})],
)
def test_conventions_name_the_same_regions(convention, values):
    reference = make_brats_phantom(1, seed=0, shape=SMALL)
    phantom = make_brats_phantom(1, seed=0, shape=SMALL, label_convention=convention)
    assert set(np.unique(phantom.labels)) - {0} <= values
    np.testing.assert_array_equal(
        labels_to_regions(phantom.labels, get_convention(convention)),
        labels_to_regions(reference.labels, get_convention("brats2017")),
    )


@pytest.mark.parametrize("shape", [(24, 24, 24), (64, 30, 50)])
@pytest.mark.parametrize("spacing_mm", [1.0, 4.0])
def test_small_or_coarse_grids_hold_a_whole_head(shape, spacing_mm):
    phantom = make_brats_phantom(0, seed=1, shape=shape, spacing_mm=spacing_mm)
    assert phantom.labels.shape == shape
    assert {2, 4} <= set(np.unique(phantom.labels))
    assert 0.05 < (phantom.images["t2"] > 0).mean() < 0.6


def test_written_folder_is_a_dataset(tmp_path):
    done = []
    datalist = write_brats_phantoms(tmp_path / "d", cases=5, seed=3, shape=SMALL, on_case=done.append)
    assert done == [f"phantom_s3_{number:03d}" for number in range(5)]
    content = json.loads(datalist.read_text())
    assert content["label_convention"] == "brats2017"
    assert content["modality"] == {"0": "t1", "1": "t1c", "2": "t2", "3": "flair"}
    assert sorted(entry["fold"] for entry in content["training"]) == [0, 1, 2, 3, 4]
    items = training_items(dataset_dir=tmp_path / "d", modalities=MODALITIES, fold=0, label_convention="brats2017")
    assert len(items) == 4
    assert len(find_cases(tmp_path / "d", modalities=MODALITIES)) == 5
    phantom = make_brats_phantom(2, seed=3, shape=SMALL)
    found = {
        item["case_id"]: item for item in training_items(dataset_dir=tmp_path / "d", modalities=["t2"], section="all")
    }
    item = found[phantom.case_id]
    np.testing.assert_array_equal(read_volume(item["image"][0]).array, phantom.images["t2"])
    label = read_volume(item["label"])
    np.testing.assert_array_equal(label.array, phantom.labels)
    np.testing.assert_array_equal(label.affine_ras_mm, phantom.affine_ras_mm)
    assert read_geometry(item["image"][0])[0] == SMALL


def test_the_same_files_from_the_same_seed(tmp_path):
    for name in "ab":
        write_brats_phantoms(tmp_path / name, cases=1, seed=3, shape=SMALL)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(names) == 6
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_folder_of_these_phantoms_is_completed_and_any_other_refused(tmp_path):
    arguments = {"cases": 2, "seed": 3, "shape": SMALL}
    write_brats_phantoms(tmp_path, **arguments)
    kept, lost = sorted(tmp_path.glob("*/*_t1.nii.gz"))
    before = kept.stat().st_mtime_ns
    lost.unlink()
    write_brats_phantoms(tmp_path, **arguments)
    assert lost.is_file()
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"holds other phantoms\. Choose an empty folder, or .* --force"):
        write_brats_phantoms(tmp_path, cases=2, seed=4, shape=SMALL)
    write_brats_phantoms(tmp_path, cases=2, seed=4, shape=SMALL, force=True)
    (tmp_path / "datalist.json").unlink()
    with pytest.raises(DataError, match="holds other files"):
        write_brats_phantoms(tmp_path, **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cases": 0}, "cases: 0 phantoms asked for"),
        ({"shape": (96, 112)}, "Wanted three sizes from 24 to 1024"),
        ({"shape": (8, 112, 80)}, "Wanted three sizes"),
        ({"spacing_mm": 0.0}, "spacing_mm: 0.0 will not do"),
        ({"label_convention": "brats1066"}, "no convention is named 'brats1066'"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        write_brats_phantoms(tmp_path / "d", **{"cases": 1, "shape": SMALL, **change})
    assert not (tmp_path / "d").exists()
