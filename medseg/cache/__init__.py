"""Preprocessed cases on disk, mapped into memory: one copy for all loader processes and ranks of a machine."""

from medseg.cache.fingerprint import fingerprint
from medseg.cache.store import CaseStore

__all__ = ["CaseStore", "fingerprint"]
