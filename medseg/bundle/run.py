"""Training and prediction: the one place where a composed config meets torch and MONAI."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.bundle.check import require_clean
from medseg.bundle.compose import CONFIG, Composition, compose
from medseg.bundle.exported import cached_export, is_exported, predict_exported
from medseg.bundle.predict_cases import predict_cases
from medseg.bundle.prediction import modalities_of, refuse_overwriting
from medseg.bundle.run_folder import RunInterrupted, claim_folder, new_run_dir, rank, read_run
from medseg.bundle.running import evaluate_step, monai_parser, places_of, running
from medseg.bundle.split_record import ids_of, write_split
from medseg.bundle.trust import remember, require_trust
from medseg.bundle.weights import find_weights, run_of
from medseg.record import RunRecord
from medseg.runtime.runtimes import TORCH

_log = logging.getLogger("medseg.run")


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
    return predict_cases(
        composition.with_values({**places_of(composition, folder), **values}),
        folder,
        cases,
        facts={"presets": [str(name) for name in presets], "overrides": list(overrides)},
    )


def _train(composition: Composition, folder: Path, *, resume: bool) -> None:
    composition = composition.with_values({**places_of(composition, folder), "resume": False})
    if rank() == 0 and not resume:
        composition.write(folder / CONFIG)
    with running(composition, folder, log="train.log", verb="train", resume=resume) as record:
        parser = monai_parser(composition.with_values({"resume": resume}))
        _log.info("run folder: %s", folder)
        try:
            evaluate_step(parser, "initialize")
            if record is not None:
                _note_split(parser, record)
            if resume:
                trainer = parser.get_parsed_content("train::trainer")
                if record is not None:
                    _keep_config(composition, record, trainer=trainer)
            for step in ("run", "finalize"):
                evaluate_step(parser, step)
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
