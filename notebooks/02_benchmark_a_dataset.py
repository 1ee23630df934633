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
# # 2. Benchmark on a public dataset
#
# A suite file says what is trained and tested on what: bundles, dataset, folds, seeds, metrics, budget. `medseg
# benchmark` does the rest, and goes on where it was stopped. Weights are never chosen on a tested case.
#
# Phantoms stand in for the dataset here, with one epoch on a tiny network: the way is the real one, the scores are
# not.

# %%
from pathlib import Path

from medseg.benchmark.local import run_suite
from medseg.benchmark.suite import read_suite
from medseg.datasets.registry import DATASETS

WORK = Path("runs/notebooks/02")
PUBLIC = False  # True: MSD Task09, fetched and verified; days on a CPU, hours on a GPU

spec = DATASETS["msd_task09_spleen"]
print(f"{spec.title}; {spec.licence}; {spec.splits}")

# %% [markdown]
# ## What the data ask for
#
# `medseg data plan FOLDER` reads the fingerprint of a dataset and plans grid, patch and network by nnU-Net's rules.
# For a fingerprint that is known already:

# %%
from medseg.bundle.plan import make_plan
from medseg.datasets.fingerprint import Fingerprint, Intensities

spleen = Fingerprint(
    name="MSD Task09",
    modalities=("ct",),
    labels={1: "spleen"},
    n_cases=41,
    n_read=41,
    shape_vox=(512, 512, 90),
    spacing_mm=(0.79, 0.79, 5.0),
    fine_spacing_mm=(0.7, 0.7, 1.6),
    field_mm=(404.5, 404.5, 299.2),
    extent_mm=(100.0, 100.0, 110.0),
    intensities={"ct": Intensities(low=-41, middle=100, high=176, lowest=-1024, zero_share=0.0)},
)
plan = make_plan(spleen, budget_gb=8, first_channels=32)
print(plan.spacing_mm, plan.roi_size, plan.strides, plan.intensity, plan.window)

# %% [markdown]
# ## The suite

# %%
TINY = """
name: organs
dataset: {phantom: msd, cases: 6, seed: 0, shape: [40, 36, 24], spacing_mm: 8.0}
folds: {count: 3, seed: 0, run: [0]}
selection: next_fold
regions: {liver: 1, spleen: 2}
metrics: [dice, nsd]
budget: {epochs: 1}
entries:
- name: dyn_unet
  bundle: msd_organ_segmentation
  overrides:
    label_convention: {liver: 1, spleen: 2}
    regions: [liver, spleen]
    spacing_mm: [16.0, 16.0, 16.0]
    roi_size: [24, 24, 24]
    channels: [4, 4, 8]
    strides: [[2, 2, 2], [2, 2, 2]]
    kernel_sizes: [[3, 3, 3], [3, 3, 3], [3, 3, 3]]
    samples_per_epoch: 2
    val_interval: 1
    num_workers: 0
    device: cpu
"""
suite_file = WORK / "suite.yaml"
suite_file.parent.mkdir(parents=True, exist_ok=True)
suite_file.write_text(TINY)

# %%
from medseg.bundle.find import list_suites

suite = read_suite(list_suites()["msd_spleen_5fold"] if PUBLIC else suite_file)
table, outcomes = run_suite(suite, WORK / "out", say=print)
print(table.read_text())
assert not any(outcome.problem for outcome in outcomes.values())

# %% [markdown]
# The page of a suite opens in a browser without a network: scores with published results beside them, plots, folds and
# seeds, each number with a link to the report of its job. `medseg report --jobs FOLDER` does the same.

# %%
from medseg.report import write_report

page = write_report(WORK / "out", jobs=True)
print(page)
assert 'href="jobs/dyn_unet-fold0-seed0/report.html"' in page.read_text()

# %% [markdown]
# Started again, nothing is left to do: each stage is kept under a hash of all that it depends on.

# %%
run_suite(suite, WORK / "out", say=print)

# %% [markdown]
# Several jobs run at a time with `medseg benchmark SUITE --jobs N`, on a Ray cluster with `--executor ray`, on Slurm
# with `--executor slurm --executor-option slurm_partition=gpu`: the same suite file, the same table.
#
# Next: [extend a bundle](03_extend_a_bundle.ipynb).
