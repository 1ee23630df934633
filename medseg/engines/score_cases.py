"""Scoring what an evaluation run wrote, with the metrics of `medseg evaluate`."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events

from medseg.evaluation import Matches, evaluate_matches
from medseg.labels import Declared


class ScoreCases:
    """Scores the label maps in `output_dir` against the references of the cases that ran; writes cases.csv there.

    Args:
        output_dir: Folder where `SaveCased` writes `<case_id>.nii.gz`.
        convention: The label convention whose regions are scored: its name, or label values by region.
        label_key: Key of the reference in a batch.
    """

    def __init__(self, output_dir: str | Path, convention: Declared, *, label_key: str = "label") -> None:
        self.output_dir = Path(output_dir)
        self.convention = convention
        self.label_key = label_key
        self.pairs: dict[str, tuple[Path, Path | None]] = {}

    def attach(self, engine: Engine) -> None:
        """Notes every case of the run and scores them at its end."""
        engine.add_event_handler(Events.STARTED, lambda _: self.pairs.clear())
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._note)
        engine.add_event_handler(Events.COMPLETED, self._score)

    def _note(self, engine: Engine) -> None:
        batch = engine.state.batch
        references = batch[self.label_key].meta["filename_or_obj"]
        for case_id, reference in zip(batch["case_id"], references, strict=True):
            self.pairs[case_id] = (Path(reference), self.output_dir / f"{case_id}.nii.gz")

    def _score(self, engine: Engine) -> None:
        evaluate_matches(
            Matches(pairs=dict(sorted(self.pairs.items())), unmatched={}),
            out_dir=self.output_dir,
            regions=self.convention,
        )
