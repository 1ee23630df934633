from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.phantoms.nodule_baseline import find_blobs, predict_with_blobs
from medseg.errors import DataError
from medseg.volumes.boxes import box_centres
from medseg.volumes.detections import read_submission

SPACING = 2.0


def write_thorax(path: Path, *balls_mm: tuple[tuple[float, float, float], float], rod: bool = False) -> Path:
    """A body with one lung, and balls (centre, diameter) in it; a vessel through it if asked."""
    x, y, z = (np.arange(60) * SPACING for _ in range(3))
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    hu = np.full((60, 60, 60), -1000.0)
    hu[(x - 59) ** 2 + (y - 59) ** 2 + 0 * z < 55**2] = 40
    hu[((x - 59) ** 2 + (y - 59) ** 2 + (z - 59) ** 2) < 40**2] = -850
    if rod:
        hu[((x - 59) ** 2 + (y - 45) ** 2 + 0 * z < 4**2) & (np.abs(z - 59) < 30)] = 40
    for centre, diameter in balls_mm:
        hu[(x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < (diameter / 2) ** 2] = 30
    nib.save(nib.Nifti1Image(hu.astype(np.int16), np.diag([SPACING, SPACING, SPACING, 1])), path)
    return path


def test_a_ball_is_found_where_it_is_and_before_a_vessel(tmp_path: Path) -> None:
    found = find_blobs(write_thorax(tmp_path / "a.nii.gz", ((70.0, 60.0, 50.0), 12.0), rod=True))
    assert found.case_id == "a"
    np.testing.assert_allclose(box_centres(found.box_ras_mm)[0], (70, 60, 50), atol=1.1)
    assert found.score[0] > 0.8
    assert (found.score[1:] < 0.4).all()


def test_what_is_too_small_or_too_large_is_left_out(tmp_path: Path) -> None:
    both = ((50.0, 60.0, 60.0), 1.9), ((70.0, 60.0, 60.0), 34.0)
    assert len(find_blobs(write_thorax(tmp_path / "a.nii.gz", *both))) == 0


def test_the_submission_has_a_row_for_each_blob(tmp_path: Path) -> None:
    scans = [
        write_thorax(tmp_path / f"{name}.nii.gz", ((60.0, 60.0, 60.0), size)) for name, size in (("a", 8), ("b", 2))
    ]
    marks = read_submission(predict_with_blobs(scans, tmp_path / "submission.csv"))
    assert marks.case_id.tolist() == ["a"]


def test_a_scan_of_four_axes_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), tmp_path / "four.nii.gz")
    with pytest.raises(DataError, match="4 axes"):
        find_blobs(tmp_path / "four.nii.gz")
