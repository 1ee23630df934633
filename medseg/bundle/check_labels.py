"""Label conventions, regions and modalities that do not fit one another or the metadata's names of channels."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_channels import named_channels
from medseg.bundle.compose import Composition
from medseg.bundle.documents import METADATA, Document
from medseg.bundle.findings import Finding
from medseg.errors import ConfigError
from medseg.labels import CONVENTIONS, get_convention

_FORMAT = "network_data_format"
_KINDS = {"ct": ("CT",), **dict.fromkeys(("mr", "t1", "t1c", "t2", "flair"), ("MR", "MRI"))}
_LEAST = 4  # letters of a name of which one can be told to be a slip


def label_names(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Regions, modalities and conventions that do not fit one another or the metadata's names of channels."""
    config = composition.config
    yield from conventions(composition)
    yield from _kind_of_scan(config, metadata)
    for side, tensor, key in named_channels(config):
        base = f"{_FORMAT}::{side}::{tensor}::channel_def"
        names = ids.get_at(metadata.content, base) if ids.contains(metadata.content, base) else None
        own = config.get(key)
        if isinstance(names, dict) and isinstance(own, list) and all(isinstance(o, str) for o in own):
            yield from _names(metadata, base, names, own, key)
            if key == "modalities":
                yield from _slips(composition, names, own)


def _names(metadata: Document, base: str, names: dict[str, Any], own: list[str], key: str) -> Iterator[Finding]:
    for number, name in names.items():
        place = [n for n, o in enumerate(own) if _same(str(name), o)]
        if place and number.isdigit() and int(number) not in place:
            message = f"{name!r} is channel {number} here, but {own[place[0]]!r} is number {place[0]} of {key}."
            yield Finding(metadata.where(f"{base}::{number}", shown=METADATA), message)
        elif key == "label_names" and not place and number.isdigit() and int(number) < len(own):
            message = f"class {number} is {name!r} here, but {own[int(number)]!r} in {key}."
            yield Finding(metadata.where(f"{base}::{number}", shown=METADATA), message, "warning")


def _slips(composition: Composition, names: dict[str, Any], own: list[str]) -> Iterator[Finding]:
    """Modalities that are a letter or two away from what the metadata calls that channel."""
    for number, name in enumerate(own):
        said = str(names.get(str(number), ""))
        long = len(name) >= _LEAST and len(said) >= _LEAST
        if long and not _same(said, name) and difflib.get_close_matches(name.lower(), [said.lower()], cutoff=0.75):
            yield Finding(composition.where("modalities"), f"{name!r} is {said!r} in the metadata.", "warning")


def _same(long: str, short: str) -> bool:
    """Whether a channel's name stands for a short one: alike, or by the first letters of its words."""
    words = re.findall(r"[a-z0-9]+", long.lower())
    return short.lower() in ("".join(words), "".join(w[0] for w in words))


def _kind_of_scan(config: dict[str, Any], metadata: Document) -> Iterator[Finding]:
    """CT in the metadata for a config that takes MRI, or the other way round."""
    base = f"{_FORMAT}::inputs::image::modality"
    said = ids.get_at(metadata.content, base) if ids.contains(metadata.content, base) else None
    own = config.get("modalities")
    kinds = {_KINDS.get(str(name).lower(), ()) for name in own} if isinstance(own, list) else set()
    known = any(str(said).upper() in kind for kind in _KINDS.values())
    if known and len(kinds) == 1 and all(kind and str(said).upper() not in kind for kind in kinds):
        message = f"is {said!r}, but modalities are {own}. Write {min(kinds)[0]!r}."
        yield Finding(metadata.where(base, shown=METADATA), message, "warning")


def conventions(composition: Composition) -> Iterator[Finding]:
    """Conventions that are unknown, mixed or impossible, and regions that are not those of the convention."""
    config = composition.config
    main = config.get("label_convention")
    for id_, value in ids.walk(config):
        if id_.rpartition(ids.SEP)[2] not in ("label_convention", "convention") or not isinstance(value, str):
            continue
        if value[:1] in ("$", "@", "%"):
            continue
        if value not in CONVENTIONS:
            known = ", ".join(CONVENTIONS)
            yield Finding(composition.where(id_), f"no label convention is named {value!r}. Known: {known}.")
        elif id_ != "label_convention" and isinstance(main, str) and value != main:
            message = f"{value!r} differs from label_convention, which is {main!r}. Write '@label_convention'."
            yield Finding(composition.where(id_), message)
    if isinstance(main, dict):
        yield from _declared(composition, main)
    regions = config.get("regions")
    wanted = _regions_of(main)
    if wanted and isinstance(regions, list) and regions != wanted:
        message = f"{regions} are not the regions of {main}, in its order: {wanted}."
        yield Finding(composition.where("regions"), message)


def _declared(composition: Composition, declared: dict[str, Any]) -> Iterator[Finding]:
    given = [v for values in declared.values() for v in (values if isinstance(values, list) else [values])]
    if any(isinstance(v, str) and v[:1] in ("$", "@", "%") for v in given):
        return
    try:
        get_convention(declared)
    except ConfigError as error:
        yield Finding(composition.where("label_convention"), str(error).removeprefix("label_convention: "))


def _regions_of(convention: Any) -> list[str]:
    if not isinstance(convention, (str, dict)) or str(convention)[:1] in ("$", "@", "%"):
        return []
    try:
        return list(get_convention(convention).regions)
    except ConfigError:
        return []
