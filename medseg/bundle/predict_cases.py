"""Prediction case by case: a case that fails stops none of the others."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.bundle.compose import CONFIG, Composition
from medseg.bundle.failures import user_error
from medseg.bundle.prediction import label_map_of, stamp_of
from medseg.bundle.running import evaluate_step, file_log, monai_parser, running
from medseg.bundle.screen import explain, first_of
from medseg.errors import DataError

_log = logging.getLogger("medseg.run")


def predict_cases(
    composition: Composition, folder: Path, items: list[dict[str, Any]], *, facts: Mapping[str, Any] | None = None
) -> list[Path]:
    """Writes a label map for each item into the folder, with the config beside them.

    Args:
        composition: The inference config.
        folder: Where to.
        items: The cases.
        facts: More for run.json.

    Returns:
        The label maps.

    Raises:
        DataError: With the first case that failed, once all others are written.
    """
    outputs = {item["case_id"]: label_map_of(folder, item) for item in items}
    before = {case: stamp_of(path) for case, path in outputs.items()}
    composition.write(folder / CONFIG)
    failures: dict[str, DataError] = {}
    memory: list[dict[str, Any]] = []
    with running(composition, folder, log="predict.log", verb="predict", resume=False) as record:
        if record is not None and facts:
            record.note(**facts)
        waiting = items
        while waiting:
            problem = _until_failure(composition, waiting, total=len(items), log=folder / "predict.log", memory=memory)
            if memory and record is not None:
                record.note(memory=memory)
            waiting = [item for item in waiting if stamp_of(outputs[item["case_id"]]) == before[item["case_id"]]]
            if not waiting:
                break
            # Cases go through in order and their errors come in order, so the first without a result is the one that
            # failed; the one after it may be written already.
            failed = waiting.pop(0)["case_id"]
            failures[failed] = problem or DataError(f"{failed}: the bundle wrote no label map {outputs[failed].name}.")
            _log.error("failed: %s", failures[failed])
        if failures:
            done = f"({len(items) - len(failures)} of {len(items)} cases are written to {folder})"
            raise first_of(failures, remark=done)
    return list(outputs.values())


def _until_failure(
    composition: Composition, items: list[dict[str, Any]], *, total: int, log: Path, memory: list[dict[str, Any]]
) -> DataError | None:
    """Runs the cases and adds what they took; returns what was wrong with the one that stopped it, if one did."""
    # A tuple, because the parser would rewrite '#' and '@' inside the paths of a list.
    parser = monai_parser(composition, data=tuple(items))
    try:
        evaluate_step(parser, "initialize")
        evaluator = parser.get_parsed_content("evaluator")
        try:
            with _case_progress(evaluator, items, total=total):
                evaluate_step(parser, "run")
        finally:
            memory += getattr(getattr(evaluator, "stream", None), "notes", [])
        evaluate_step(parser, "finalize")
    except Exception as exception:
        error = user_error(exception)
        if not isinstance(error, DataError):
            raise
        explain(error, composition, via=exception, log=log)
        file_log.info("a case failed", exc_info=exception)
        return error
    return None


@contextmanager
def _case_progress(evaluator: Any, items: Sequence[dict[str, Any]], *, total: int) -> Iterator[None]:
    """A bar on a terminal, a line for each case elsewhere; a case counts once it is written."""
    from ignite.engine import Events
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    done = total - len(items)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("predicting", total=total, completed=done)
        counter = itertools.count(done + 1)

        def advance(case_id: str) -> None:
            count = next(counter)
            progress.update(task, completed=count)
            if not console.is_terminal:
                _log.info("%s: predicted (%d of %d)", case_id, count, total)

        told = getattr(evaluator, "on_written", None)
        if told is not None:
            told.append(advance)
        else:  # not medseg's evaluator
            evaluator.add_event_handler(
                Events.ITERATION_COMPLETED, lambda engine: advance(items[engine.state.iteration - 1]["case_id"])
            )
        yield
