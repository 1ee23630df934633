import nibabel as nib
import numpy as np
import pytest


@pytest.fixture
def save():
    """Write labels as NIfTI: `save(path, labels, spacing_mm=..., affine=..., dtype=...)`."""

    def write(path, labels, *, spacing_mm=(1.0, 1.0, 2.0), affine=None, dtype=np.uint8):
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([*spacing_mm, 1.0]) if affine is None else affine
        nib.Nifti1Image(np.asarray(labels).astype(dtype), affine).to_filename(path)
        return path

    return write


@pytest.fixture
def labels():
    """A BraTS 2017 label map: oedema 2 around necrosis 1 around enhancement 4."""
    array = np.zeros((16, 14, 12), dtype=np.uint8)
    array[3:12, 3:11, 2:10] = 2
    array[4:9, 4:9, 3:8] = 1
    array[5:8, 5:8, 4:7] = 4
    return array


@pytest.fixture
def folders(tmp_path, save, labels):
    """References and predictions of three cases; the prediction of b is one voxel off."""
    for name in "abc":
        save(tmp_path / "ref" / f"{name}_seg.nii.gz", labels)
        save(tmp_path / "pred" / f"{name}.nii.gz", np.roll(labels, int(name == "b"), axis=0))
    return tmp_path / "pred", tmp_path / "ref"
