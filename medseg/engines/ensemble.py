"""Several networks that predict together, such as those of a cross-validation's folds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch

from medseg.engines.weights import load_weights

_OF_RUN = "model.pt"


def ensemble(network: torch.nn.Module, weights: Sequence[str | Path]) -> torch.nn.Module:
    """The network and a copy of it for each further weights file, as a `ModuleList`; the network itself without any.

    `BoxDetector` takes such a list and makes one set of the boxes of all, by weighted box clustering.

    Args:
        network: The first; its own weights are loaded by somebody else, before or after.
        weights: Weights files, or run folders with a model.pt.

    Raises:
        WeightsError: A file is missing, damaged, or holds the weights of another network.
    """
    if not weights:
        return network
    others = [load_weights(copy.deepcopy(network), _file(Path(path).expanduser())) for path in weights]
    return torch.nn.ModuleList([network, *others])


def _file(path: Path) -> Path:
    return path / _OF_RUN if path.is_dir() else path
