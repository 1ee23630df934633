"""Published results, to be seen beside our own: never without their protocol."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from medseg.bundle.documents import read_document
from medseg.errors import DataError

FILE = Path(__file__).with_name("anchors.yaml")
_KEYS = {"dataset", "metric", "region", "value", "model", "protocol", "split", "source"}


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """One published number.

    Attributes:
        dataset: As `medseg data list` calls it.
        metric: As in our tables.
        region: As in our tables; `mean of regions` for their mean.
        value: In the metric's unit; shares from 0 to 1.
        model: What reached it.
        protocol: How it was measured, in words that a suite can repeat.
        split: Which cases.
        source: Where it stands.
    """

    dataset: str
    metric: str
    region: str
    value: float
    model: str
    protocol: str
    split: str
    source: str


@lru_cache(maxsize=1)
def read_anchors(file: Path = FILE) -> tuple[Anchor, ...]:
    """All of them.

    Raises:
        DataError: When one lacks a field.
    """
    found = []
    for number, row in enumerate(read_document(file).content.get("anchors", [])):
        if not isinstance(row, dict) or set(row) != _KEYS or not isinstance(row["value"], int | float):
            msg = f"{file}: anchor {number}: wanted {', '.join(sorted(_KEYS))}, value a number."
            raise DataError(msg)
        found.append(Anchor(**row))
    return tuple(found)


def anchors_for(dataset: str) -> list[Anchor]:
    """The published results on a dataset."""
    return [anchor for anchor in read_anchors() if anchor.dataset == dataset]


def differs(anchor: Anchor, *, protocol: str | None) -> bool:
    """Whether a number of ours under this protocol may not simply be held against the anchor."""
    return protocol is None or protocol != anchor.protocol
