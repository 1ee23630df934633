"""Which cases are visits of one patient."""

from __future__ import annotations

import re

_VISITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(brats-[a-z]+-\d{4,6})-\d{3}$",  # BraTS-GLI-00000-000 (2023+): the last number is the visit
        r"^(brats_(?:2013|tcia)_pat\d+)_\d+$",  # brats_tcia_pat105_0283 (2015)
        r"^(brats1[789]_[a-z0-9]+_[a-z0-9]+)_\d+$",  # BraTS19_TCIA01_131_1
        r"^(upenn-gbm-\d+)_\d+$",
        r"^(sub-[a-z0-9]+)_ses-[a-z0-9]+",  # BIDS
    )
)


def patient_of(case_id: str) -> str:
    """The patient of a case, where the naming tells visits apart; else the case itself.

    >>> patient_of("BraTS-GLI-00005-001"), patient_of("hippocampus_001")
    ('BraTS-GLI-00005', 'hippocampus_001')
    """
    return next((match[1] for visit in _VISITS if (match := visit.match(case_id))), case_id)
