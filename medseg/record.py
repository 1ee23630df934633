"""run.json: what ran, with what, on what, how long, how much memory. Imports nothing heavy."""

import errno
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from medseg.errors import DataError

FILE = "run.json"
_PACKAGES = ("medseg", "monai", "torch", "numpy", "pytorch-ignite", "nibabel")
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_text_atomically(path: Path, text: str) -> None:
    """Replace the file by one with this text; it is never half-written.

    Raises:
        DataError: the file or its folder cannot be written; the file that was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DataError(_unwritten(path, error)) from error


def _unwritten(path: Path, error: OSError) -> str:
    state = "nothing was there before"
    with suppress(OSError):
        state = "what was there is intact" if path.exists() else state
    advice = "Free some space, then try again." if error.errno in _FULL else "Choose another place, or mend this one."
    return f"{path} could not be written: {error.strerror or error}; {state}. {advice}"


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory_mb() -> float:
    """The most memory that this process has held (resident), in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:")]
        if lines:
            return int(lines[0].split()[1]) / 1024
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that matter, read without importing them; None where missing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    if found["medseg"] is None:
        from medseg import __version__

        found["medseg"] = __version__
    return found


def git_commit(folder: Path | None = None) -> str | None:
    """The commit of the source tree medseg runs from, "+changes" when it is not clean; None in an installed wheel."""
    folder = folder or Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def cpu_name() -> str:
    """The processor's name, as well as it can be told."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass
class RunRecord:
    """The record of a run folder, written when the run starts and when it ends.

    A resumed run keeps its record: `command` is the one that began it, `wall_s` the sum over its sessions, `resumed`
    counts the later ones. Each session has its own command and times; one that was killed has no end.
    """

    path: Path
    content: dict[str, Any]
    _began: float = field(default_factory=time.perf_counter)

    @classmethod
    def start(
        cls,
        run_dir: str | Path,
        *,
        verb: str,
        bundle: str = "",
        config_sha256: str = "",
        seed: int | None = None,
        device: str = "cpu",
        resume: bool = False,
        **facts: Any,
    ) -> "RunRecord":
        """Write the record of a run that begins; with `resume`, continue the folder's own.

        Args:
            run_dir: the run folder; made if it is not there.
            verb: train, predict and so on.
            bundle: name or path.
            config_sha256: of the resolved config.
            seed: of the run.
            device: as configured, like "cuda:0".
            resume: the run continues.
            facts: anything else that JSON can hold, such as device_name.
        """
        path = Path(run_dir) / FILE
        old = read(path) if resume else {}
        sessions = [_ended(session) for session in old.get("sessions", [])]
        content = {
            "verb": verb,
            "bundle": bundle,
            "status": "running",
            "config_sha256": config_sha256,
            "seed": seed,
            "device": device,
            "device_name": cpu_name() if device == "cpu" else None,
            "cpu_count": os.cpu_count(),
            "platform": platform.platform(),
            "versions": versions(),
            "git_commit": git_commit(),
            "command": old.get("command", sys.argv),
            "started": old.get("started", _now()),
            "ended": None,
            "wall_s": None,
            "peak_memory_mb": None,
            "resumed": len(sessions),
            **facts,
            "sessions": [*sessions, {"started": _now(), "status": "running", "command": sys.argv}],
        }
        record = cls(path, content)
        record._write()
        return record

    def note(self, **facts: Any) -> None:
        """Write what has become known, or has changed, since the start."""
        self.content |= facts
        self._write()

    def finish(self, status: str, **facts: Any) -> None:
        """Write how the run ended.

        Args:
            status: "finished", "interrupted" or "failed".
            facts: anything else that JSON can hold.
        """
        wall_s, ended, peak = round(time.perf_counter() - self._began, 2), _now(), round(peak_memory_mb(), 1)
        sessions = self.content["sessions"]
        sessions[-1] |= {"ended": ended, "wall_s": wall_s, "status": status, "peak_memory_mb": peak}
        self.content |= {
            "status": status,
            "ended": ended,
            "wall_s": round(sum(session.get("wall_s") or 0.0 for session in sessions), 2),
            "peak_memory_mb": max(session.get("peak_memory_mb") or 0.0 for session in sessions),
            **facts,
        }
        self._write()

    def _write(self) -> None:
        write_text_atomically(self.path, json.dumps(self.content, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What a run.json says; nothing when it is not there or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _ended(session: dict[str, Any]) -> dict[str, Any]:
    return session | {"status": "killed"} if session.get("status") == "running" else session
