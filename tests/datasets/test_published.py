import json

import numpy as np
import pytest

from medseg.datasets.published import check_arrays, spec_of
from medseg.datasets.shelf import RECORD
from medseg.datasets.verify import verify_dataset


def _arrays(path, **changed):
    arrays = {f"{split}_{kind}": np.zeros((n, 3, 3, 3) if kind == "images" else (n, 1), np.uint8)
              for split, n in (("train", 4), ("val", 2), ("test", 3)) for kind in ("images", "labels")}  # fmt: skip
    np.savez(path, **{name: array for name, array in {**arrays, **changed}.items() if array is not None})
    return path


def test_the_real_adrenalmnist3d_has_its_official_md5(real_data):
    result = verify_dataset(real_data / "adrenalmnist3d")
    assert (result.n_cases, result.findings) == (1188 + 98 + 298, ())


def test_other_bytes_under_a_published_name_are_an_error(tmp_path):
    _arrays(tmp_path / "adrenalmnist3d.npz")
    (found,) = verify_dataset(tmp_path).findings
    assert (found.level, found.check) == ("error", "checksum")
    assert found.message.endswith("adrenalmnist3d was published with bbd3c5a5576322bc4cdfea780653b1ce")


@pytest.mark.parametrize(
    ("changed", "check", "message"),
    [
        ({"val_labels": np.zeros((3, 1))}, "image-without-label", "2 val images, 3 labels"),
        ({"test_images": np.full((3, 2, 2, 2), np.nan)}, "not-finite", "test images have 24 NaN"),
        ({"test_images": None}, "readable", "no test_images; it has train_images"),
    ],
)
def test_faulty_arrays_are_found(tmp_path, changed, check, message):
    _, (found,) = check_arrays(_arrays(tmp_path / "mine.npz", **changed))
    assert found.check == check
    assert message in found.message


def test_sound_and_damaged_array_files(tmp_path):
    path = _arrays(tmp_path / "mine.npz")
    assert check_arrays(path) == (9, [])
    path.write_bytes(path.read_bytes()[:300])
    assert check_arrays(path)[1][0].check == "readable"


def test_only_a_record_tells_which_dataset_a_folder_is(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))
    scans = tmp_path / "brats2021"
    scans.mkdir()
    assert spec_of(scans) is None
    shelf = tmp_path / "home" / "brats2021"
    shelf.mkdir(parents=True)
    (shelf / RECORD).write_text(json.dumps({"name": "brats2021", "folder": str(scans)}))
    assert spec_of(scans).name == spec_of(shelf).name == "brats2021"
    assert spec_of(tmp_path) is None
