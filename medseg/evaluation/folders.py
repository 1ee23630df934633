"""Scoring a folder of predictions against a folder of references."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from medseg.errors import ConfigError, DataError
from medseg.evaluation.calibration import Calibration, measure_calibration
from medseg.evaluation.cases import CaseScore, score_case
from medseg.evaluation.matching import Matches, match_files
from medseg.evaluation.summary import Summary, aggregate_cases, metric_names, write_references, write_summary
from medseg.labels import Declared, LabelConvention, get_convention
from medseg.metrics.lesionwise import LesionRules, get_lesion_rules
from medseg.metrics.surface import SURFACE_DEFINITIONS, SurfaceDefinition
from medseg.record import usable_cores

_MOST_WORKERS = 8  # each holds two label maps


def evaluate_folders(
    pred: str | Path,
    ref: str | Path,
    *,
    out_dir: str | Path,
    regions: Declared | None = None,
    tolerance_mm: float = 1.0,
    surface: SurfaceDefinition = "deepmind",
    lesion_wise: str | None = None,
    probabilities: str | Path | None = None,
    workers: int | None = None,
    show_progress: bool = False,
) -> Summary:
    """Score label maps of any tool against references and write cases.csv and summary.json.

    A case that cannot be read or compared stops nothing: the others are scored and written, and it is named in
    `Summary.failed`. A missing prediction is scored as the worst; a prediction without a reference is listed.

    Args:
        pred: Predictions: a file, a folder of files, or a folder with one folder per case.
        ref: References, likewise.
        out_dir: Where the two files go; made if need be.
        regions: The label convention whose regions are scored, by name or as label values by region; None scores
            each non-zero label value that occurs in any file.
        tolerance_mm: Tolerance of the NSD.
        surface: What a surface element is, see `SURFACE_DEFINITIONS`.
        lesion_wise: Rules by which lesions are scored too, such as `brats2023`; see `LESION_RULES`.
        probabilities: A folder with `<case>.nii.gz`, a channel for each region, whose calibration is measured.
        workers: Cases at once; None takes the machine's cores.
        show_progress: Whether to draw a progress bar on stderr.

    Raises:
        ConfigError: When the convention, the surface definition or the tolerance cannot be.
        DataError: When no files match, no case can be scored, or the results cannot be written.
    """
    _checked_settings(tolerance_mm, surface, regions)
    _checked_extras(regions, lesion_wise, probabilities)
    matches = match_files(Path(pred), Path(ref))
    return evaluate_matches(
        matches,
        out_dir=out_dir,
        regions=regions,
        tolerance_mm=tolerance_mm,
        surface=surface,
        lesion_wise=lesion_wise,
        probabilities=probabilities,
        workers=workers,
        show_progress=show_progress,
    )


def evaluate_matches(
    matches: Matches,
    *,
    out_dir: str | Path,
    regions: Declared | None = None,
    tolerance_mm: float = 1.0,
    surface: SurfaceDefinition = "deepmind",
    lesion_wise: str | None = None,
    probabilities: str | Path | None = None,
    workers: int | None = None,
    show_progress: bool = False,
) -> Summary:
    """Score pairs of files that are already matched; the rest as `evaluate_folders`."""
    convention = _checked_settings(tolerance_mm, surface, regions)
    rules = _checked_extras(regions, lesion_wise, probabilities)
    _make_folder(Path(out_dir))
    score = partial(
        score_case,
        convention=convention,
        tolerance_mm=float(tolerance_mm),
        definition=surface,
        lesion_rules=rules,
    )
    scored, failed = _score_all(matches, score, workers=workers, show_progress=show_progress)
    if not scored:
        msg = f"{out_dir}: none of {len(matches.pairs)} cases could be scored. First: {next(iter(failed.values()))}"
        raise DataError(msg)
    names = tuple(convention.regions) if convention else _label_names(scored)
    if not names:
        msg = f"{out_dir}: every label map is empty, references and predictions. Say which regions: --regions."
        raise DataError(msg)
    by_region, mean = aggregate_cases(scored, names, metrics=metric_names(lesion_wise))
    summary = Summary(
        cases=scored,
        region_names=names,
        regions=by_region,
        mean=mean,
        label_convention=regions,
        surface_definition=surface,
        tolerance_mm=float(tolerance_mm),
        missing_predictions=tuple(case.case_id for case in scored if case.missing),
        failed=failed,
        unmatched_predictions={name: str(path) for name, path in matches.unmatched.items()},
        lesion_rules=lesion_wise,
        calibration=_calibration(matches, scored, convention, probabilities),
    )
    write_summary(summary, Path(out_dir))
    write_references({case: pair[0] for case, pair in matches.pairs.items()}, Path(out_dir))
    return summary


def _checked_settings(tolerance_mm: float, surface: str, regions: Declared | None) -> LabelConvention | None:
    if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
        msg = f"--tolerance-mm: {tolerance_mm} is no tolerance. Wanted a number of mm from 0."
        raise ConfigError(msg)
    if surface not in SURFACE_DEFINITIONS:
        msg = f"--surface: no definition is named {surface!r}. Known: {', '.join(SURFACE_DEFINITIONS)}."
        raise ConfigError(msg)
    return get_convention(regions, where="--regions") if regions is not None else None


def _checked_extras(
    regions: Declared | None, lesion_wise: str | None, probabilities: str | Path | None
) -> LesionRules | None:
    if probabilities is not None and regions is None:
        msg = "--probabilities: channels are regions, and nothing names them. Give --regions too."
        raise ConfigError(msg)
    if probabilities is not None and not Path(probabilities).is_dir():
        msg = f"--probabilities: {probabilities} is no folder. Give the one that medseg predict --probabilities wrote."
        raise ConfigError(msg)
    return get_lesion_rules(lesion_wise, where="--lesion-wise") if lesion_wise is not None else None


def _calibration(
    matches: Matches,
    scored: tuple[CaseScore, ...],
    convention: LabelConvention | None,
    probabilities: str | Path | None,
) -> Calibration | None:
    if probabilities is None or convention is None:
        return None
    references = {case.case_id: matches.pairs[case.case_id][0] for case in scored}
    return measure_calibration(Path(probabilities), references, convention=convention)


def _make_folder(out_dir: Path) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{out_dir}: could not be made ({error.strerror or error}). Choose another folder with -o."
        raise DataError(msg) from error


def _score_all(
    matches: Matches, score: partial[CaseScore], *, workers: int | None, show_progress: bool
) -> tuple[tuple[CaseScore, ...], dict[str, str]]:
    """Scores sorted by case id, and why the other cases have none."""
    scored: dict[str, CaseScore] = {}
    failed: dict[str, str] = {}
    # Threads suffice: kernels, KD-tree and gunzip all release the GIL.
    pool = ThreadPoolExecutor(max_workers=workers or min(_MOST_WORKERS, usable_cores()))
    try:
        futures = {pool.submit(score, name, ref, pred): name for name, (ref, pred) in matches.pairs.items()}
        for future in _watched(futures, show_progress=show_progress):
            try:
                scored[futures[future]] = future.result()
            except DataError as error:
                failed[futures[future]] = str(error)
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(scored[name] for name in sorted(scored)), {name: failed[name] for name in sorted(failed)}


def _watched(futures: dict[Future[CaseScore], str], *, show_progress: bool) -> Iterator[Future[CaseScore]]:
    with Progress(console=Console(stderr=True), disable=not show_progress, transient=True) as progress:
        task = progress.add_task("Scoring", total=len(futures))
        for future in as_completed(futures):
            yield future
            progress.advance(task)


def _label_names(cases: tuple[CaseScore, ...]) -> tuple[str, ...]:
    return tuple(sorted({name for case in cases for name in case.regions}, key=int))
