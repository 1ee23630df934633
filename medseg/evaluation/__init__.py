"""Prediction files against reference files, of any tool: matching, scoring, cases.csv and summary.json. No torch."""

from medseg.evaluation.cases import CaseScore, score_case
from medseg.evaluation.folders import evaluate_folders, evaluate_matches
from medseg.evaluation.matching import Matches, match_files
from medseg.evaluation.summary import Summary

__all__ = ["CaseScore", "Matches", "Summary", "evaluate_folders", "evaluate_matches", "match_files", "score_case"]
