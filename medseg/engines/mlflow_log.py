"""MLflow: a run's config, its numbers epoch by epoch, and how it ended, in a tracking store."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from medseg.engines.distributed import is_main
from medseg.engines.events import RunEvents
from medseg.engines.interrupt import Interrupted
from medseg.errors import ConfigError
from medseg.record import write_text_atomically

_log = logging.getLogger(__name__)
_MOST_CHARACTERS = 500  # of a parameter; older servers take no more
_ID = "mlflow.txt"


class MlflowLog:
    """Keep a run in an MLflow tracking store; a resumed run goes on in the same one.

    Top-level values of `<run_dir>/config.yaml` become parameters, the epoch's means `train.*` and its validation
    `val.*`. A store that fails while the run goes on costs its entries, not the run.

    Args:
        run_dir: the run folder; `mlflow.txt` in it holds the id of MLflow's run.
        uri: the tracking store; None for `MLFLOW_TRACKING_URI`, or what MLflow takes without.
        experiment: its name there.
    """

    def __init__(self, run_dir: str | Path, *, uri: str | None = None, experiment: str = "medseg") -> None:
        self.folder, self.uri, self.experiment = Path(run_dir), uri, experiment
        self._client: Any = None
        self._run_id = ""

    def attach(self, trainer: Any) -> None:
        """Hang on the trainer's READY and REPORT phases."""
        if is_main():
            self._client = self._connected()
        trainer.run_contexts.append(self._closing)
        trainer.add_event_handler(RunEvents.READY, self._open)
        trainer.add_event_handler(RunEvents.REPORT, self._report)

    def _connected(self) -> Any:
        try:
            from mlflow import MlflowClient
        except ImportError:
            msg = "MLflow is not installed, which this run is to be logged to: pip install 'medseg[mlflow]'"
            raise ConfigError(msg) from None
        return MlflowClient(tracking_uri=self.uri)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except (Interrupted, KeyboardInterrupt):
            status = "KILLED"
            raise
        finally:
            self._try(lambda: self._client.set_terminated(self._run_id, status))

    def _open(self, trainer: Any) -> None:
        if self._client is None:
            return
        kept = self.folder / _ID
        if trainer.closed_epochs and kept.is_file():
            self._run_id = kept.read_text(encoding="utf-8").strip()
            self._try(lambda: self._client.update_run(self._run_id, status="RUNNING"))
            return
        try:
            self._run_id = self._new_run()
        except Exception as error:  # MLflow raises what its store does
            msg = f"MLflow: the tracking store cannot be written ({error}). Mend MLFLOW_TRACKING_URI, or leave it out."
            raise ConfigError(msg) from error
        write_text_atomically(kept, self._run_id + "\n")

    def _new_run(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self.experiment)
        run_id = str(self._client.create_run(experiment, run_name=self.folder.name).info.run_id)
        for key, value in self._parameters().items():
            self._client.log_param(run_id, key, value)
        return run_id

    def _parameters(self) -> dict[str, str]:
        path = self.folder / "config.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        plain = {key: value for key, value in content.items() if not isinstance(value, dict) or "_target_" not in value}
        return {key: str(value)[:_MOST_CHARACTERS] for key, value in plain.items() if key not in ("imports", "run")}

    def _report(self, trainer: Any) -> None:
        state = trainer.state
        for group, numbers in (("train", state.epoch_means), ("val", state.val_metrics)):
            for name, value in numbers.items():
                self._try(self._logging(f"{group}.{name}", float(value), state.epoch))

    def _logging(self, name: str, value: float, step: int) -> Any:
        return lambda: self._client.log_metric(self._run_id, name, value, step=step)

    def _try(self, write: Any) -> None:
        if self._client is None or not self._run_id:
            return
        try:
            write()
        except Exception as error:
            _log.warning("MLflow: no more is written: %s", error)
            self._client = None
