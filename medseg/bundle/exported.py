"""Prediction with an exported pipeline: neither torch nor MONAI is imported, but for the first export of a bundle."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from medseg import record
from medseg.bundle.compose import Composition, to_yaml
from medseg.bundle.prediction import label_map_of, refuse_overwriting
from medseg.bundle.run_folder import claim_folder
from medseg.bundle.run_log import run_log
from medseg.bundle.screen import first_of
from medseg.errors import ConfigError, DataError
from medseg.record import RunRecord
from medseg.runtime.behind import Behind
from medseg.runtime.pipeline import FILE, Pipeline, load_pipeline, read_steps
from medseg.runtime.runtimes import INT8, runtime_of

if TYPE_CHECKING:
    from medseg.volumes import Volume

_log = logging.getLogger("medseg.run")
# What an export does not depend on: it is in float32 on a CPU, of the weights that are counted beside the config.
_WITHOUT = {"bundle_root", "output_dir", "ckpt_path", "dataset_dir", "datalist", "fold", "num_workers", "dataset"}
_WITHOUT |= {"runtime", "device", "amp", "amp_dtype", "save_probabilities"}
# The code that an export is made by and of.
_CODE = ("runtime/*.py", "networks/*.py", "inference/network_files.py", "bundle/export.py", "bundle/pipeline.py")
# Of pipeline.json, what only says which file is which.
_NO_SETTINGS = ("version", "network", "int8", "bundle")
_PACKAGE = Path(__file__).resolve().parent.parent


def is_exported(folder: str | os.PathLike[str]) -> bool:
    """Whether this is a folder that `medseg bundle export` wrote with a pipeline."""
    return (Path(folder).expanduser() / FILE).is_file()


def cached_export(composition: Composition, *, weights: Path, runtime: str, trust: bool) -> Path:
    """The exported folder for a config and its weights; written at the first use, which takes torch and a minute.

    Args:
        composition: The composed inference config.
        weights: Its weights file.
        runtime: A name of `medseg.runtime.runtimes.RUNTIMES`.
        trust: As in `medseg.bundle.run.predict`.

    Raises:
        ConfigError: For an unknown runtime or one of 8 bits, a missing library, or a bundle that has steps with no
            counterpart without torch.
    """
    chosen = runtime_of(runtime)
    if runtime == INT8:
        msg = (
            f"{composition.name}: {INT8} wants scans to be calibrated on. Run medseg bundle export {composition.name} "
        )
        msg += "--format openvino --int8 SCANS -o FOLDER, then medseg predict FOLDER SCANS."
        raise ConfigError(msg)
    folder = exports_home() / composition.name / f"{chosen.format}-{_key(composition, weights, chosen.format)}"
    if is_exported(folder):
        return folder
    from medseg.bundle.export import export_composed

    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not is_exported(folder):
            _log.info("exporting %s for %s, once; it is kept in %s", composition.name, chosen.library, folder)
            export_composed(composition, folder, format_=chosen.format, weights=weights, trust=trust)
    return folder


def exports_home() -> Path:
    """Where exports are kept: `$MEDSEG_EXPORTS`, else `~/.cache/medseg/exports`."""
    told = os.environ.get("MEDSEG_EXPORTS")
    return Path(told).expanduser() if told else Path.home() / ".cache" / "medseg" / "exports"


def predict_exported(
    folder: Path,
    inputs: Sequence[str | Path],
    *,
    output_dir: Path,
    runtime: str | None = None,
    probabilities: bool = False,
    items: Sequence[Mapping[str, Any]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Writes a label map for every case, in the scan's own grid.

    A case that cannot be read or written stops none of the others; it is reported at the end.

    Args:
        folder: What `medseg bundle export` wrote.
        inputs: Files, folders, or folders with a folder per case.
        output_dir: Where `<case_id>.nii.gz` goes.
        runtime: What runs the network; the one that changes least when None.
        probabilities: Whether to write the probabilities too.
        items: The cases themselves, in place of `inputs`.
        facts: More for run.json.

    Returns:
        The label maps.

    Raises:
        MedsegError: For what a user can mend, a failed case included.
    """
    from medseg.datasets import find_cases

    steps = read_steps(folder)
    found = find_cases([Path(i) for i in inputs], modalities=steps["modalities"]) if items is None else items
    cases = [dict(item) for item in found]
    refuse_overwriting(cases, output_dir)
    output = output_dir.expanduser().resolve()
    claim_folder(output, "predict")
    with run_log(output / "predict.log"):
        run = RunRecord.start(output, verb="predict", bundle=str(steps.get("bundle", folder.name)), **(facts or {}))
        status = "failed"
        try:
            pipeline = load_pipeline(folder, runtime=runtime)
            run.note(**_facts(folder, pipeline))
            written = _predict(pipeline, cases, output, probabilities=probabilities)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            run.finish(status)
    return written


def _predict(pipeline: Pipeline, cases: list[dict[str, Any]], output: Path, *, probabilities: bool) -> list[Path]:
    """Case by case; the next one is read and the last one written while the network is busy with this one."""
    failures: dict[str, DataError] = {}
    written = itertools.count(1)

    def write(item: dict[str, Any], like: Volume, labels: Any, found: Any) -> None:
        with _noting(item["case_id"], failures):
            _write(item, like, labels, found, output=output)
            _log.info("%s: predicted (%d of %d)", item["case_id"], next(written), len(cases))

    with ThreadPoolExecutor(1, thread_name_prefix="medseg-read") as reader, Behind() as behind:
        for item, reading in zip(cases, _one_ahead(reader, pipeline, cases), strict=True):
            with _noting(item["case_id"], failures):
                image, like = reading.result()
                found = pipeline.probabilities(image, like.affine_ras_mm)
                labels = pipeline.paint(found)
                behind.hand_over(functools.partial(write, item, like, labels, found if probabilities else None))
    if failures:
        in_order = {item["case_id"]: failures[item["case_id"]] for item in cases if item["case_id"] in failures}
        done = f"({len(cases) - len(failures)} of {len(cases)} cases are written to {output})"
        raise first_of(in_order, remark=done)
    return [label_map_of(output, item) for item in cases]


@contextmanager
def _noting(case_id: str, failures: dict[str, DataError]) -> Iterator[None]:
    """Lets the other cases go on when this one fails."""
    try:
        yield
    except DataError as error:
        failures[case_id] = error
        _log.error("failed: %s", error)


def _one_ahead(
    reader: ThreadPoolExecutor, pipeline: Pipeline, cases: Sequence[dict[str, Any]]
) -> Iterator[Future[tuple[Any, Volume]]]:
    """Each case being read; the next one is begun when it is handed out."""
    waiting: Future[tuple[Any, Volume]] | None = None
    for number, item in enumerate(cases):
        reading = waiting or reader.submit(_read, pipeline, item)
        waiting = reader.submit(_read, pipeline, cases[number + 1]) if number + 1 < len(cases) else None
        yield reading


def _read(pipeline: Pipeline, item: dict[str, Any]) -> tuple[Any, Volume]:
    files = item["image"] if isinstance(item["image"], list) else [item["image"]]
    return pipeline.read(files, channels=item.get("channels"), case=item["case_id"])


def _write(item: dict[str, Any], like: Volume, labels: Any, found: Any, *, output: Path) -> None:
    """The label map, and the probabilities where they are given."""
    import numpy as np

    from medseg.volumes import write_label_map, write_volume

    path = label_map_of(output, item)
    if found is not None:
        (output / "probabilities").mkdir(exist_ok=True)
        write_volume(output / "probabilities" / path.name, np.moveaxis(found, 0, -1), like=like)
    write_label_map(path, labels, like=like)


def _facts(folder: Path, pipeline: Pipeline) -> dict[str, Any]:
    """What run.json says about what ran: everything that can change a mask."""
    steps = pipeline.steps
    return {
        "runtime": pipeline.runtime,
        "runtime_effect": runtime_of(pipeline.runtime).effect,
        "runtime_deviation": pipeline.deviation,
        "exported": {"folder": str(folder), "pipeline_sha256": _sha256(folder / FILE)},
        "can_change_masks": {key: value for key, value in steps.items() if key not in _NO_SETTINGS},
    }


def _key(composition: Composition, weights: Path, format_: str) -> str:
    """Of everything that the export depends on."""
    config = {key: value for key, value in composition.config.items() if key not in _WITHOUT}
    code = [_sha256(path) for pattern in _CODE for path in sorted(_PACKAGE.glob(pattern))]
    parts = [format_, to_yaml(config), _sha256(weights), json.dumps(record.versions()), *code]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})."
        raise DataError(msg) from error
