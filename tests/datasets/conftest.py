from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data():
    if not _DATA.is_dir():
        pytest.skip("real scans are not on this machine (../shared/data)")
    return _DATA


@pytest.fixture
def touch_volumes(tmp_path):
    """Makes tiny NIfTI files; returns the folder."""

    def make(*names, shape=(2, 2, 2), root=tmp_path):
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), path)
        return root

    return make
