"""Running means over an epoch, exact across a resume."""

import math
from typing import Any

import ignite.distributed as idist


class EpochMeans:
    """Sums and counts of named values; values that are not finite are left out."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: float) -> None:
        """Take one value into the mean of that name."""
        if math.isfinite(value):
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def clear(self) -> None:
        """Forget all values."""
        self._sums.clear()
        self._counts.clear()

    def over_ranks(self) -> dict[str, float]:
        """The means over all ranks; a collective call when there are several."""
        sums = {name: self._sums[name] for name in sorted(self._sums)}
        counts = {name: float(self._counts[name]) for name in sums}
        if idist.get_world_size() > 1:
            sums = {name: idist.all_reduce(value) for name, value in sums.items()}
            counts = {name: idist.all_reduce(value) for name, value in counts.items()}
        return {name: float(sums[name]) / counts[name] for name in self._sums}

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums and counts."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back sums and counts."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
