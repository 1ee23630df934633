"""`medseg info`."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show versions, devices, bundles, presets and datasets."""
    facts = _facts()
    if as_json:
        import json

        typer.echo(json.dumps(facts, indent=2))
        return
    for title, rows in facts.items():
        typer.echo(title)
        for name, value in rows.items():
            typer.echo(f"  {name:<26} {value or 'not installed'}")


def _facts() -> dict[str, dict[str, Any]]:
    from medseg.bundle.find import list_bundles, list_presets
    from medseg.record import versions

    return {
        # Read without importing: torch and monai take seconds.
        "versions": versions(),
        "devices": _devices(),
        "bundles": {name: str(root) for name, root in list_bundles().items()},
        "presets": {name: str(path) for name, path in list_presets().items()},
        "datasets": _datasets(),
    }


def _datasets() -> dict[str, str]:
    from medseg.datasets.registry import DATASETS
    from medseg.datasets.shelf import place_of, shelf_of

    return {name: str(place_of(shelf_of(name)) or "not on disk") for name in DATASETS}


def _devices() -> dict[str, str]:
    import platform

    from medseg.record import usable_cores

    devices = {"cpu": f"{usable_cores()} cores, {_memory_gb():.0f} GB"}
    for index, name in enumerate(_nvidia_gpus()):
        devices[f"cuda:{index}"] = name
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        devices["mps"] = "Apple GPU"
    return devices


def _memory_gb() -> float:
    import os

    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return float("nan")


def _nvidia_gpus() -> list[str]:
    """The GPUs that the driver lists."""
    import shutil
    import subprocess

    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in result.stdout.splitlines() if line.strip()]
