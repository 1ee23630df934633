"""An exported OpenVINO network quantised to 8 bits on scans, and what that does to their masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.bundle.parity import compare
from medseg.errors import DataError
from medseg.labels import get_convention
from medseg.runtime.pipeline import FILE, Pipeline, load_pipeline
from medseg.runtime.runtimes import INT8
from medseg.runtime.sessions import not_installed
from medseg.runtime.windows import starts

NETWORK = "model_int8.xml"
_NNCF = "nncf"
_WINDOWS = 24  # in all; more changed nothing but the time
Floats = npt.NDArray[np.float32]
Case = tuple[str, Floats, Any]  # name, image, affine


def quantise(folder: Path, scans: Sequence[Path]) -> dict[str, Any]:
    """Writes `model_int8.xml` beside the network, and the Dice of its masks with those of float32 into the card.

    Post-training quantisation by NNCF: weights and activations, their ranges from windows of the scans.

    Args:
        folder: What an export to OpenVINO has just written.
        scans: Files and folders, as `medseg predict` takes them.

    Returns:
        What pipeline.json says about it.

    Raises:
        ConfigError: When NNCF or OpenVINO is missing, with the command that installs it.
        DataError: When the scans hold no case.
    """
    import_nncf()
    plain = load_pipeline(folder)
    cases = read_cases(plain, scans)
    _write_network(folder, plain, cases)
    steps = {**plain.steps, "int8": {"network": NETWORK}}
    (folder / FILE).write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")
    found = {"network": NETWORK, "cases": [name for name, *_ in cases], "dice": _dice(folder, plain, cases)}
    (folder / FILE).write_text(json.dumps({**steps, "int8": found}, indent=2) + "\n", encoding="utf-8")
    card = folder / "README.md"
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    card.write_text(_with_section(before, _section(found)), encoding="utf-8")
    return found


def read_cases(pipeline: Pipeline, scans: Sequence[Path]) -> list[Case]:
    """Name, image `(C, X, Y, Z)` and affine of each case."""
    from medseg.datasets import find_cases

    cases = []
    for item in find_cases(list(scans), modalities=pipeline.steps["modalities"]):
        files = item["image"] if isinstance(item["image"], list) else [item["image"]]
        image, like = pipeline.read(files, channels=item.get("channels"), case=item["case_id"])
        cases.append((str(item["case_id"]), image, like.affine_ras_mm))
    if not cases:
        msg = "--int8: no case to calibrate on. Give scans as medseg predict takes them."
        raise DataError(msg)
    return cases


def import_nncf() -> Any:
    """NNCF, or the error that says how to install it."""
    try:
        import nncf
    except ImportError as error:
        raise not_installed(_NNCF) from error
    return nncf


def _write_network(folder: Path, plain: Pipeline, cases: Sequence[Case]) -> None:
    import openvino

    nncf = import_nncf()
    each = max(1, _WINDOWS // len(cases))
    windows = [w for _, image, affine in cases for w in calibration_windows(plain, image, affine, most=each)]
    model = openvino.Core().read_model(str(folder / str(plain.steps["network"])))
    small = nncf.quantize(model, nncf.Dataset(windows), subset_size=len(windows), fast_bias_correction=True)
    openvino.save_model(small, str(folder / NETWORK), compress_to_fp16=False)


def calibration_windows(plain: Pipeline, image: Floats, affine: Any, *, most: int) -> Iterator[Floats]:
    """Windows `(1, C, x, y, z)` of a case as the network sees them, the fullest first."""
    ready = plain.prepare(image, affine).image
    size = plain.steps["windows"]["size"]
    pads = [(0, 0), *((0, max(side - have, 0)) for have, side in zip(ready.shape[1:], size, strict=True))]
    padded = np.pad(ready, pads)
    axes = [starts(have, side, overlap=0.5) for have, side in zip(padded.shape[1:], size, strict=True)]
    places = [
        (slice(None), slice(x, x + size[0]), slice(y, y + size[1]), slice(z, z + size[2]))
        for x in axes[0]
        for y in axes[1]
        for z in axes[2]
    ]
    places.sort(key=lambda place: -int(np.count_nonzero(padded[place])))
    for place in places[:most]:
        yield np.ascontiguousarray(padded[place])[None]


def _dice(folder: Path, plain: Pipeline, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """By case and label value, of the quantised network's masks with those of float32."""
    small = load_pipeline(folder, runtime=INT8)
    values = sorted(get_convention(plain.steps["label_convention"]).values)
    found = {}
    for name, image, affine in cases:
        wanted, got = (pipe.probabilities(image, affine) for pipe in (plain, small))
        parity = compare((wanted, plain.paint(wanted)), (got, small.paint(got)), values=values)
        found[name] = {str(value): round(dice, 5) for value, dice in parity.dice.items()}
    return found


def _section(found: dict[str, Any]) -> str:
    values = list(next(iter(found["dice"].values())))
    rows = "\n".join(
        f"| {case} | " + " | ".join(f"{dice[value]:.4f}" for value in values) + " |"
        for case, dice in found["dice"].items()
    )
    return f"""## Quantised to 8 bits: other masks

`{NETWORK}`, by post-training quantisation (NNCF) on windows of {len(found["dice"])} scan(s):
`medseg predict FOLDER SCANS --runtime {INT8}`. Dice of its masks with those of float32 on those scans, by label
value; on others it may be lower.

| case | {" | ".join(values)} |
|---|{"---|" * len(values)}
{rows}

"""


def _with_section(card: str, section: str) -> str:
    head, line, original = card.partition("---\n\n")
    return f"{head}{section}{line}{original}"
