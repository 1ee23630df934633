"""What metadata.json says that no schema can tell to be a slip: words, orders, ranges and names."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.documents import Document
from medseg.bundle.findings import Finding, Fix

_FORMAT = "network_data_format"
# Words of the MONAI Bundle Specification (docs/source/mb_specification.rst, 2025), and those that the model zoo uses
# besides. There may be others, so only what is nearly one of them is a slip.
_TENSOR = (
    *("type", "format", "modality", "num_channels", "spatial_shape", "dtype", "value_range"),
    *("is_patch_data", "channel_def"),
)
_WORDS = {
    "type": """image series tuples probabilities object feature features noise timesteps array probability png dict
        label labels latent points classification segmentation""",
    "format": """magnitude hounsfield kspace raw labels label classes class segmentation points point normals normal
        indices index sequence latent gradient gradients image images dict boxes regression classification timesteps
        feature features embedding embeddings probabilities probability logits""",
    "modality": "MR MRI CT US EKG ECG PET MG XR n/a regular ultrasound mammogram endoscopy microscopy histopathology",
}
# Fields of metadata.json that the zoo's bundles have besides those of our schema.
_OTHERS = ("optional_packages_version", "autoencoder_data_format", "generator_data_format", "authorship")
_LEAST = 4  # letters of a word of which one can be told to be a slip
_ALIKE, _ALIKE_KEY = 0.8, 0.75
_SHARES = re.compile(r"dice|iou|jaccard|sensitivity|specificity|\bauc\b", re.I)
# What templates, MONAI's `init_bundle` among them, leave to be filled in.
PLACEHOLDERS = re.compile(
    r"\b(TODO|FIXME|TBD|XXX+|CHANGEME)\b|[Ll]orem ipsum|\bYour (Name|Model Name|Organi[sz]ation)\b|<<\w+>>"
    r"|Describe (what the network predicts|your model here)|A longer description of what the network does"
    r"|Select a license (for dataset )?and place its terms here"
)


def metadata_slips(document: Document, name: str, *, known: Collection[str]) -> Iterator[Finding]:
    """Everything in metadata.json that is well-formed and cannot be meant.

    Args:
        document: The file.
        name: How it is called in a finding.
        known: The fields of the schema.
    """
    content = document.content

    def found(id_: str, message: str, level: str = "error", fix: Fix | None = None) -> Finding:
        return Finding(document.where(id_, shown=name), message, level, fix)

    for key, near in _misspelt(content, [*known, *_OTHERS]):
        yield found(key, f"nobody looks for this field. Did you mean {near!r}?", "error", _renamed(document, key, near))
    for id_, value in ids.walk(content):
        if isinstance(value, float) and not math.isfinite(value):
            yield found(id_, f"{value} is no number in JSON, so other programs refuse the file. Leave it out.")
        elif isinstance(value, str) and (left := PLACEHOLDERS.search(value)):
            yield found(id_, f"{left[0]!r} was left to be filled in.", "warning")
    yield from _changes(document, name)
    for id_, value in ids.walk(content.get("eval_metrics")):
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if numeric and math.isfinite(value) and _SHARES.search(id_) and not 0 <= value <= 1:
            yield found(f"eval_metrics{ids.SEP}{id_}", f"{value} is no share from 0 to 1.", "warning")
    sides = content.get(_FORMAT)
    for side, near in _misspelt(sides, ("inputs", "outputs")):
        place = f"{_FORMAT}{ids.SEP}{side}"
        yield found(place, f"nobody looks for this key. Did you mean {near!r}?", fix=_renamed(document, place, near))
    for side, tensors in sides.items() if isinstance(sides, dict) else ():
        for tensor, facts in tensors.items() if isinstance(tensors, dict) else ():
            if isinstance(facts, dict):
                yield from _tensor(document, name, f"{_FORMAT}{ids.SEP}{side}{ids.SEP}{tensor}", facts)


def _tensor(document: Document, name: str, base: str, facts: dict[str, Any]) -> Iterator[Finding]:
    for key, near in _misspelt(facts, _TENSOR):
        where = document.where(f"{base}{ids.SEP}{key}", shown=name)
        fix = _renamed(document, f"{base}{ids.SEP}{key}", near)
        yield Finding(where, f"nobody looks for this key. Did you mean {near!r}?", fix=fix)
    for key, words in _WORDS.items():
        word = facts.get(key)
        meant = _near(word, words.split()) if isinstance(word, str) else None
        if meant:
            where = document.where(f"{base}{ids.SEP}{key}", shown=name)
            yield Finding(where, f"{word!r} is no {key} that anybody knows. Did you mean {meant!r}?", "warning")
    bounds = facts.get("value_range")
    if isinstance(bounds, list) and len(bounds) == 2 and all(_is_number(b) for b in bounds) and bounds[0] >= bounds[1]:
        where = document.where(f"{base}{ids.SEP}value_range", shown=name)
        yield Finding(where, f"{bounds} is no range: the least value comes first, then the largest.")
    names = facts.get("channel_def")
    if isinstance(names, dict):
        yield from _channels(document, name, f"{base}{ids.SEP}channel_def", names, facts.get("num_channels"))


def _channels(document: Document, name: str, base: str, names: dict[str, Any], number: Any) -> Iterator[Finding]:
    def found(key: str, message: str, level: str = "error") -> Finding:
        return Finding(document.where(f"{base}{ids.SEP}{key}" if key else base, shown=name), message, level)

    odd = next((key for key in names if not key.isdigit()), None)
    if odd is not None:
        yield found(odd, f'{odd!r} is no number of a channel. Write number, then name: "0": {odd!r}.')
        return
    texts = [str(value).strip().lower() for value in names.values()]
    for key, text in zip(names, texts, strict=True):
        if not text or not isinstance(names[key], str):
            yield found(key, f"{names[key]!r} is no name of a channel.")
        elif texts.index(text) < list(names).index(key):
            yield found(key, f"{names[key]!r} comes twice.", "warning")
    numbers = sorted(map(int, names))
    if len(numbers) > 1 and len(numbers) == number and numbers[0] > 0:
        yield found(next(iter(names)), f"channels are numbered from 0, these from {numbers[0]}.")


def _changes(document: Document, name: str) -> Iterator[Finding]:
    version, changelog = document.content.get("version"), document.content.get("changelog")
    if not isinstance(changelog, dict) or not isinstance(version, str) or version not in changelog:
        return
    newest = max((key for key in changelog if _parts(key)), key=_parts, default=version)
    if _parts(newest) > _parts(version):
        message = f"the newest entry is {newest}, but version says {version}."
        yield Finding(document.where(f"changelog{ids.SEP}{newest}", shown=name), message, "warning")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+(\.\d+)*", version) else ()


def _misspelt(content: Any, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """Keys that are nearly known, where the known one is missing."""
    if not isinstance(content, dict):
        return
    absent = [key for key in known if key not in content]
    for key in content:
        if key not in known and len(key) >= _LEAST:
            near = difflib.get_close_matches(key.lower(), absent, n=1, cutoff=_ALIKE_KEY)
            if near:
                yield key, near[0]


def _near(word: str, known: Collection[str]) -> str | None:
    """The known word that this one is nearly; None for a known one, one of several words, or one that is far."""
    lower = {w.lower(): w for w in known}
    if word.lower() in lower or len(word) < _LEAST or " " in word.strip():
        return None
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=_ALIKE)
    return lower[near[0]] if near else None


def _renamed(document: Document, id_: str, near: str) -> Fix:
    return Fix(document.lines.get(id_, 1), id_.rpartition(ids.SEP)[2], near)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
