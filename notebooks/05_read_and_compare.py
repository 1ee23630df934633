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
# # 5. Read a report and compare runs
#
# Two predictions of the same cases: is one better? `medseg evaluate` scores them, `medseg compare` tests the
# difference, `medseg report` shows the cases. All three take label maps of any tool.

# %%
from pathlib import Path

import numpy as np

from medseg.benchmark.comparison import compare_runs
from medseg.benchmark.scores import read_scores
from medseg.datasets.phantoms import write_msd_phantoms
from medseg.evaluation import evaluate_folders
from medseg.report import write_report
from medseg.volumes import read_volume, write_label_map

WORK = Path("runs/notebooks/05")
write_msd_phantoms(WORK / "organs", cases=8, seed=0, shape=(40, 36, 24), spacing_mm=8.0)
references = WORK / "organs" / "labelsTr"

# %% [markdown]
# ## Two contestants
#
# One moves every label map by a voxel; the other moves half of them, and loses the spleen in one case.

# %%
for name in ("shifted", "careful"):
    for number, file in enumerate(sorted(references.glob("*.nii.gz"))):
        truth = read_volume(file)
        moved = np.roll(truth.array, 1, axis=0) if name == "shifted" or number % 2 else truth.array.copy()
        if name == "careful" and number == 3:
            moved[moved == 2] = 0
        (WORK / name / "predictions").mkdir(parents=True, exist_ok=True)
        write_label_map(WORK / name / "predictions" / file.name, moved.astype(np.uint8), truth)

# %% [markdown]
# ## Scores
#
# By case and region in `cases.csv`; means with 95 % intervals in `summary.json`. What is missing counts as the worst,
# by a rule that is printed, and is never dropped: the lost spleen has Dice 0 and the HD95 of the image's diagonal.

# %%
for name in ("shifted", "careful"):
    evaluate_folders(
        WORK / name / "predictions",
        references,
        out_dir=WORK / name / "evaluation",
        regions={"liver": 1, "spleen": 2},
        lesion_wise="brats2023",
    )
print((WORK / "careful" / "evaluation" / "cases.csv").read_text()[:600])

# %% [markdown]
# ## Comparison
#
# Paired tests on the same cases, corrected after Holm. *No difference shown* does not say that there is none.

# %%
runs = [read_scores(WORK / name, name=name) for name in ("shifted", "careful")]
found = compare_runs(runs, metrics=["dice", "hd95_mm"], per_region=True)
for row in found.rows:
    whole = row.scores.over_cases
    print(f"{row.metric:8} {row.region:16} {row.run:8} {whole.mean:7.3f}  {whole.ci95[0]:.3f} to {whole.ci95[1]:.3f}")
for verdict in found.verdicts:
    print(f"{verdict.metric}, {verdict.region}: {verdict.text}")

# %% [markdown]
# ## Report
#
# One file, no network: open it in a browser, scroll through the best, the median and the worst case, toggle reference
# and prediction.

# %%
report = write_report(WORK / "careful")
print(report, f"{report.stat().st_size / 1e6:.1f} MB")
assert report.is_file()
