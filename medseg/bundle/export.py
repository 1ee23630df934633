"""A bundle's network as a file for other programs and, where one can run it, its whole pipeline without torch."""

from __future__ import annotations

import ast
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medseg.bundle.check import require_clean
from medseg.bundle.compose import Composition, compose
from medseg.bundle.documents import read_document
from medseg.bundle.find import require_own_files
from medseg.bundle.freeze import fitting_metadata, write_zip
from medseg.bundle.light_imports import light_imports
from medseg.bundle.metadata_shapes import side_units
from medseg.bundle.parity import Parity, compare, require_parity, write_phantom
from medseg.bundle.pipeline import describe_pipeline
from medseg.bundle.quantise import quantise
from medseg.bundle.trust import require_trust
from medseg.bundle.weights import find_weights, run_of
from medseg.errors import ConfigError, DataError
from medseg.labels import get_convention
from medseg.runtime.pipeline import FILE, load_pipeline
from medseg.runtime.self_check import made_up_window, write_self_check
from medseg.volumes import read_volume

if TYPE_CHECKING:
    from medseg.inference.network_files import Example, NetworkFile

RUNTIME = "runtime.pyz"
_PACKAGE = Path(__file__).resolve().parent.parent
_START = "import sys\nfrom pathlib import Path\nfrom medseg.runtime.__main__ import main\n"
_START += "sys.exit(main(folder=Path(sys.argv[0]).resolve().parent))\n"
# An export is in float32 on the CPU, whatever the bundle trains in.
_PLAIN = ("device=cpu", "amp=false")
_CHECKED = 16  # voxels, the least side of the window that a runtime is checked with when it is loaded


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        folder: With the network's file and its card.
        parity: Of the pipeline without torch with the bundle; None where only the network was written.
    """

    folder: Path
    parity: Parity | None = None


def export(
    bundle: str | os.PathLike[str],
    output: Path,
    *,
    format_: str,
    weights: Path | None = None,
    overrides: Sequence[str] = (),
    network_only: bool = False,
    trust: bool = False,
    calibrate: Sequence[Path] = (),
) -> Exported:
    """Writes a folder with the network and, for ONNX and OpenVINO, the pipeline around it.

    The pipeline is run on a phantom beside the bundle's own; an export that gives other masks is refused.

    Args:
        bundle: Name or path.
        output: The folder, which must not exist.
        format_: `torchscript`, `onnx`, `openvino`, `tensorrt` or `pt2`.
        weights: A weights file or a run; the bundle's own when None.
        overrides: `KEY=VALUE` tokens.
        network_only: Whether to leave the pipeline out.
        trust: Whether the user trusts what the bundle can execute.
        calibrate: Scans to quantise the network on, to 8 bits beside float32; OpenVINO only.

    Raises:
        MedsegError: When a library is missing, with the command that installs it; when a step of the bundle has no
            counterpart without torch; when the masks differ.
    """
    if output.exists():
        msg = f"{output}: exists already. Remove it, or give another folder with -o."
        raise ConfigError(msg)
    if calibrate and (format_ != "openvino" or network_only):
        msg = "--int8 wants --format openvino and the whole pipeline: only OpenVINO runs networks of 8 bits here."
        raise ConfigError(msg)
    composition = _composed(bundle, weights, overrides)
    require_own_files(composition.bundle_root)
    require_trust(composition, trust=trust)
    require_clean(composition)
    path = find_weights(composition.bundle_root, weights)
    return _written(output, composition, format_, path, network_only=network_only, calibrate=calibrate)


def export_composed(composition: Composition, output: Path, *, format_: str, weights: Path, trust: bool) -> Exported:
    """The same for a config that is composed and checked already, as a prediction's is.

    Args:
        composition: Of the workflow inference.
        output: The folder, which must not exist.
        format_: `onnx` or `openvino`.
        weights: The weights file.
        trust: Whether the user trusts what the bundle can execute.
    """
    require_trust(composition, trust=trust)
    for token in _PLAIN:
        if token.partition("=")[0] in composition.config:
            composition = composition.with_token(token)
    light_imports()
    return _written(output, composition, format_, weights, network_only=False, calibrate=())


def _written(
    output: Path,
    composition: Composition,
    format_: str,
    path: Path,
    *,
    network_only: bool,
    calibrate: Sequence[Path],
) -> Exported:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as place:
            folder = Path(place) / output.name
            folder.mkdir()
            parity = _write(folder, composition, format_=format_, weights=path, network_only=network_only)
            if calibrate:
                quantise(folder, calibrate)
            folder.replace(output)
    except OSError as error:
        msg = f"{output}: could not be written ({error.strerror or error}). Choose another folder with -o."
        raise DataError(msg) from error
    return Exported(folder=output, parity=parity)


def _composed(bundle: str | os.PathLike[str], weights: Path | None, overrides: Sequence[str]) -> Composition:
    composition = compose(bundle, "inference", run=run_of(weights))
    for token in (*_PLAIN, *overrides):
        if token not in _PLAIN or token.partition("=")[0] in composition.config:
            composition = composition.with_token(token)
    return composition.with_values({"bundle_root": str(composition.bundle_root)})


def _write(folder: Path, composition: Composition, *, format_: str, weights: Path, network_only: bool) -> Parity | None:
    from medseg.engines.weights import load_weights
    from medseg.inference.bundle_parts import build_parts
    from medseg.inference.network_files import FORMATS, logits_of, make_example

    chosen = FORMATS[format_]
    whole = chosen.runtime is not None and not network_only
    needed = ["network_def", *(["preprocessing", "inferer", "postprocessing"] if whole else [])]
    parts = build_parts(composition.config, needed)
    network = load_weights(parts["network_def"], weights)
    metadata = _metadata(composition)
    image = metadata["network_data_format"]["inputs"]["image"]
    example = make_example(
        network, channels=image["num_channels"], window=_window(composition), units=side_units(metadata)
    )
    if whole:
        window = made_up_window(example.image.shape[1], [max(2 * unit, _CHECKED) for unit in example.units])
        write_self_check(folder, window, logits_of(example, window))
    chosen.write(example, folder / chosen.file)
    parity = _write_pipeline(folder, composition, parts, file=chosen.file) if whole else None
    _write_papers(folder, composition, metadata, chosen=chosen, example=example, parity=parity)
    return parity


def _write_pipeline(folder: Path, composition: Composition, parts: dict[str, Any], *, file: str) -> Parity:
    steps = describe_pipeline(
        parts["preprocessing"].transforms,
        parts["inferer"],
        parts["postprocessing"].transforms,
        network=file,
        config=composition.config,
    )
    steps["bundle"] = composition.name
    (folder / FILE).write_text(json.dumps(steps, indent=2) + "\n", encoding="utf-8")
    write_runtime(folder / RUNTIME)
    parity = _measure(folder, steps, parts)
    require_parity(parity, name=composition.name)
    return parity


def _measure(folder: Path, steps: dict[str, Any], parts: dict[str, Any]) -> Parity:
    """The exported pipeline beside the bundle's own steps, on a phantom."""
    from medseg.inference.network_files import run_bundle

    pipeline = load_pipeline(folder)
    with tempfile.TemporaryDirectory() as place:
        item = {"case_id": "phantom", "image": [str(path) for path in write_phantom(Path(place), steps)]}
        wanted = run_bundle(
            item,
            preprocessing=parts["preprocessing"],
            inferer=parts["inferer"],
            network=parts["network_def"],
            postprocessing=parts["postprocessing"],
        )
        volumes = [read_volume(path) for path in item["image"]]
    image = np.stack([volume.array.astype(np.float32) for volume in volumes])
    probabilities = pipeline.probabilities(image, volumes[0].affine_ras_mm)
    values = sorted(get_convention(steps["label_convention"]).values)
    return compare(wanted, (probabilities, pipeline.paint(probabilities)), values=values)


def write_runtime(path: Path) -> None:
    """A zip that Python runs: the parts of medseg that the pipeline needs, and nothing else.

    The same medseg gives the same bytes.
    """
    with tempfile.TemporaryDirectory() as place:
        top = Path(place) / "top"
        for source in sorted(runtime_sources()):
            target = top / "medseg" / source.relative_to(_PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        (top / "__main__.py").write_text(_START, encoding="utf-8")
        write_zip(top, Path(place) / "plain.zip", below=False)
        path.write_bytes(b"#!/usr/bin/env python3\n" + (Path(place) / "plain.zip").read_bytes())
    with zipfile.ZipFile(path) as archive:
        archive.testzip()


def runtime_sources() -> set[Path]:
    """The files of medseg that `medseg.runtime` imports, directly or not."""
    found: set[Path] = set()
    waiting = [_PACKAGE / "runtime" / "__main__.py"]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    return found


def _imported(path: Path) -> Iterator[Path]:
    parents = path.relative_to(_PACKAGE).parents
    yield from (_PACKAGE / parent / "__init__.py" for parent in parents)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "medseg":
            base = _PACKAGE.joinpath(*node.module.split(".")[1:])
            for place in (base, *(base / alias.name for alias in node.names)):
                files = (place.with_suffix(".py"), place / "__init__.py")
                yield from (file for file in files if file.is_file())


def _write_papers(
    folder: Path,
    composition: Composition,
    metadata: dict[str, Any],
    *,
    chosen: NetworkFile,
    example: Example,
    parity: Parity | None,
) -> None:
    from medseg.bundle.export_card import export_card

    root = composition.bundle_root
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    if (root / "LICENSE").is_file():
        shutil.copyfile(root / "LICENSE", folder / "LICENSE")
    card = root / "docs" / "README.md"
    text = export_card(
        metadata,
        file=chosen.file,
        runtime=chosen.runtime,
        shape=list(example.image.shape),
        outputs=list(example.names),
        units=list(example.units),
        parity=parity,
        original=card.read_text(encoding="utf-8") if card.is_file() else "",
        config=composition.config,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _metadata(composition: Composition) -> dict[str, Any]:
    document = read_document(composition.bundle_root / "configs" / "metadata.json")
    return fitting_metadata(document.content, [composition])


def _window(composition: Composition) -> list[int]:
    window = composition.config.get("window_size") or composition.config.get("roi_size")
    if not isinstance(window, list):
        msg = f"{composition.where('roi_size')}: {window!r} is no window of three sides, which an export traces with."
        raise ConfigError(msg)
    return [int(side) for side in window]
