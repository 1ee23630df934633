"""Calibration in a suite: what its bundles must offer, and the curves of all folds and seeds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medseg.benchmark.scoring import read_json, regions_of
from medseg.bundle.compose import compose
from medseg.errors import ConfigError
from medseg.evaluation.calibration import Calibration, read_calibration
from medseg.labels import get_convention
from medseg.metrics.calibration import merge

if TYPE_CHECKING:
    from medseg.benchmark.job import Job

SWITCH = "save_probabilities"


def check_calibration(job: Job) -> None:
    """Refuse, before anything runs, a job whose probabilities could not be held against the suite's regions.

    Raises:
        ConfigError: When the bundle writes none, or its channels are other regions or in another order.
    """
    suite, entry = job.suite, job.entry
    where = f"{suite.source}: calibration: {entry.name}"
    config = compose(entry.bundle, "inference", presets=entry.presets).config
    if SWITCH not in config:
        msg = f"{where}: {entry.bundle} has no {SWITCH}, so it writes no probabilities. Take calibration out."
        raise ConfigError(msg)
    told = regions_of(suite, job.lists)
    if told is None:
        msg = f"{where}: channels are regions, and nothing names them. Say which regions there are."
        raise ConfigError(msg)
    channels = {**config, **entry.overrides}.get("regions")
    wanted = list(get_convention(told, where=f"{suite.source}: regions").regions)
    if channels != wanted:
        msg = f"{where}: the network's channels are {channels}, the regions {wanted}. Score those, in their order."
        raise ConfigError(msg)


def pooled_calibration(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """By contestant, the calibration over the tested voxels of all folds and seeds, as `summary.json` has it."""
    found = {}
    for entry in jobs[0].suite.entries:
        mine = [job for job in jobs if job.entry.name == entry.name]
        parts = [part for part in map(_told, mine) if part is not None]
        tested = {case for job in mine if _told(job) is None for case in job.lists.ids("test")}
        without = tested.union(*(part.missing for part in parts))
        if parts:
            regions = {name: merge([part.regions[name] for part in parts]) for name in parts[0].regions}
            found[entry.name] = Calibration(regions=regions, missing=tuple(sorted(without))).to_json()
    return found


def _told(job: Job) -> Calibration | None:
    """The job's calibration; None where its training failed."""
    told = read_json(job.folder / "evaluation" / "summary.json").get("calibration")
    return read_calibration(told) if told else None


def calibration_lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of `table.md`."""
    if not found:
        return []
    header = "| entry | region | ECE | largest error of a bin | Brier |"
    lines = ["", "## Calibration", "", header, "|---|---|---|---|---|"]
    for entry, told in found.items():
        for region, scores in told["regions"].items():
            cells = [entry, region, *(f"{scores[key]:.4f}" for key in ("ece", "mce", "brier"))]
            lines.append("| " + " | ".join(cells) + " |")
    return lines
