"""The files that a bundle must have, and what its metadata must say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.bundle.compose import config_file
from medseg.bundle.documents import Document, read_document
from medseg.errors import ConfigError

# The model zoo's conditions (ci/verify_bundle.py, 2024-10).
SCHEMA = Path(__file__).with_name("metadata_schema.json")
_NEEDED = ("LICENSE", "docs/README.md")
_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_LARGE_BYTES = 25_000_000
_TYPES: dict[str, tuple[type, ...]] = {"object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,)}
_Problem = tuple[str, str, str]


def file_problems(root: Path) -> Iterator[_Problem]:
    """Where, what and how bad, for every file that is missing or incomplete."""
    for name in _NEEDED:
        if not (root / name).is_file():
            yield name, "the file is missing; a bundle is not published without it.", "error"
    if config_file(root, "inference") is None:
        yield "configs/inference.yaml", "the file is missing; a bundle that cannot predict is of no use.", "error"
    try:
        yield from _metadata_problems(read_document(root / "configs" / "metadata.json"))
        if (root / "large_files.yml").is_file():
            yield from _large_file_problems(read_document(root / "large_files.yml"))
    except ConfigError as error:
        yield root.name, str(error), "error"
    for path in sorted((root / "models").glob("*")):
        if path.stat().st_size > _LARGE_BYTES:
            yield f"models/{path.name}", "the file is over 25 MB; list it in large_files.yml instead.", "warning"


def _metadata_problems(document: Document) -> Iterator[_Problem]:
    where = f"configs/{document.path.name}"
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for key, message in _violations(document.content, schema, "", schema):
        yield f"{where}: {key}" if key else where, message, "error"
    for key in schema["x-customary"]:
        if key not in document.content:
            yield f"{where}: {key}", "the field is missing; the model zoo's bundles have it.", "warning"
    version, changelog = document.content.get("version"), document.content.get("changelog")
    if isinstance(changelog, dict) and version not in changelog:
        yield f"{where}: changelog", f"has no entry for the version {version}. Add one.", "error"


def _violations(value: Any, schema: dict[str, Any], key: str, top: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What breaks a JSON schema, for the few keywords that ours uses."""
    if "$ref" in schema:
        schema = top["$defs"][schema["$ref"].rpartition("/")[2]]
    wanted = schema.get("type")
    if wanted in _TYPES and not isinstance(value, _TYPES[wanted]):
        yield key, f"is {value!r}, but {wanted} is wanted."
        return
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield key, f"is {value!r}, which does not look like {schema.get('description', schema['pattern'])}."
    if not isinstance(value, dict):
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{key}::{name}" if key else name, "the field is missing."
    for name, child in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if isinstance(inner, dict):
            yield from _violations(child, inner, f"{key}::{name}" if key else name, top)


def _large_file_problems(document: Document) -> Iterator[_Problem]:
    entries = document.content.get("large_files")
    if not isinstance(entries, list):
        yield "large_files.yml", "has no list `large_files`.", "error"
        return
    for number, entry in enumerate(entries):
        where = f"large_files.yml: large_files::{number}"
        missing = [k for k in ("path", "url") if not isinstance(entry, dict) or k not in entry]
        if missing:
            yield where, f"lacks {' and '.join(missing)}.", "error"
            continue
        kind, digest = entry.get("hash_type"), str(entry.get("hash_val", ""))
        if kind != "sha256":
            yield where, f"hash_type is {kind!r}; use sha256, so that the download can be trusted.", "warning"
        if kind in _HASHES and not re.fullmatch(rf"[0-9a-f]{{{_HASHES[kind]}}}", digest):
            yield where, f"hash_val {digest!r} is no {kind} of {_HASHES[kind]} hexadecimal digits.", "error"
