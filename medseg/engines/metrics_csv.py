"""metrics.csv: one row per epoch."""

import csv
import io
from pathlib import Path
from typing import Any

import torch

from medseg.engines.distributed import is_main
from medseg.engines.events import RunEvents
from medseg.record import peak_memory_mb, write_text_atomically

_FIRST, _LAST = ("epoch", "iteration"), ("seconds", "peak_memory_mb", "peak_gpu_memory_mb")


class MetricsCsv:
    """Keep `<run_dir>/metrics.csv`: epoch, iteration, the epoch's means, its validation metrics, seconds, memory.

    The file is replaced as a whole after each epoch, so that it never ends in half a row. On a resume, the rows
    after the restored epoch are dropped. Numbers are written so that reading them gives the same bits.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: str | Path) -> None:
        self.path = Path(run_dir) / "metrics.csv"
        self._rows: list[dict[str, str]] = []

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's READY and REPORT phases."""
        trainer.add_event_handler(RunEvents.READY, self._open)
        trainer.add_event_handler(RunEvents.REPORT, self._add)

    def _open(self, trainer: Any) -> None:
        self._rows = []
        if trainer.closed_epochs and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]
            self._rows = [row for row in rows if int(row["epoch"]) <= trainer.closed_epochs]

    def _add(self, trainer: Any) -> None:
        state = trainer.state
        row: dict[str, Any] = {"epoch": state.epoch, "iteration": state.iteration}
        row |= state.epoch_means | state.val_metrics
        row |= {"seconds": round(state.epoch_seconds, 3), "peak_memory_mb": round(peak_memory_mb(), 1)}
        if torch.cuda.is_available() and state.device.type == "cuda":
            row["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated(state.device) / 2**20, 1)
        self._rows.append({name: repr(value) for name, value in row.items()})
        if is_main():
            write_text_atomically(self.path, self._text())

    def _text(self) -> str:
        seen = list(dict.fromkeys(name for row in self._rows for name in row))
        middle = [name for name in seen if name not in _FIRST + _LAST]
        names = [*_FIRST, *middle, *(name for name in _LAST if name in seen)]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue()
