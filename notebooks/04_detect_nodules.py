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
# # 4. Detect nodules
#
# From chest CT to boxes in world millimetres, scored by the rules of LUNA16. The scans are made up, and the network
# has learnt for seconds: it finds next to nothing. A blob detector stands beside it, as everywhere in medseg.

# %%
import json
from pathlib import Path

from medseg.bundle.run import predict, train
from medseg.datasets.phantoms import write_luna16_phantoms
from medseg.datasets.phantoms.nodule_baseline import predict_with_blobs
from medseg.evaluation.detection import evaluate_luna16

WORK = Path("runs/notebooks/04")
write_luna16_phantoms(WORK / "lungs", cases=4, seed=0, shape=(64, 56, 48), spacing_mm=4.0)
print((WORK / "lungs" / "annotations.csv").read_text()[:400])

# %% [markdown]
# ## Training
#
# For real: `medseg train lung_nodule_ct_detection --preset gpu dataset_dir=LUNA16`, or `medseg demo --task detection`
# for minutes on two cores.

# %%
small = [
    "network_def=@light_fpn",
    "light_fpn::feature_extractor::channels=[8, 8]",
    "light_fpn::feature_extractor::out_channels=16",
    "roi_size=[32, 32, 16]",
    "window_size=[48, 48, 32]",
    "spacing_mm=[4.0, 4.0, 4.0]",
    "device=cpu",
    "amp=false",
]
run = train(
    "lung_nodule_ct_detection",
    run_dir=WORK / "run" if not (WORK / "run").exists() else None,
    overrides=[
        *small,
        f"dataset_dir={WORK / 'lungs'}",
        "epochs=1",
        "val_interval=1",
        "samples_per_epoch=2",
        "batch_size=1",
        "num_workers=0",
    ],
)

# %% [markdown]
# ## Prediction
#
# `RUN` brings its network along. Each scan gets a `detections.json` in world mm (RAS) with scores.

# %%
scans = sorted((WORK / "lungs").rglob("*.mhd"))
predict(
    "lung_nodule_ct_detection", scans, output_dir=run / "predictions", weights=run, overrides=["score_threshold=0.0"]
)
found = sorted((run / "predictions").rglob("detections.json"))
print(json.dumps(json.loads(found[0].read_text()), indent=1)[:500])
assert len(found) == len(scans)

# %% [markdown]
# ## Scores
#
# LUNA16: a mark hits when it lies within the radius of a nodule; sensitivity at 1/8 to 8 false positives a scan, and
# their mean, the CPM, with 1000 bootstraps over scans.

# %%
tables = {
    "exclude": WORK / "lungs" / "annotations_excluded.csv",
    "series": WORK / "lungs" / "seriesuids.csv",
}
annotations = WORK / "lungs" / "annotations.csv"
network = evaluate_luna16(run / "predictions", annotations, out_dir=run / "evaluation", **tables)
submission = WORK / "blobs" / "submission.csv"
submission.parent.mkdir(parents=True, exist_ok=True)
predict_with_blobs(scans, submission)
blobs = evaluate_luna16(submission, annotations, out_dir=WORK / "blobs", **tables)
print(f"CPM: network {network.cpm:.3f}, blobs {blobs.cpm:.3f}")

# %% [markdown]
# ## Report
#
# One HTML file with the FROC curve, and hits, false positives and misses in pictures.

# %%
from medseg.report import write_report

print(write_report(run))

# %% [markdown]
# Next: [read a report and compare runs](05_read_and_compare.ipynb).
