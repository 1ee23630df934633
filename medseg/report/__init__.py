"""The HTML report of a run: one file that needs no network, made from what the run folder holds."""

from medseg.report.page import write_report

__all__ = ["write_report"]
