"""The files that a bundle must have, and what its metadata must say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_metadata import metadata_slips
from medseg.bundle.check_papers import large_file_slips, other_name, paper_problems
from medseg.bundle.compose import config_file
from medseg.bundle.documents import METADATA, Document, read_document
from medseg.bundle.findings import Finding, Fix
from medseg.errors import ConfigError

# The model zoo's conditions (ci/verify_bundle.py, 2024-10).
SCHEMA = Path(__file__).with_name("metadata_schema.json")
_NEEDED = {"LICENSE": 200, "docs/README.md": 20}  # the least number of characters that can be one
# Of the metadata's field: the schema of 2022-03 and today's
_OLD_NAME, _NEW_NAME = "optional_packages_version", "required_packages_version"
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_LARGE_BYTES = 25_000_000
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
# What a reader of a model card looks for, by the words that a heading or a row of a table may use.
_CARD = {
    "what goes in": "input|modalit|image",
    "what comes out": "output|prediction|mask|classes|box",
    "the data": "data",
    "the training": "train",
    "limits and intended use": "limit|intended use|disclaimer|out of scope|risk|not for clinical",
}


def file_problems(root: Path) -> Iterator[Finding]:
    """Every file that is missing or incomplete."""
    for name, least in _NEEDED.items():
        if not (root / name).is_file():
            yield Finding(name, f"the file is missing; a bundle is not published without it.{_instead(root, name)}")
        elif len((root / name).read_text(encoding="utf-8", errors="replace").strip()) < least:
            yield Finding(f"{name}:1", "the file says next to nothing; fill it in.", "warning")
    if (root / "docs" / "README.md").is_file():
        yield from _card_problems(root / "docs" / "README.md")
    if config_file(root, "inference") is None:
        yield Finding("configs/inference.yaml", "the file is missing; a bundle that cannot predict is of no use.")
    if not (root / METADATA).is_file():
        message = "the file is missing, so no program takes the folder for a bundle."
        yield Finding(METADATA, f"{message}{_instead(root, METADATA)}")
    yield from paper_problems(root)
    yield from _read_and_check(root)
    for path in sorted((root / "models").glob("*")):
        if path.is_file() and path.stat().st_size > _LARGE_BYTES:
            message = "the file is over 25 MB; list it in large_files.yml instead."
            yield Finding(f"models/{path.name}", message, "warning")


def _instead(root: Path, name: str) -> str:
    other = other_name(root, name)
    return f" Rename {other}." if other else ""


def _read_and_check(root: Path) -> Iterator[Finding]:
    checks = {METADATA: _metadata_problems, "large_files.yml": _large_file_problems}
    for name, check in checks.items():
        if not (root / name).is_file():
            continue
        try:
            document = read_document(root / name, strict=False)
        except ConfigError as error:
            yield unreadable(error, root)
            continue
        for trap in document.traps:
            if trap.kind == "twice":
                message = f"the key {trap.text!r} comes twice, and the last one silently wins. Remove one of them."
                yield Finding(f"{name}:{trap.line}: {trap.id_}", message)
        yield from check(document, name)


def unreadable(error: ConfigError, root: Path) -> Finding:
    """The finding for a file that could not be read, from the error that names it."""
    text = str(error).replace(f"{root}/", "")
    where, colon, message = text.partition(": ")
    return Finding(where, message) if colon else Finding(root.name, text)


def _card_problems(path: Path) -> Iterator[Finding]:
    text = path.read_text(encoding="utf-8", errors="replace")
    if not re.search(r"^#\s+\S|^\S.*\n=+\s*$", text, re.M):
        yield Finding("docs/README.md:1", "the model card has no title.", "warning")
    places = "\n".join(
        line for line in text.lower().splitlines() if line.startswith(("#", "|", "- ", "* ")) or ":" in line
    )
    body = text.lower()
    for what, words in _CARD.items():
        if not re.search(words, places) and not (what.startswith("limits") and re.search(words, body)):
            yield Finding("docs/README.md:1", f"the model card says nothing of {what}.", "warning")


def _metadata_problems(document: Document, name: str) -> Iterator[Finding]:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    renamed = _OLD_NAME in document.content and _NEW_NAME not in document.content
    if renamed:
        fix = Fix(document.lines.get(_OLD_NAME, 1), _OLD_NAME, _NEW_NAME)
        message = f"the model zoo's schema has called it {_NEW_NAME} since 2024. Rename it."
        yield Finding(document.where(_OLD_NAME, shown=name), message, "warning", fix)
    slips = list(metadata_slips(document, name, known=[*schema["required"], *schema["x-customary"]]))
    yield from slips
    meant = {slip.fix.new for slip in slips if slip.fix is not None}
    for key, message in _violations(document.content, schema, "", schema):
        is_renamed = message.endswith("is missing.") and key.rpartition(ids.SEP)[2] in meant
        if not is_renamed and not (renamed and key == _NEW_NAME):
            yield Finding(document.where(key, shown=name), message)
    for key in schema["x-customary"]:
        if key not in document.content and key not in meant:
            yield Finding(f"{name}:1: {key}", "the field is missing; the model zoo's bundles have it.", "warning")
    for side, tensor in (("inputs", "image"), ("outputs", "pred")):
        id_ = f"network_data_format::{side}::{tensor}::dtype"
        if ids.contains(document.content, id_) and ids.get_at(document.content, id_) == "float16":
            message = "float16 can be verified on a GPU only (MONAI's verify_net_in_out). Say float32."
            yield Finding(document.where(id_, shown=name), message, "warning")
    version, changelog = document.content.get("version"), document.content.get("changelog")
    if isinstance(changelog, dict) and version not in changelog:
        yield Finding(document.where("changelog", shown=name), f"has no entry for the version {version}. Add one.")
    for key in ("task", "description", "authors", "copyright", "intended_use"):
        if document.content.get(key) == "":
            yield Finding(document.where(key, shown=name), "is empty. Fill it in.", "warning")


def _violations(value: Any, schema: dict[str, Any], key: str, top: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What breaks a JSON schema, for the few keywords that ours uses."""
    if "$ref" in schema:
        schema = top["$defs"][schema["$ref"].rpartition("/")[2]]
    types = schema.get("type", ())
    wanted = [types] if isinstance(types, str) else list(types)
    if wanted and not any(_is_type(value, t) for t in wanted):
        yield key, f"is {value!r}, but {' or '.join(wanted)} is wanted."
        return
    described = schema.get("description", schema.get("pattern"))
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield key, f"is {value!r}, which does not look like {described}."
    if "minimum" in schema and isinstance(value, (int, float)) and value < schema["minimum"]:
        yield key, f"is {value!r}, but {schema['minimum']} is the least."
    for child_key, child, inner in _children(value, schema, key):
        if inner is None:
            yield child_key, "the field is missing."
        else:
            yield from _violations(child, inner, child_key, top)


def _is_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _children(value: Any, schema: dict[str, Any], key: str) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Id, value and schema of what is inside; the schema is None for a field that is missing."""
    prefix = f"{key}{ids.SEP}" if key else ""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for n, child in enumerate(value):
            yield f"{prefix}{n}", child, schema["items"]
    if not isinstance(value, dict):
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{prefix}{name}", None, None
    for name, child in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if isinstance(inner, dict):
            yield f"{prefix}{name}", child, inner


def _large_file_problems(document: Document, name: str) -> Iterator[Finding]:
    entries = document.content.get("large_files")
    if not isinstance(entries, list):
        yield Finding(f"{name}:1", "has no list `large_files`.")
        return
    slips = list(large_file_slips(document, name))
    yield from slips
    misspelt = {slip.where.partition(": ")[2].rpartition(ids.SEP)[0] for slip in slips if slip.fix is not None}
    for number, entry in enumerate(entries):
        key = f"large_files::{number}"
        if key in misspelt:
            continue
        missing = [k for k in ("path", "url") if not isinstance(entry, dict) or k not in entry]
        if missing:
            yield Finding(document.where(key, shown=name), f"lacks {' and '.join(missing)}.")
            continue
        yield from _path_and_url(document, name, key, entry)
        yield from _hash(document, name, key, entry)


def _path_and_url(document: Document, name: str, key: str, entry: dict[str, Any]) -> Iterator[Finding]:
    fault = path_fault(str(entry["path"]))
    if fault:
        yield Finding(document.where(f"{key}::path", shown=name), f"{entry['path']!r} {fault}.")
    if not re.match(r"https://[^\s/]+/\S+$", str(entry["url"])):
        message = f"{entry['url']!r} is no https:// address of a file, so that nobody can tell what comes."
        yield Finding(document.where(f"{key}::url", shown=name), message)


def path_fault(path: str) -> str:
    """What is wrong with a path that a bundle's list of files gives; empty when it stays inside the bundle.

    >>> path_fault("../../etc/passwd")
    'leads out of the bundle'
    """
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    if not path.strip() or "\0" in path:
        return "is no path"
    if posix.is_absolute() or windows.is_absolute() or windows.drive or windows.root or path.startswith("~"):
        return "is no path inside the bundle"
    return "leads out of the bundle" if ".." in windows.parts or ".." in posix.parts else ""


def _hash(document: Document, name: str, key: str, entry: dict[str, Any]) -> Iterator[Finding]:
    kind, digest = entry.get("hash_type"), str(entry.get("hash_val") or "")
    where = document.where(f"{key}::hash_val" if digest else key, shown=name)
    if kind is not None and kind not in _HASHES and digest:
        where = document.where(f"{key}::hash_type", shown=name)
        yield Finding(where, f"{kind!r} is no hash that is known. Known: {', '.join(_HASHES)}.")
        return
    if kind not in _HASHES or not digest:
        yield Finding(where, "has no hash_val with a hash_type such as sha256, so anything may come. Add them.")
        return
    line = document.lines.get(f"{key}::hash_val", 1)
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_HASHES[kind]}}}", digest):
        yield Finding(where, f"hash_val {digest!r} is no {kind} of {_HASHES[kind]} hexadecimal digits.")
    elif digest != digest.lower():
        yield Finding(where, "hash_val is in capitals.", "warning", Fix(line, digest, digest.lower()))
    if kind in ("md5", "sha1"):
        # Whoever publishes a file may have published no better one, and nobody else can say what it should be.
        where = document.where(f"{key}::hash_type", shown=name)
        yield Finding(where, f"{kind} does not keep a forger out; use sha256 where the publisher has one.", "note")
