"""Scoring the detections that an evaluation run wrote, with the metrics of `medseg evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from medseg.evaluation.detection import evaluate_luna16
from medseg.record import write_text_atomically

REFERENCE_FILE = "reference.json"


class ScoreDetections:
    """Scores the `detections.json` files in `output_dir` by LUNA16's rules; writes `summary.json` and tables there.

    The boxes of the cases that ran are the reference; they are left in `reference.json`.

    Args:
        output_dir: Folder where `SaveDetectionsd` writes.
        box_ras_key: Key of the boxes in RAS mm in a batch.
    """

    def __init__(
        self, output_dir: str | Path, *, box_ras_key: str = "box_ras_mm", label_key: str = "box_label"
    ) -> None:
        self.output_dir, self.box_ras_key, self.label_key = Path(output_dir), box_ras_key, label_key
        self.cases: dict[str, dict[str, Any]] = {}

    def attach(self, engine: Engine) -> None:
        """Notes every case of the run and scores them at its end."""
        engine.add_event_handler(Events.STARTED, lambda _: self.cases.clear())
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._note)
        engine.add_event_handler(Events.COMPLETED, self._score)

    def _note(self, engine: Engine) -> None:
        batch = engine.state.batch
        columns = (batch["case_id"], batch[self.box_ras_key], batch[self.label_key])
        for case_id, boxes, labels in zip(*columns, strict=True):
            self.cases[case_id] = {
                "case_id": case_id,
                "image": case_id,
                "box_ras_mm": _plain(boxes),
                "box_label": _plain(labels),
            }

    def _score(self, _: Engine) -> None:
        reference = self.output_dir / REFERENCE_FILE
        entries = [self.cases[case] for case in sorted(self.cases)]
        write_text_atomically(reference, json.dumps({"training": entries}, indent=1))
        evaluate_luna16(self.output_dir, reference, out_dir=self.output_dir)


def _plain(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") else values)
