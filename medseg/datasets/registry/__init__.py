"""DATASETS: every public dataset that medseg knows. A new one is a spec in one of these files and a line here."""

from __future__ import annotations

import difflib

from medseg.datasets.registry.abdomen import ABDOMEN
from medseg.datasets.registry.brats import BRATS
from medseg.datasets.registry.lung import LUNG
from medseg.datasets.registry.medmnist import MEDMNIST
from medseg.datasets.registry.msd import MSD
from medseg.datasets.specs import DatasetSpec
from medseg.errors import ConfigError

DATASETS: dict[str, DatasetSpec] = {
    **MSD,
    **BRATS,
    **LUNG,
    **ABDOMEN,
    **MEDMNIST,
}


def get_spec(name: str) -> DatasetSpec:
    """The spec of that name.

    Raises:
        ConfigError: When no dataset has it; the message names the nearest.
    """
    if name in DATASETS:
        return DATASETS[name]
    begun = [known for known in DATASETS if name and known.startswith(name.lower())]
    near = begun[:3] or difflib.get_close_matches(name.lower(), DATASETS, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    msg = f"NAME: no dataset is called {name!r}. {hint}All of them: medseg data list."
    raise ConfigError(msg)
