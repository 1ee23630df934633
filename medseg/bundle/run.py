"""Training and prediction: the one place where a composed config meets torch and MONAI."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.bundle.check import require_clean
from medseg.bundle.compose import CONFIG, Composition, compose
from medseg.bundle.documents import read_document
from medseg.bundle.exported import cached_export, is_exported, predict_exported
from medseg.bundle.failures import user_error
from medseg.bundle.light_imports import light_imports
from medseg.bundle.prediction import label_map_of, mask_settings, modalities_of, refuse_overwriting, stamp_of
from medseg.bundle.run_folder import RunInterrupted, claim_folder, new_run_dir, rank, read_run
from medseg.bundle.run_log import run_log, silence_libraries
from medseg.bundle.screen import explain, first_of
from medseg.bundle.split_record import ids_of, write_split
from medseg.bundle.trust import remember, require_trust
from medseg.bundle.weights import find_weights, run_of
from medseg.errors import ConfigError, DataError
from medseg.record import RunRecord, usable_cores
from medseg.runtime.runtimes import TORCH

_log = logging.getLogger("medseg.run")
# Not below "medseg": what it says goes into the log file only.
_file_log = logging.getLogger("run")


def train(
    bundle: str | os.PathLike[str],
    *,
    presets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    run_dir: Path | None = None,
    trust: bool = False,
) -> Path:
    """Trains a bundle.

    Args:
        bundle: Name or path.
        presets: Names or paths of presets.
        overrides: `KEY=VALUE` tokens.
        run_dir: The run folder; `runs/<bundle>/<timestamp>` when None.
        trust: Whether to run a bundle that can execute more than is known to be harmless.

    Returns:
        The run folder.

    Raises:
        MedsegError: For what a user can mend.
        RunInterrupted: On Ctrl-C; the run can be resumed.
    """
    composition = compose(bundle, "train", presets=presets, overrides=overrides)
    on_trust = require_trust(composition, trust=trust)
    require_clean(composition)
    folder = new_run_dir(composition.name, run_dir)
    with _trusted_run(folder, wanted=on_trust):
        _train(composition, folder, resume=False)
    return folder


def resume(run: Path, *, overrides: Sequence[str] = (), bundle: str | None = None, trust: bool = False) -> Path:
    """Goes on with a run from its last checkpoint.

    Args:
        run: The run folder.
        overrides: `KEY=VALUE` tokens; only more epochs, the device, the workers and the data's folder may change.
        bundle: The bundle, when it has moved since.
        trust: As in `train`.

    Returns:
        The run folder.

    Raises:
        MedsegError: For what a user can mend.
        RunInterrupted: On Ctrl-C; the run can be resumed.
    """
    composition = read_run(run, overrides=overrides, bundle=bundle)
    on_trust = require_trust(composition, trust=trust)
    require_clean(composition)
    folder = run.expanduser().resolve()
    with _trusted_run(folder, wanted=on_trust):
        _train(composition, folder, resume=True)
    return folder


@contextmanager
def _trusted_run(folder: Path, *, wanted: bool) -> Iterator[None]:
    """Lets the run that a trusted bundle makes resume and predict on the same trust."""
    try:
        yield
    finally:
        if wanted and rank() == 0 and (folder / CONFIG).is_file():
            remember(read_run(folder))


def predict(
    bundle: str | os.PathLike[str],
    inputs: Sequence[str | Path],
    *,
    output_dir: Path,
    weights: Path | None = None,
    presets: Sequence[str] = (),
    overrides: Sequence[str] = (),
    probabilities: bool = False,
    trust: bool = False,
    items: Sequence[Mapping[str, Any]] | None = None,
    runtime: str | None = None,
) -> list[Path]:
    """Writes a label map for every case, in the scan's own grid.

    A case that cannot be read or written stops none of the others; it is reported at the end.

    Args:
        bundle: Name or path.
        inputs: Files, folders, or folders with a folder per case.
        output_dir: Where `<case_id>.nii.gz` goes.
        weights: A weights file or a run folder; the bundle's own when None. Weights in a run folder bring the
            run's network, modalities and other values that common.yaml shares.
        presets: Names or paths of presets.
        overrides: `KEY=VALUE` tokens.
        probabilities: Whether to write the probabilities too.
        trust: As in `train`.
        items: The cases themselves, as `medseg.datasets` describes them, in place of `inputs`.
        runtime: What runs the network: the config's when None, else torch, or an exported network's runtime, which
            is written and checked against torch at its first use.

    Returns:
        The label maps.

    Raises:
        MedsegError: For what a user can mend, a failed case included.
    """
    from medseg.datasets import find_cases

    if is_exported(bundle):
        return predict_exported(
            Path(bundle), inputs, output_dir=output_dir, runtime=runtime, probabilities=probabilities, items=items
        )
    composition = compose(bundle, "inference", presets=presets, overrides=overrides, run=run_of(weights))
    require_trust(composition, trust=trust)
    require_clean(composition)
    if items is None:
        items = find_cases([Path(i) for i in inputs], modalities=modalities_of(composition))
    cases = [dict(item) for item in items]
    refuse_overwriting(cases, output_dir)
    wanted = runtime or composition.config.get("runtime", TORCH)
    if wanted != TORCH:
        own = composition.config.get("ckpt_path") if any(t.startswith("ckpt_path=") for t in overrides) else None
        path = find_weights(composition.bundle_root, weights or (Path(str(own)) if own else None))
        folder = cached_export(composition, weights=path, runtime=wanted, trust=trust)
        return predict_exported(
            folder, (), output_dir=output_dir, runtime=wanted, probabilities=probabilities, items=cases
        )
    values: dict[str, Any] = {"dataset::data": cases}
    if weights is not None or not any(token.startswith("ckpt_path=") for token in overrides):
        values["ckpt_path"] = str(find_weights(composition.bundle_root, weights))
    if probabilities:
        values["save_probabilities"] = True
    folder = output_dir.expanduser().resolve()
    claim_folder(folder, "predict")
    return _predict(composition.with_values({**_places(composition, folder), **values}), folder, cases)


def _train(composition: Composition, folder: Path, *, resume: bool) -> None:
    composition = composition.with_values({**_places(composition, folder), "resume": False})
    if rank() == 0 and not resume:
        composition.write(folder / CONFIG)
    with _running(composition, folder, log="train.log", verb="train", resume=resume) as record:
        parser = _parser(composition.with_values({"resume": resume}))
        _log.info("run folder: %s", folder)
        try:
            _evaluate(parser, "initialize")
            if record is not None:
                _note_split(parser, record)
            if resume:
                trainer = parser.get_parsed_content("train::trainer")
                if record is not None:
                    _keep_config(composition, record, trainer=trainer)
            for step in ("run", "finalize"):
                _evaluate(parser, step)
        except KeyboardInterrupt as interrupt:
            raise RunInterrupted(folder) from interrupt


def _note_split(parser: Any, record: RunRecord) -> None:
    """Records which cases train and which choose the weights, where the config lists them where medseg's do."""
    lists = {}
    for name, section in (("training", "train"), ("validation", "validate")):
        id_ = f"{section}::dataset::data"
        ids = ids_of(parser.get_parsed_content(id_)) if parser.get(id_) is not None else None
        if ids is not None:
            lists[name] = ids
    if lists:
        record.note(split=write_split(record.path.parent, lists))


def _keep_config(composition: Composition, record: RunRecord, *, trainer: Any) -> None:
    """Writes a resumed run's config once its trainer has the old state and a batch, so that a bad one is forgotten."""
    from ignite.engine import Engine, Events

    def keep(*_: Any) -> None:
        if isinstance(trainer, Engine):
            trainer.remove_event_handler(keep, Events.ITERATION_STARTED)
        record.note(config_sha256=composition.write(record.path.with_name(CONFIG)))

    if isinstance(trainer, Engine):
        trainer.add_event_handler(Events.ITERATION_STARTED, keep)
    else:
        keep()


def _predict(composition: Composition, folder: Path, items: list[dict[str, Any]]) -> list[Path]:
    outputs = {item["case_id"]: label_map_of(folder, item) for item in items}
    before = {case: stamp_of(path) for case, path in outputs.items()}
    composition.write(folder / CONFIG)
    failures: dict[str, DataError] = {}
    with _running(composition, folder, log="predict.log", verb="predict", resume=False):
        waiting = items
        while waiting:
            problem = _predict_cases(composition, waiting, total=len(items), log=folder / "predict.log")
            waiting = [item for item in waiting if stamp_of(outputs[item["case_id"]]) == before[item["case_id"]]]
            if not waiting:
                break
            # Cases go through in order, so the first without a result is the one that failed.
            failed = waiting.pop(0)["case_id"]
            failures[failed] = problem or DataError(f"{failed}: the bundle wrote no label map {outputs[failed].name}.")
            _log.error("failed: %s", failures[failed])
        if failures:
            done = f"({len(items) - len(failures)} of {len(items)} cases are written to {folder})"
            raise first_of(failures, remark=done)
    return list(outputs.values())


def _predict_cases(composition: Composition, items: list[dict[str, Any]], *, total: int, log: Path) -> DataError | None:
    """Runs the cases; returns what was wrong with the one that stopped it, if one did."""
    # A tuple, because the parser would rewrite '#' and '@' inside the paths of a list.
    parser = _parser(composition, data=tuple(items))
    try:
        _evaluate(parser, "initialize")
        with _case_progress(parser.get_parsed_content("evaluator"), items, total=total):
            _evaluate(parser, "run")
        _evaluate(parser, "finalize")
    except Exception as exception:
        error = user_error(exception)
        if not isinstance(error, DataError):
            raise
        explain(error, composition, via=exception, log=log)
        _file_log.info("a case failed", exc_info=exception)
        return error
    return None


@contextmanager
def _running(
    composition: Composition, folder: Path, *, log: str, verb: str, resume: bool
) -> Iterator[RunRecord | None]:
    """The record (None on silent ranks) and the log around a run; turns what a user can mend into a MedsegError."""
    with run_log(folder / log if rank() == 0 else None):
        _start_torch()
        record = _start_record(composition, folder, verb=verb, resume=resume) if rank() == 0 else None
        status = "failed"
        try:
            yield record
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except Exception as exception:
            error = user_error(exception)
            _file_log.info("the run failed", exc_info=exception)
            if error is None or error is exception:
                explain(exception, composition, log=folder / log)
                raise
            explain(error, composition, via=exception, log=folder / log)
            raise error from exception
        finally:
            if record is not None:
                _finish_record(record, status)


def _start_record(composition: Composition, folder: Path, *, verb: str, resume: bool) -> RunRecord:
    import torch

    device = _device(composition.config)
    facts = {"device_name": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return RunRecord.start(
        folder,
        verb=verb,
        bundle=composition.name,
        config_sha256=hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest(),
        seed=composition.config.get("seed"),
        device=device,
        resume=resume,
        **facts,
        **({"runtime": TORCH, "can_change_masks": mask_settings(composition)} if verb == "predict" else {}),
    )


def _finish_record(record: RunRecord, status: str) -> None:
    import torch

    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    try:
        record.finish(status, **({"gpu_peak_memory_mb": round(gpu, 1)} if gpu else {}))
    except DataError as error:
        # A full disk ended the run already; its own error matters more than this one.
        _log.warning("%s", error)


def _start_torch() -> None:
    """Imports torch and MONAI, with huge pages and every core, and keeps their chatter off the terminal."""
    # Huge pages for tensors: 0.97 -> 0.77 s for a SegResNet forward pass on a CPU.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    light_imports()
    import monai.bundle  # noqa: F401

    silence_libraries()


def _parser(composition: Composition, *, data: object = None) -> Any:
    """MONAI's parser on the config, with the bundle's metadata."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(copy.deepcopy(composition.config))
    parser.read_meta(read_document(composition.bundle_root / "configs" / "metadata.json").content)
    if data is not None:
        parser["dataset::data"] = data
    parser.parse(reset=True)
    return parser


def _evaluate(parser: Any, step: str) -> None:
    """Evaluates a list of expressions in order, as monai.bundle.ConfigWorkflow does."""
    expressions = parser.get(step)
    if expressions is None:
        return
    names = [f"{step}::{i}" for i in range(len(expressions))] if isinstance(expressions, list) else [step]
    for id_ in names:
        parser.get_parsed_content(id_)
        silence_libraries()


@contextmanager
def _case_progress(evaluator: Any, items: Sequence[dict[str, Any]], *, total: int) -> Iterator[None]:
    """A bar on a terminal, a line for each case elsewhere."""
    from ignite.engine import Events
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    done = total - len(items)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("predicting", total=total, completed=done)

        def advance(engine: Any) -> None:
            count = done + int(engine.state.iteration)
            progress.update(task, completed=count)
            if not console.is_terminal:
                _log.info("%s: predicted (%d of %d)", items[count - done - 1]["case_id"], count, total)

        evaluator.add_event_handler(Events.ITERATION_COMPLETED, advance)
        yield


def _places(composition: Composition, folder: Path) -> dict[str, Any]:
    if "#" in str(composition.bundle_root):
        msg = f"{composition.bundle_root}: MONAI turns every '#' of a path into '::'. Move the bundle."
        raise ConfigError(msg)
    return {"bundle_root": str(composition.bundle_root), "output_dir": str(folder)}


def _device(config: dict[str, Any]) -> str:
    """The device that the config comes to, for the record."""
    from monai.bundle import ConfigParser

    wanted = {key: config[key] for key in ("imports", "device") if key in config}
    try:
        return str(ConfigParser(copy.deepcopy(wanted)).get_parsed_content("device"))
    except (KeyError, ValueError, RuntimeError):
        return str(config.get("device"))
