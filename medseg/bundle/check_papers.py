"""The papers of a bundle: licence, model card, the data's conditions, the list of large files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_metadata import PLACEHOLDERS
from medseg.bundle.documents import Document
from medseg.bundle.find import links_out
from medseg.bundle.findings import Finding, Fix

LARGE = "large_files.yml"
_PAPERS = ("LICENSE", "docs/README.md", "docs/data_license.txt", LARGE, "configs/metadata.json")
# Other spellings of the same, which the zoo and its tools do not look for.
_OTHER_NAMES = {
    "LICENSE": r"(docs/)?licen[sc]e(\.(txt|md))?|copying(\.txt)?",
    "docs/README.md": r"(docs/)?readme(\.(md|txt|rst))?",
    "docs/data_license.txt": r"(docs/)?data_licen[sc]e(\.(txt|md))?",
    LARGE: r"large_?files?\.(ya?ml|json)",
    "configs/metadata.json": r"(configs/)?(meta_?data)\.(json|ya?ml)",
}
_ENTRY = ("path", "url", "hash_val", "hash_type")
# Addresses of a page that shows a file, rather than of the file.
_PAGES = re.compile(
    r"https://github\.com/[^/]+/[^/]+/blob/(?!.*[?&]raw=)|https://drive\.google\.com/file/d/|https://huggingface\.co/.+/blob/"
    r"|https://zenodo\.org/records?/\d+/?$|https://www\.dropbox\.com/.*[?&]dl=0"
)
_LINK = re.compile(r"!?\[[^\]\n]*\]\(<?([^)\s>]+)")
_CONFIG = re.compile(r"(?<![\w/.-])configs/[\w./-]+\.(?:ya?ml|json|conf)\b")
_LEAST = 20  # characters of what can be conditions


def other_name(root: Path, name: str) -> str | None:
    """What the bundle has in place of a paper that it should have, under a name that nobody looks for."""
    pattern = re.compile(_OTHER_NAMES[name], re.I)
    places = [path for folder in (root, root / "docs", root / "configs") for path in sorted(folder.glob("*"))]
    shown = (path.relative_to(root).as_posix() for path in places if path.is_file())
    return next((one for one in shown if one not in _PAPERS and pattern.fullmatch(one)), None)


def paper_problems(root: Path) -> Iterator[Finding]:
    """Papers under another name, links that lead nowhere or out of the bundle, and what was left to be filled in."""
    for name in ("docs/data_license.txt", LARGE):
        other = other_name(root, name) if not (root / name).is_file() else None
        if other:
            yield Finding(f"{other}:1", f"nobody looks for this file. Rename it to {name}.", "warning")
    conditions = root / "docs" / "data_license.txt"
    if conditions.is_file() and len(_text(conditions).strip()) < _LEAST:
        yield Finding("docs/data_license.txt:1", "the file says next to nothing; fill it in, or remove it.", "warning")
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt"):
        if (root / name).is_file():
            yield from _left_open(name, _text(root / name))
    if (root / "docs" / "README.md").is_file():
        yield from _dead_links(root, "docs/README.md")
        yield from _absent_configs(root, "docs/README.md")
    for path in links_out(root):
        yield Finding(
            str(path), "the link leads out of the bundle, so the file is missing wherever it goes.", "warning"
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _left_open(name: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        left = PLACEHOLDERS.search(line)
        if left:
            yield Finding(f"{name}:{number}", f"{left[0]!r} was left to be filled in.", "warning")


def _dead_links(root: Path, name: str) -> Iterator[Finding]:
    fenced = False
    for number, line in enumerate(_text(root / name).splitlines(), start=1):
        fenced ^= line.lstrip().startswith("```")
        for target in () if fenced else _LINK.findall(line):
            file = target.partition("#")[0].partition("?")[0]
            inside = file and not re.match(r"[a-z][a-z0-9+.-]*:|//|/", target, re.I) and not file.startswith("../..")
            if inside and not ((root / name).parent / file).exists():
                yield Finding(f"{name}:{number}", f"the link to {target!r} leads nowhere.", "warning")


def _absent_configs(root: Path, name: str) -> Iterator[Finding]:
    """Configs that a command in a text names and the bundle lacks."""
    fenced = False
    for number, line in enumerate(_text(root / name).splitlines(), start=1):
        fenced ^= line.lstrip().startswith("```")
        for target in _CONFIG.findall(line) if fenced else ():
            if not (root / target).is_file():
                yield Finding(f"{name}:{number}", f"the bundle has no {target!r}, which the command names.", "warning")


def large_file_slips(document: Document, name: str) -> Iterator[Finding]:
    """Entries that are well-formed and cannot be meant: misspelt keys, one path twice, the address of a page."""
    entries = document.content.get("large_files")
    seen: set[str] = set()
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        key = f"large_files{ids.SEP}{number}"
        if not isinstance(entry, dict):
            continue
        yield from _misspelt(document, name, key, entry)
        path, url = str(entry.get("path", "")), str(entry.get("url", ""))
        if path and path in seen:
            yield Finding(document.where(f"{key}{ids.SEP}path", shown=name), f"{path!r} is listed twice.")
        seen.add(path)
        if _PAGES.match(url):
            message = f"{url!r} is the page that shows the file, not the file. Give the address of its download."
            yield Finding(document.where(f"{key}{ids.SEP}url", shown=name), message)


def _misspelt(document: Document, name: str, key: str, entry: dict[str, Any]) -> Iterator[Finding]:
    absent = [known for known in _ENTRY if known not in entry]
    for given in entry:
        near = difflib.get_close_matches(str(given).lower(), absent, n=1, cutoff=0.6) if given not in _ENTRY else []
        if near:
            where = f"{key}{ids.SEP}{given}"
            fix = Fix(document.lines.get(where, 1), str(given), near[0])
            message = f"nobody looks for this key. Did you mean {near[0]!r}?"
            yield Finding(document.where(where, shown=name), message, fix=fix)
