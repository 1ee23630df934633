"""Whether the scores on a model card come out again: the suite that made them, run anew, and each score compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.benchmark.suite import find_suite
from medseg.bundle.documents import read_document
from medseg.bundle.find import find_bundle
from medseg.errors import ConfigError, DataError

FILE = "docs/scores.yaml"
_KEYS = {"suite", "entry", "scores", "test_ids_sha256"}
_SCORE_KEYS = {"metric", "region", "mean", "within"}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One score of a model card.

    Attributes:
        metric: As in a suite's table.
        region: As there; `nodule` for a detector's CPM.
        mean: Over the tested cases.
        within: How far another run may be off, either way, in the metric's unit.
    """

    metric: str
    region: str
    mean: float
    within: float


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a model card says.

    Attributes:
        file: Where it stands.
        suite: The suite file that makes the scores.
        entry: The contestant of that suite.
        scores: Its scores.
        test_ids_sha256: By fold (`fold 0`), the hash of the tested ids, where the card gives it.
    """

    file: Path
    suite: Path
    entry: str
    scores: tuple[Claim, ...]
    test_ids_sha256: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A score, and what came out this time; None where the suite has no such score."""

    claim: Claim
    found: float | None

    @property
    def holds(self) -> bool:
        """Whether it is within what the card allows."""
        return self.found is not None and abs(self.found - self.claim.mean) <= self.claim.within + 1e-12


def read_claims(bundle: str) -> Claims:
    """What a bundle's `docs/scores.yaml` says.

    Raises:
        ConfigError: When there is none, or it lacks something.
    """
    root = find_bundle(bundle)
    file = root / FILE
    if not file.is_file():
        msg = f"{root.name}: has no {FILE}, so its card makes no claim that can be run again. See docs/benchmarking.md."
        raise ConfigError(msg)
    content = read_document(file).content
    unknown = sorted(set(content) - _KEYS)
    if unknown or not {"suite", "entry", "scores"} <= set(content):
        msg = (
            f"{file}: {', '.join(unknown) or 'something is missing'}. Wanted suite, entry, scores and test_ids_sha256."
        )
        raise ConfigError(msg)
    beside = file.parent / str(content["suite"])
    scores = content["scores"]
    if not isinstance(scores, list) or not scores:
        msg = f"{file}: scores: {scores!r}. Wanted a list of {', '.join(sorted(_SCORE_KEYS))}."
        raise ConfigError(msg)
    return Claims(
        file=file,
        suite=beside if beside.is_file() else find_suite(str(content["suite"])),
        entry=str(content["entry"]),
        scores=tuple(_claim(row, file) for row in scores),
        test_ids_sha256=dict(content.get("test_ids_sha256") or {}),
    )


def compare(claims: Claims, out: Path) -> list[Compared]:
    """The claims against a suite's `results.json`.

    Args:
        claims: Of the card.
        out: The suite's folder.

    Raises:
        DataError: When other cases were tested, or cases failed.
    """
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for fold, wanted in claims.test_ids_sha256.items():
        got = results["splits"].get(fold, {}).get("test", {}).get("ids_sha256")
        if got != wanted:
            msg = f"{claims.file}: {fold}: other cases were tested than those of the card ({got} in place of {wanted})."
            raise DataError(msg)
    if results["failures"]:
        first = next(iter(results["failures"]))
        msg = f"{out}: {first} failed at least in part, which says nothing about the card. Mend that and start again."
        raise DataError(msg)
    found = _means(results, claims.entry)
    return [Compared(claim=claim, found=found.get((claim.metric, claim.region))) for claim in claims.scores]


def require_held(rows: list[Compared], *, bundle: str) -> None:
    """Refuse a card that drifted.

    Raises:
        DataError: With every score that does not hold.
    """
    drifted = [row for row in rows if not row.holds]
    if drifted:
        told = "; ".join(
            f"{row.claim.metric}, {row.claim.region}: card {row.claim.mean:g} +- {row.claim.within:g}, now "
            + ("none" if row.found is None else f"{row.found:.4f}")
            for row in drifted
        )
        msg = f"{bundle}: {len(drifted)} of {len(rows)} scores of the card do not hold: {told}. Mend code or card."
        raise DataError(msg)


def shown(rows: list[Compared], *, say: Callable[[str], None]) -> None:
    """A line for each score."""
    say("| metric | region | card | within | now | |")
    say("|---|---|---|---|---|---|")
    for row in rows:
        now = "" if row.found is None else f"{row.found:.4f}"
        verdict = "holds" if row.holds else "**drifted**"
        claim = row.claim
        say(f"| {claim.metric} | {claim.region} | {claim.mean:.4f} | {claim.within:g} | {now} | {verdict} |")


def _means(results: Mapping[str, Any], entry: str) -> dict[tuple[str, str], float]:
    if results["task"] == "detection":
        row = results["detection"].get(entry)
        return {("cpm", "nodule"): row["cpm"]} if row else {}
    rows = [row for row in results["comparison"]["rows"] if row["run"] == entry]
    return {(row["metric"], row["region"]): row["scores"]["over_cases"]["mean"] for row in rows}


def _claim(row: Any, file: Path) -> Claim:
    right = isinstance(row, dict) and set(row) == _SCORE_KEYS
    if not right or not all(isinstance(row[key], int | float) for key in ("mean", "within")):
        msg = f"{file}: scores: {row!r}. Wanted {', '.join(sorted(_SCORE_KEYS))}, mean and within as numbers."
        raise ConfigError(msg)
    if re.fullmatch(r"\s*", str(row["metric"])) or row["within"] < 0:
        msg = f"{file}: scores: {row!r}. Wanted a metric, and within from 0."
        raise ConfigError(msg)
    return Claim(
        metric=str(row["metric"]), region=str(row["region"]), mean=float(row["mean"]), within=float(row["within"])
    )
