"""Where the scores come from: what ran on what, and the commands that do it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from medseg.report.detection import is_detection
from medseg.report.markup import absent, table, to_float
from medseg.report.run_folder import RunFolder, read_json

# Keys of run.json in the order in which a reader asks for them; what is not named here comes last.
_ORDER = (
    *("verb", "bundle", "status", "started", "ended", "wall_s", "peak_memory_mb", "device", "device_name", "cpu_count"),
    *("platform", "seed", "git_commit", "config_sha256", "resumed"),
)
_NAMES = {
    "verb": "what ran",
    "wall_s": "wall time",
    "peak_memory_mb": "peak memory",
    "cpu_count": "CPU cores",
    "config_sha256": "config sha256",
    "git_commit": "git commit",
    "device_name": "device name",
}


def environment(run: RunFolder) -> str:
    """What ran on what, from `run.json`."""
    if not run.record:
        return absent("This run has no run.json, so what it ran on is not known.")
    shown = {key: value for key, value in run.record.items() if key not in {"command", "versions", "sessions"}}
    ordered = {key: shown[key] for key in sorted(shown, key=lambda key: _ORDER.index(key) if key in _ORDER else 99)}
    parts = [_facts("The run and where it ran", ordered)]
    versions = run.record.get("versions")
    if isinstance(versions, Mapping):
        parts.append(f"<div><h3>Versions</h3>{_facts('Versions', versions)}</div>")
    sessions = run.record.get("sessions")
    if isinstance(sessions, list) and len(sessions) > 1:  # the only session says what the record says
        told = {str(order): session for order, session in enumerate(sessions, start=1)}
        parts.append(f"<h3>Sessions</h3>{_facts('Sessions of this run', told)}")
    return "\n".join(parts)


def reproduce(run: RunFolder) -> str:
    """The commands from training to report, as far as they are known, in their order."""
    steps = [*_install(run), *_training(run), *_prediction(run), *_evaluation(run)]
    if not steps:
        return absent("This run has no run.json, so how it was started is not known.")
    steps.append(("Write this report again:", f"medseg report {shlex.quote(run.path.name)}"))
    items = "".join(f"<li><p>{escape(sentence)}</p>{_code(line)}</li>" for sentence, line in steps)
    settings = "<p>Every setting that was used stands in <code>config.yaml</code> in the run folder.</p>"
    return f'<ol class="steps">{items}</ol>{settings if run.config else ""}'


Steps = Iterator[tuple[str, str]]


def _install(run: RunFolder) -> Steps:
    versions = run.record.get("versions")
    if isinstance(versions, Mapping) and versions.get("medseg"):
        commit = str(run.record.get("git_commit") or "")
        at = f" at commit {commit.partition('+')[0][:12]}" if commit else ""
        changed = ", with changes that were not committed" if "+" in commit else ""
        others = " ".join(
            f"{name}=={str(version).partition('+')[0]}"
            for name, version in versions.items()
            if name not in {"python", "medseg"}
        )
        yield f"Install medseg {versions['medseg']}{at}{changed}, with what it ran beside:", f"pip install . {others}"


def _training(run: RunFolder) -> Steps:
    command = run.record.get("command")
    if _of_suite(command):
        name = read_json(run.path.resolve().parents[1] / "results.json").get("suite", "SUITE")
        yield "A job of a suite, which starts anew, or goes on where it was stopped, with:", f"medseg benchmark {name}"
    elif command:
        yield "This run was started with:", _typed(command)
    elif bundle := run.record.get("bundle"):
        yield "The bundle is trained again with:", f"medseg train {shlex.quote(str(bundle))}"


def _prediction(run: RunFolder) -> Steps:
    command = run.predicted.get("command")
    if command and not _of_suite(command):
        yield "The cases were predicted with:", _typed(command)


def _of_suite(command: object) -> bool:
    """Whether `medseg benchmark` started the process: its worker is no command for a person."""
    return isinstance(command, list) and any(str(word).endswith(".work.json") for word in command)


def _evaluation(run: RunFolder) -> Steps:
    summary = run.scores.summary
    if is_detection(summary):
        protocol = "luna16" if "cpm" in summary else "coco3d"
        again = (
            f"medseg evaluate --task detection --protocol {protocol} --pred predictions --ref REFERENCE -o evaluation"
        )
        yield "Score these or any other tool's detections:", again
    elif summary:
        again = "medseg evaluate --pred predictions --ref REFERENCE --task segmentation"
        yield "Score these or any other tool's label maps:", f"{again}{_options(run)} -o evaluation"


def _options(run: RunFolder) -> str:
    """The options that made the scores what they are."""
    told, summary = run.convention, run.scores.summary
    if isinstance(told, Mapping):
        values = {name: value if isinstance(value, list) else [value] for name, value in told.items()}
        told = ",".join(f"{name}={'+'.join(map(str, value))}" for name, value in values.items())
    lesions = summary.get("lesion_wise", {}).get("rules")
    options = {"--regions": told, "--lesion-wise": lesions}
    if summary.get("tolerance_mm") not in (None, 1.0):
        options["--tolerance-mm"] = f"{summary['tolerance_mm']:g}"
    if "calibration" in summary:
        options["--probabilities"] = "predictions/probabilities"
    return "".join(f" {name} {shlex.quote(value)}" for name, value in options.items() if value)


def _facts(caption: str, facts: Mapping[str, Any]) -> str:
    rows = [[escape(name), f"<code>{escape(value)}</code>"] for name, value in _flat(facts)]
    return table(caption, ["What", "Value"], rows, kind="facts")


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        name = f"{prefix}{_NAMES.get(key, str(key).replace('_', ' '))}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list) and key == "command":
            yield name, _typed(value)
        elif isinstance(value, list):
            for order, part in enumerate(value, start=1):
                yield from _flat(part if isinstance(part, Mapping) else {"": part}, f"{name} {order}: ")
        elif value is not None:
            yield name, _said(key, value)


def _said(key: str, value: object) -> str:
    if key == "wall_s":
        seconds = to_float(value)
        return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
    if key == "peak_memory_mb":
        return f"{to_float(value):.0f} MB"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _typed(command: object) -> str:
    """A process's arguments as one types them, without the place where medseg is installed."""
    if not isinstance(command, list) or not command:
        return str(command)
    program, *rest = map(str, command)
    name = Path(program).stem
    return shlex.join(["medseg" if name == "__main__" else name, *rest])


def _code(line: str) -> str:
    return f"<pre><code>{escape(line)}</code></pre>"
