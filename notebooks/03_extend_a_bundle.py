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
# # 3. Extend a bundle
#
# A bundle is a folder of YAML. Anything in it changes by an override, which is checked before anything runs. What is
# to stay becomes a bundle of its own.

# %%
import shutil
from pathlib import Path

from medseg.bundle.check import check_bundle
from medseg.bundle.compose import compose
from medseg.bundle.new import new_bundle
from medseg.bundle.run import train
from medseg.datasets.phantoms import write_msd_phantoms
from medseg.errors import ConfigError

WORK = Path("runs/notebooks/03")
SHAPE, SPACING_MM = (40, 36, 24), 8.0
write_msd_phantoms(WORK / "organs", cases=5, seed=0, shape=SHAPE, spacing_mm=SPACING_MM)

# %% [markdown]
# ## By an override
#
# On the command line: `medseg train msd_organ_segmentation network_def=@residual_unet learning_rate=1.0e-3`.

# %%
changed = compose("msd_organ_segmentation", "train", overrides=["network_def=@residual_unet", "learning_rate=1.0e-3"])
print(changed.config["network_def"], changed.config["learning_rate"])

# %% [markdown]
# A key that does not exist is refused, with the nearest one; so is a value of the wrong kind.

# %%
for wrong in ("learning_rat=1.0e-3", "batch_size=many"):
    try:
        compose("msd_organ_segmentation", "train", overrides=[wrong])
    except ConfigError as error:
        print(error)

# %% [markdown]
# ## As a bundle of its own
#
# `medseg bundle new` reads the data and writes a bundle that trains on them: grid, window, depth and labels by rules
# that stand in its model card.

# %%
shutil.rmtree(WORK / "organs_ct_segmentation", ignore_errors=True)
made = new_bundle(str(WORK / "organs_ct_segmentation"), task="segmentation", dataset=WORK / "organs")
print((made.root / "configs" / "common.yaml").read_text()[:1600])

# %% [markdown]
# ## A change that stays
#
# Here the loss: focal loss in place of cross-entropy. The file is edited as anybody would.

# %%
config = made.root / "configs" / "train.yaml"
text = config.read_text()
assert "    bce:\n      _target_: torch.nn.BCEWithLogitsLoss\n" in text
config.write_text(
    text.replace(
        "    bce:\n      _target_: torch.nn.BCEWithLogitsLoss\n",
        "    focal:\n      _target_: monai.losses.FocalLoss\n      gamma: 2.0\n",
    )
)
print([str(finding) for finding in check_bundle(made.root)] or "checked: nothing to mend")

# %% [markdown]
# The check knows MONAI's signatures without importing them: a misspelt argument does not get as far as a training.

# %%
good = config.read_text()
config.write_text(good.replace("gamma: 2.0", "gama: 2.0"))
findings = [str(finding) for finding in check_bundle(made.root) if finding.level == "error"]
print(*findings, sep="\n")
assert findings
config.write_text(good)

# %% [markdown]
# ## Train it
#
# One epoch of a tiny network, to see that it runs. The stock `python -m monai.bundle run` trains it as well.

# %%
run = train(
    made.root,
    run_dir=WORK / "run" if not (WORK / "run").exists() else None,
    overrides=[
        "network_def=@residual_unet",
        "residual_unet::channels=[4, 8]",
        "residual_unet::strides=[2]",
        "roi_size=[16, 16, 16]",
        "epochs=1",
        "val_interval=1",
        "samples_per_epoch=2",
        "batch_size=1",
        "num_workers=0",
        "device=cpu",
        "amp=false",
    ],
)
print((run / "metrics.csv").read_text())
assert (run / "model.pt").is_file()

# %% [markdown]
# `medseg bundle freeze` makes the files that MONAI Label, Deploy and NVFlare take of it.
#
# Next: [detect nodules](04_detect_nodules.ipynb).
