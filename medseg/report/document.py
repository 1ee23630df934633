"""The HTML document around the sections: styles, pictures and scripts inside; nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from medseg.report.markup import section

STYLES = ("style.css", "viewer.css")
SCRIPTS = ("inflate.js", "voxels.js", "viewer.js", "sorting.js", "start.js")
NOT_CLINICAL = "Made by medseg for research. Not for clinical use."

Card = tuple[str, str, str]
Section = tuple[str, str, str]


def document(name: str, *, kicker: str, cards: Iterable[Card], sections: Sequence[Section]) -> str:
    """A whole page.

    Args:
        name: Its heading, text.
        kicker: What kind of page it is, a line above the heading.
        cards: The figures that a reader looks for first: name, figure as markup, note as text.
        sections: Anchor, title and markup of each; those without markup are left out.
    """
    shown = [(anchor, title, body) for anchor, title, body in sections if body]
    links = "".join(f'<li><a href="#{anchor}">{title}</a></li>' for anchor, title, _ in shown)
    parts = [section(title, body, anchor=anchor) for anchor, title, body in shown]
    script = f'"use strict";\n(() => {{\n{_asset(*SCRIPTS)}}})();\n'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(name)}: report</title>\n<style>\n{_asset(*STYLES)}</style>\n</head>\n<body>\n"
        f"<header><p>{escape(kicker)}</p><h1>{_broken(name)}</h1>{_cards(cards)}</header>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
        f"<main>\n{chr(10).join(parts)}\n</main>\n<footer>{NOT_CLINICAL}</footer>\n"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _broken(name: str) -> str:
    """A name that breaks after its underscores where the window is narrow."""
    return escape(name).replace("_", "_<wbr>")


def _asset(*names: str) -> str:
    return "".join(files("medseg.report").joinpath(name).read_text(encoding="utf-8") for name in names)


def _policy(script: str) -> str:
    """What the page may load: nothing from anywhere, and no script but its own."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _cards(cards: Iterable[Card]) -> str:
    items = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{escape(note)}</small></dd></div>" for name, value, note in cards
    )
    return f"<dl>{items}</dl>" if items else ""
