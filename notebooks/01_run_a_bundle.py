# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Run a bundle
#
# A bundle that ships its weights turns scans into label maps in the grid of each scan. `hippocampus_mri_segmentation`
# ships them: it finds the anterior and the posterior part of the hippocampus in a T1 scan that is cropped around it.
#
# The scan here is made up, so that nothing has to be downloaded; put your own in its place. Not for clinical use.

# %%
from pathlib import Path

import numpy as np

from medseg.bundle.find import list_bundles
from medseg.bundle.run import predict
from medseg.volumes import Volume, read_volume, write_volume

WORK = Path("runs/notebooks/01")
for name, root in list_bundles().items():
    print(f"{name:32} {root}")

# %% [markdown]
# ## A scan
#
# A bright, noisy ellipsoid of 1 mm voxels stands in for a hippocampus. Any NIfTI, NRRD or MetaImage file will do, or a
# folder with a DICOM series.

# %%
grid = np.indices((35, 51, 35)).astype(np.float32)
middle = np.array([17, 25, 17], np.float32)[:, None, None, None]
radius = np.sqrt((((grid - middle) / np.array([7, 19, 6], np.float32)[:, None, None, None]) ** 2).sum(0))
image = np.clip(1.4 - radius, 0, 1) * 60 + 80 + np.random.default_rng(0).normal(0, 6, radius.shape)
scan = WORK / "scan.nii.gz"
scan.parent.mkdir(parents=True, exist_ok=True)
write_volume(scan, image.astype(np.float32), Volume(array=np.zeros(image.shape), affine_ras_mm=np.eye(4), path=scan))

# %% [markdown]
# ## Prediction
#
# The command line does the same: `medseg predict hippocampus_mri_segmentation scan.nii.gz -o out`.

# %%
(written,) = predict("hippocampus_mri_segmentation", [scan], output_dir=WORK / "out")
labels = read_volume(written)
same_grid = np.allclose(labels.affine_ras_mm, read_volume(scan).affine_ras_mm)
print(f"{written}: {labels.array.shape}, in the grid of the scan: {same_grid}")
assert labels.array.shape == image.shape and same_grid

# %% [markdown]
# ## What is where
#
# Voxels are 1 mm³, so a thousand of them are a millilitre.

# %%
names = {1: "anterior", 2: "posterior"}
for value, name in names.items():
    print(f"{name:10} {np.count_nonzero(labels.array == value) / 1000:.2f} ml")

# %% [markdown]
# ## In 3D
#
# With `pip install 'medseg[notebooks]'` the scan and its labels turn in the notebook itself.

# %%
try:
    from ipyniivue import NiiVue

    view = NiiVue()
    view.load_volumes(
        [{"path": str(scan)}, {"path": str(written), "colormap": "warm", "opacity": 0.5}],
    )
except ImportError:
    view = "no 3D view: ipyniivue is not installed; pip install 'medseg[notebooks]'"
    print(view)
view

# %% [markdown]
# Next: [a benchmark on a public dataset](02_benchmark_a_dataset.ipynb).
