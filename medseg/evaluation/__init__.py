"""Prediction files against reference files, of any tool: matching, scoring, cases.csv and summary.json. No torch.

Names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.evaluation.cases import CaseScore, score_case
    from medseg.evaluation.folders import evaluate_folders, evaluate_matches
    from medseg.evaluation.matching import Matches, match_files
    from medseg.evaluation.summary import Summary

__all__ = ["CaseScore", "Matches", "Summary", "evaluate_folders", "evaluate_matches", "match_files", "score_case"]

# Compiled kernels and scipy take half a second to import: what does not use them must not wait for them.
_HOMES = {
    "CaseScore": "medseg.evaluation.cases",
    "Matches": "medseg.evaluation.matching",
    "Summary": "medseg.evaluation.summary",
    "evaluate_folders": "medseg.evaluation.folders",
    "evaluate_matches": "medseg.evaluation.folders",
    "match_files": "medseg.evaluation.matching",
    "score_case": "medseg.evaluation.cases",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name]), name)
