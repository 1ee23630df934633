"""What lies around a run: torch and MONAI started, the log, the record, the parser, and errors in a user's words."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medseg.bundle.compose import CONFIG, Composition
from medseg.bundle.documents import METADATA, read_document
from medseg.bundle.failures import user_error
from medseg.bundle.light_imports import light_imports
from medseg.bundle.mask_effects import mask_settings
from medseg.bundle.run_folder import rank
from medseg.bundle.run_log import run_log, silence_libraries
from medseg.bundle.screen import explain
from medseg.errors import ConfigError, DataError
from medseg.record import RunRecord, usable_cores
from medseg.runtime.runtimes import TORCH

_log = logging.getLogger("medseg.run")
# Not below "medseg": what it says goes into the log file only.
file_log = logging.getLogger("run")


@contextmanager
def running(composition: Composition, folder: Path, *, log: str, verb: str, resume: bool) -> Iterator[RunRecord | None]:
    """The record (None on silent ranks) and the log around a run; turns what a user can mend into a MedsegError."""
    with run_log(folder / log if rank() == 0 else None):
        _start_torch()
        record = _start_record(composition, folder, verb=verb, resume=resume) if rank() == 0 else None
        status = "failed"
        try:
            yield record
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except Exception as exception:
            error = user_error(exception)
            file_log.info("the run failed", exc_info=exception)
            if error is None or error is exception:
                explain(exception, composition, log=folder / log)
                raise
            explain(error, composition, via=exception, log=folder / log)
            raise error from exception
        finally:
            if record is not None:
                _finish_record(record, status)


def _start_record(composition: Composition, folder: Path, *, verb: str, resume: bool) -> RunRecord:
    import torch

    device = _device(composition.config)
    facts = {"device_name": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return RunRecord.start(
        folder,
        verb=verb,
        bundle=composition.name,
        config_sha256=hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest(),
        seed=composition.config.get("seed"),
        device=device,
        resume=resume,
        **facts,
        **({"runtime": TORCH, "can_change_masks": mask_settings(composition)} if verb == "predict" else {}),
    )


def _finish_record(record: RunRecord, status: str) -> None:
    import torch

    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    try:
        record.finish(status, **({"gpu_peak_memory_mb": round(gpu, 1)} if gpu else {}))
    except DataError as error:
        # A full disk ended the run already; its own error matters more than this one.
        _log.warning("%s", error)


def _start_torch() -> None:
    """Imports torch and MONAI, with huge pages and every core, and keeps their chatter off the terminal."""
    # Huge pages for tensors: 0.97 -> 0.77 s for a SegResNet forward pass on a CPU.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # OpenMP's threads keep their cores for 0.2 ms after an operation of torch, not for 3 ms and more: the kernels need
    # them. 25 classes are merged in 0.40 instead of 0.49 s; a forward pass takes as long as before.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(usable_cores())
    light_imports()
    import monai.bundle  # noqa: F401

    silence_libraries()


def monai_parser(composition: Composition, *, data: object = None) -> Any:
    """MONAI's parser on the config, with the bundle's metadata."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(copy.deepcopy(composition.config))
    parser.read_meta(read_document(composition.bundle_root / METADATA).content)
    if data is not None:
        parser["dataset::data"] = data
    parser.parse(reset=True)
    return parser


def evaluate_step(parser: Any, step: str) -> None:
    """Evaluates a list of expressions in order, as monai.bundle.ConfigWorkflow does."""
    expressions = parser.get(step)
    if expressions is None:
        return
    names = [f"{step}::{i}" for i in range(len(expressions))] if isinstance(expressions, list) else [step]
    for id_ in names:
        parser.get_parsed_content(id_)
        silence_libraries()


def places_of(composition: Composition, folder: Path) -> dict[str, Any]:
    """Where the bundle is and where the run writes, as values of its config.

    Raises:
        ConfigError: When MONAI would read the bundle's path as another.
    """
    if "#" in str(composition.bundle_root):
        msg = f"{composition.bundle_root}: MONAI turns every '#' of a path into '::'. Move the bundle."
        raise ConfigError(msg)
    return {"bundle_root": str(composition.bundle_root), "output_dir": str(folder)}


def _device(config: dict[str, Any]) -> str:
    """The device that the config comes to, for the record."""
    from monai.bundle import ConfigParser

    wanted = {key: config[key] for key in ("imports", "device") if key in config}
    try:
        return str(ConfigParser(copy.deepcopy(wanted)).get_parsed_content("device"))
    except (KeyError, ValueError, RuntimeError):
        return str(config.get("device"))
