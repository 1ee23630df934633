from __future__ import annotations

import errno

import pytest

from medseg.bundle.failures import user_error
from medseg.errors import ConfigError, DataError, MedsegError, NumericError

WORKER = """Caught {name} in DataLoader worker process 1.
Original Traceback (most recent call last):
  File "worker.py", line 1, in fetch
medseg.errors.{name}: {line}
"""


def test_the_cause_of_a_cause_is_found() -> None:
    error = DataError("case_1: bad.")
    outer = RuntimeError("applying transform")
    outer.__cause__ = ValueError("in between")
    outer.__cause__.__context__ = error
    assert user_error(outer) is error


@pytest.mark.parametrize("kind", [DataError, NumericError])
def test_a_loader_worker_s_error_is_read_from_its_text(kind: type[MedsegError]) -> None:
    text = WORKER.format(name=kind.__name__, line="case_1: bad.")
    for outer in (RuntimeError(text), DataError(text)):
        found = user_error(outer)
        assert type(found) is kind
        assert str(found) == "case_1: bad."


def test_a_full_disk_is_said() -> None:
    found = user_error(OSError(errno.ENOSPC, "No space left on device", "last.pt"))
    assert isinstance(found, DataError)
    assert "last.pt: cannot write, the disk is full" in str(found)


def test_a_full_gpu_is_said() -> None:
    class OutOfMemoryError(RuntimeError): ...

    assert isinstance(user_error(OutOfMemoryError("CUDA")), ConfigError)


def test_values_that_a_component_refuses_are_a_matter_of_the_config() -> None:
    outer = RuntimeError("Failed to instantiate component 'monai.networks.nets.UNet' with keywords: channels")
    outer.__cause__ = ValueError("the length of `strides`\nshould equal to `len(channels) - 1`.")
    found = user_error(outer)
    assert isinstance(found, ConfigError)
    assert str(found).startswith("monai.networks.nets.UNet refuses its arguments: the length of `strides` should")
    outer.__cause__ = TypeError("a bug")
    assert user_error(outer) is None


def test_a_bug_is_none_of_it() -> None:
    assert user_error(KeyError("x")) is None
    assert user_error(OSError(errno.ENOENT, "x")) is None
