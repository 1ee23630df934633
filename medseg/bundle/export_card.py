"""The model card of an export: what is in the folder, how to run it, and how far it is from the bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata as installed
from typing import Any

from medseg.bundle.parity import MOST_GAP, Parity

_PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


def export_card(
    metadata: Mapping[str, Any],
    *,
    file: str,
    runtime: str | None,
    shape: Sequence[int],
    outputs: Sequence[str],
    units: Sequence[int],
    parity: Parity | None,
    original: str,
    config: Mapping[str, Any],
) -> str:
    """The text of README.md.

    Args:
        metadata: The bundle's.
        file: The network's file.
        runtime: The library that runs the pipeline, None where there is none.
        shape: Of the input that was traced.
        outputs: Names of the outputs.
        units: What each side must be a multiple of.
        parity: Figures of the comparison with the bundle.
        original: The bundle's own card.
        config: The composed config.
    """
    name = metadata.get("name", "bundle")
    parts = [f"# {name}, exported\n", f"Version {metadata.get('version')}. Not for clinical use.\n"]
    parts.append(_network(file, shape=shape, outputs=outputs, units=units))
    if parity is not None and runtime is not None:
        parts.append(_pipeline(parity, runtime=runtime, modalities=config.get("modalities", [])))
    if original:
        parts.append(f"---\n\n{original}")
    return "\n".join(parts)


def _network(file: str, *, shape: Sequence[int], outputs: Sequence[str], units: Sequence[int]) -> str:
    sides = ", ".join(
        f"`{axis}` (a multiple of {unit})" if unit > 1 else f"`{axis}`" for axis, unit in zip("xyz", units, strict=True)
    )
    found = ", ".join(f"`{name}`" for name in outputs)
    return (
        f"## The network\n\n`{file}`: float32. Input `image`, axes `batch`, {shape[1]} channels, {sides}, all but the "
        f"channels dynamic. Output {found}: logits.\n"
    )


def _pipeline(parity: Parity, *, runtime: str, modalities: Sequence[str]) -> str:
    scans = " ".join(f"{name}.nii.gz" for name in modalities)
    package = _PACKAGES[runtime]
    rows = "\n".join(f"| {value} | {dice:.6f} |" for value, dice in parity.dice.items())
    return f"""## The whole pipeline, without torch and MONAI

```
pip install numpy nibabel {package}
python runtime.pyz {scans} -o labels.nii.gz
```

`pipeline.json` has its steps: orientation, resampling, normalisation, windows, merging, threshold, and the way back to
the scan's own grid. Where medseg is installed: `medseg.runtime.load_pipeline(folder).predict(scans, output)`.
A pipeline that drops small components needs scipy too.

## How far it is from the bundle

Both were run in float32 on a phantom of {parity.voxels} voxels, {parity.labelled / parity.voxels:.1%} of them labelled.
Voxels that differ: {parity.differing}{_why(parity)}.
Largest difference of a probability: {parity.gap:.1e} ({package} {_version(package)}).

| label | Dice |
|---|---|
{rows}
"""


def _why(parity: Parity) -> str:
    undecided = parity.differing - parity.decided
    return f", {undecided} of them where the network is undecided to within {MOST_GAP}" if undecided else ""


def _version(package: str) -> str:
    try:
        return installed.version(package)
    except installed.PackageNotFoundError:
        return "unknown"
