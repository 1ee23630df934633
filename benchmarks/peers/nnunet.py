"""nnU-Net v2 beside medseg: the same folds, the same time on the same hardware, both scored by `medseg evaluate`.

    python benchmarks/peers/nnunet.py SUITE --nnunet-python VENV/bin/python -o OUT [--dataset-dir DATA] [--folds 0 1]
        [--budget 25min]

SUITE is a suite of segmentation with one modality and declared labels. medseg runs it as `medseg benchmark` would,
under the budget. nnU-Net gets, for each fold, every case that is not tested: those that choose medseg's weights as
well, since it chooses none. Its planning and preprocessing are not in the budget; as in its own cross-validation,
they see the scans of all folds. Whatever is done is not done again. README.md has the set-up, and what was
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medseg.benchmark.comparison import compare_runs
from medseg.benchmark.job import Job
from medseg.benchmark.local import fetch, make_jobs, run_suite
from medseg.benchmark.scores import read_scores
from medseg.benchmark.scoring import regions_of, score_segmentations
from medseg.benchmark.splitting import FoldLists
from medseg.benchmark.suite import Suite, find_suite, parse_seconds, read_suite
from medseg.datasets.datalist import case_id_of
from medseg.errors import ConfigError
from medseg.labels import get_convention
from medseg.record import usable_cores, write_text_atomically
from medseg.volumes import read_volume, write_volume

HERE = Path(__file__).parent
DATASET = "Dataset001_Peer"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs both and prints the comparison."""
    given = _parsed(arguments)
    suite = read_suite(find_suite(given.suite))
    budget_s = parse_seconds(given.budget) if given.budget else suite.time_budget_s
    if budget_s is None:
        msg = f"{suite.source}: has no time_budget, so there is nothing to hold both to. Give --budget."
        raise ConfigError(msg)
    folds = tuple(given.folds) if given.folds else suite.folds
    suite = replace(suite, time_budget_s=budget_s, epochs=None, folds=folds, entries=suite.entries[:1])
    out = given.output
    data = fetch(suite, out, given=given.dataset_dir, say=print)
    jobs = make_jobs(suite, out / "medseg", data)
    peer = Peer(python=given.nnunet_python, root=(out / "nnunet").absolute(), device=given.device, suite=suite)
    peer.prepare(jobs)
    for job in jobs:
        peer.run(job, budget_s=budget_s)
    if not given.peer_only:
        run_suite(suite, out / "medseg", dataset_dir=data, say=print)
    _compare(out, jobs, peer, with_medseg=not given.peer_only)


class Peer:
    """nnU-Net in its own environment.

    Args:
        python: Its interpreter.
        root: Where its data, results and predictions go.
        device: `cpu` or `cuda`.
        suite: What is run.
    """

    def __init__(self, *, python: Path, root: Path, device: str, suite: Suite) -> None:
        self.python, self.root, self.device, self.suite = python, root, device, suite
        self.threads = usable_cores()
        self.environment = {
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_n_proc_DA": str(max(1, self.threads - 1)),
            "nnUNet_compile": "f",
            "OMP_NUM_THREADS": str(self.threads),
        }

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Convert the dataset, let nnU-Net plan and preprocess it, and give it the folds."""
        _write_raw(self.root / "raw" / DATASET, jobs, suite=self.suite)
        planned = self.root / "preprocessed" / DATASET
        if not (planned / "prepared.json").is_file():
            began = time.monotonic()
            tool = self.python.with_name("nnUNetv2_plan_and_preprocess")
            words = ["-d", "1", "-c", "3d_fullres", "-np", "1", "-npfp", "1"]
            subprocess.run([str(tool), *words], check=True, env={**os.environ, **self.environment})
            write_text_atomically(planned / "prepared.json", json.dumps({"seconds": time.monotonic() - began}))
        write_text_atomically(planned / "splits_final.json", json.dumps(_splits([job.lists for job in jobs]), indent=1))

    def run(self, job: Job, *, budget_s: float) -> None:
        """Train and predict one fold, and score it."""
        folder = self.root / "jobs" / f"fold{job.lists.fold}-seed{job.seed}"
        work = {
            "dataset": DATASET,
            "fold": job.lists.fold,
            "seed": job.seed,
            "device": self.device,
            "threads": self.threads,
            "budget_s": budget_s,
            "environment": self.environment,
            "predictions": str(folder / "predictions"),
            "test": [
                {"case_id": case, "image": str(self.root / "raw" / DATASET / "imagesTr" / f"{case}_0000.nii.gz")}
                for case in job.lists.ids("test")
            ],
        }
        text = json.dumps(work, indent=1)
        spec = folder / "work.json"
        if not (folder / "facts.json").is_file() or spec.read_text(encoding="utf-8") != text:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "predictions").mkdir(parents=True)
            write_text_atomically(spec, text)
            print(f"nnU-Net: fold {job.lists.fold}, seed {job.seed}: begins", flush=True)
            with (folder / "worker.log").open("w", encoding="utf-8") as log:
                command = [str(self.python), str(HERE / "nnunet_worker.py"), str(spec)]
                subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=dict(os.environ))
        score_segmentations(
            folder / "predictions",
            [job.lists],
            suite=self.suite,
            dataset_dir=job.dataset_dir,
            out_dir=folder / "evaluation",
        )

    def pooled(self, jobs: Sequence[Job]) -> Path:
        """All folds scored together, each case once, for the first seed."""
        folder = self.root / "all"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mine = [job for job in jobs if job.seed == self.suite.seeds[0]]
        for job in mine:
            source = self.root / "jobs" / f"fold{job.lists.fold}-seed{job.seed}" / "predictions"
            for file in source.glob("*.nii.gz"):
                shutil.copyfile(file, folder / file.name)
        lists = [job.lists for job in mine]
        score_segmentations(
            folder, lists, suite=self.suite, dataset_dir=mine[0].dataset_dir, out_dir=self.root / "results"
        )
        return self.root / "results"


def _splits(folds: Sequence[FoldLists]) -> list[dict[str, list[str]]]:
    """nnU-Net's split file: it takes a fold by its place in the list."""
    by_fold = {lists.fold: lists for lists in folds}
    splits = []
    for number in range(max(by_fold) + 1):
        lists = by_fold.get(number)
        learnt = sorted(lists.ids("training") + lists.ids("selection")) if lists else []
        splits.append({"train": learnt, "val": lists.ids("selection") if lists else []})
    return splits


def _write_raw(folder: Path, jobs: Sequence[Job], *, suite: Suite) -> None:
    """The cases of all folds in nnU-Net's layout."""
    lists, data = jobs[0].lists, jobs[0].dataset_dir
    entries = {case_id_of(entry): entry for one in ("training", "selection", "test") for entry in getattr(lists, one)}
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for case, entry in sorted(entries.items()):
        image = entry["image"] if isinstance(entry["image"], str) else entry["image"][0]
        _copy(data / image, folder / "imagesTr" / f"{case}_0000.nii.gz")
        _copy(data / str(entry["label"]), folder / "labelsTr" / f"{case}.nii.gz")
    values = get_convention(regions_of(suite, lists) or {"foreground": 1}).values
    modality = next(iter((lists.told.get("modality") or {"0": "MRI"}).values()))
    description = {
        "channel_names": {"0": str(modality)},
        "labels": {"background": 0, **{name: value for value, name in values.items()}},
        "numTraining": len(entries),
        "file_ending": ".nii.gz",
    }
    write_text_atomically(folder / "dataset.json", json.dumps(description, indent=1))


def _copy(source: Path, target: Path) -> None:
    if target.is_file():
        return
    if source.name.endswith(".nii.gz"):
        target.symlink_to(source.resolve())
        return
    volume = read_volume(source)
    write_volume(target, volume.array, volume)


def _compare(out: Path, jobs: Sequence[Job], peer: Peer, *, with_medseg: bool) -> None:
    entry = jobs[0].entry.name
    runs = [read_scores(peer.pooled(jobs), name="nnunet")]
    if with_medseg:
        runs.insert(0, read_scores(out / "medseg" / "results" / entry, name=f"medseg_{entry}"))
    found = compare_runs(runs, metrics=jobs[0].suite.metrics, per_region=True)
    lines = ["| metric | region | run | mean | 95 % CI | worst |", "|---|---|---|---|---|---|"]
    for row in found.rows:
        whole = row.scores.over_cases
        interval = f"{whole.ci95[0]:.4f}-{whole.ci95[1]:.4f}"
        lines.append(
            f"| {row.metric} | {row.region} | {row.run} | {whole.mean:.4f} | {interval} | {row.n_worst or ''} |"
        )
    lines += ["", *(f"- {verdict.metric}, {verdict.region}: {verdict.text}" for verdict in found.verdicts)]
    facts: dict[str, Any] = {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(peer.root.glob("jobs/*/facts.json"))
    }
    for name, told in facts.items():
        lines.append(
            f"- nnU-Net {name}: {told['steps']} steps in {told['train_s']:.0f} s, {told['predict_s']:.0f} s to predict"
        )
    text = "\n".join(lines) + "\n"
    write_text_atomically(out / "peers.md", text)
    write_text_atomically(out / "peers.json", json.dumps({**found.to_json(), "nnunet": facts}, indent=1))
    print(text)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="nnU-Net v2 beside medseg, on the same folds, time and hardware.")
    parser.add_argument("suite", help="name or file of a suite")
    parser.add_argument("--nnunet-python", type=Path, required=True, help="python of an environment with nnunetv2")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--dataset-dir", type=Path, help="the dataset, in place of fetching it")
    parser.add_argument("--budget", help="of each training, such as 25min; the suite's own without")
    parser.add_argument("--folds", type=int, nargs="+", help="which; those of the suite without")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peer-only", action="store_true", help="leave medseg's own trainings out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
