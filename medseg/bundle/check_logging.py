"""The logging config that `python -m monai.bundle` reads: names without a section, keys that logging never reads."""

from __future__ import annotations

import ast
import configparser
import difflib
import logging
import logging.handlers
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from medseg.bundle.findings import Finding

_LEVELS = ("NOTSET", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL")
# logging.config.fileConfig: the keys of each kind of section, those that it cannot do without first.
_KEYS = {
    "logger": "handlers level qualname propagate",
    "handler": "class level formatter args kwargs",
    "formatter": "format datefmt style validate class defaults",
}
_NEEDED = {"logger": "handlers", "handler": "class", "formatter": ""}


def logging_problems(root: Path) -> Iterator[Finding]:
    """What logging would refuse, or not read, in each `.conf` of a bundle."""
    for path in sorted((root / "configs").glob("*.conf")):
        shown = str(path.relative_to(root))
        parser = configparser.RawConfigParser()
        try:
            text = path.read_text(encoding="utf-8")
            parser.read_string(text)
        except (OSError, UnicodeDecodeError) as error:
            yield Finding(f"{shown}:1", f"cannot be read ({error.__class__.__name__}).")
            continue
        except configparser.Error as error:
            line = getattr(error, "lineno", None) or next((n for n, _ in getattr(error, "errors", [])), 1)
            yield Finding(f"{shown}:{line}", f"no logging config: {str(error).splitlines()[0]}.")
            continue
        sections = {name: dict(parser.items(name)) for name in parser.sections()}
        yield from _Conf(shown, text.splitlines(), sections).problems()


class _Conf:
    """One logging config, and where its keys stand."""

    def __init__(self, shown: str, lines: list[str], sections: dict[str, dict[str, str]]) -> None:
        self.shown, self.lines, self.sections = shown, lines, sections

    def problems(self) -> Iterator[Finding]:
        """Everything that is wrong with it."""
        for kind in _KEYS:
            listed = self.sections.get(f"{kind}s")
            if listed is None or "keys" not in listed:
                where = self._where(f"{kind}s", next(iter(listed), "") if listed else "")
                yield Finding(where, f"[{kind}s] with its keys is missing, and logging needs it.")
                continue
            for name in _names(listed["keys"]):
                if f"{kind}_{name}" not in self.sections:
                    yield self._absent(kind, name)
            for section in (s for s in self.sections if s.startswith(f"{kind}_")):
                yield from self._section(kind, section)
        if "keys" in self.sections.get("loggers", {}) and "root" not in _names(self.sections["loggers"]["keys"]):
            yield Finding(self._where("loggers", "keys"), "logging needs a logger called root.")

    def _absent(self, kind: str, name: str) -> Finding:
        """The finding for a section that is not there: at the one that is misspelt, or at the list."""
        near = difflib.get_close_matches(f"{kind}_{name}", self._unlisted(kind), n=1)
        used = [n for s in self.sections.values() for key in ("handlers", "formatter") for n in _names(s.get(key, ""))]
        if near and (name in used or name == "root"):
            return Finding(self._where(near[0], ""), f"nothing asks for [{near[0]}]. Did you mean [{kind}_{name}]?")
        hint = f" Did you mean {near[0].partition('_')[2]!r}?" if near else ""
        return Finding(self._where(f"{kind}s", "keys"), f"there is no section [{kind}_{name}].{hint}")

    def _unlisted(self, kind: str) -> list[str]:
        listed = _names(self.sections[f"{kind}s"]["keys"])
        return [s for s in self.sections if s.startswith(f"{kind}_") and s.partition("_")[2] not in listed]

    def _section(self, kind: str, section: str) -> Iterator[Finding]:
        content, known = self.sections[section], _KEYS[kind].split()
        for key in content:
            if key not in known:
                message = f"logging reads no {key!r} in [{section}].{_nearest(key, known)}"
                yield Finding(self._where(section, key), message)
        needed = _NEEDED[kind]
        if needed and needed not in content:
            yield Finding(self._where(section, ""), f"[{section}] needs the key {needed!r}.")
        if "level" in content and content["level"] not in _LEVELS:
            message = f"{content['level']!r} is no level.{_nearest(content['level'], _LEVELS)}"
            yield Finding(self._where(section, "level"), message)
        if kind == "handler":
            yield from self._class(section, content.get("class", ""))
            yield from self._arguments(section, content.get("args", "()"))
        for key, wanted in (("handlers", "handler"), ("formatter", "formatter")):
            names = _names(self.sections.get(f"{wanted}s", {}).get("keys", ""))
            for name in _names(content.get(key, "")) if names else ():
                if name not in names:
                    message = f"no {wanted} is called {name!r} in [{wanted}s].{_nearest(name, names)}"
                    yield Finding(self._where(section, key), message)

    def _class(self, section: str, name: str) -> Iterator[Finding]:
        """A handler's class: logging's own by its name, another by its whole one."""
        known = {*vars(logging), *(f"handlers.{n}" for n in vars(logging.handlers))}
        if name.isidentifier() and name not in known:
            close = _nearest(name, (n for n in known if n.endswith("Handler")))
            yield Finding(self._where(section, "class"), f"logging has no {name!r}.{close}")

    def _arguments(self, section: str, text: str) -> Iterator[Finding]:
        """A handler's arguments, an expression that logging evaluates: no Python, or a name that `sys` lacks."""
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError):
            yield Finding(self._where(section, "args"), f"{text!r} is no Python expression, and logging evaluates it.")
            return
        for node in ast.walk(tree):
            of_sys = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys"
            if isinstance(node, ast.Attribute) and of_sys and not hasattr(sys, node.attr):
                message = f"sys has no {node.attr!r}.{_nearest(node.attr, dir(sys))}"
                yield Finding(self._where(section, "args"), message)

    def _where(self, section: str, key: str) -> str:
        """The line of a key in a section, of the section, or of the file."""
        inside = 0
        for number, line in enumerate(self.lines, 1):
            if line.strip().startswith("["):
                inside = number if line.strip() == f"[{section}]" else 0
            elif inside and key and re.match(rf"\s*{re.escape(key)}\s*[=:]", line, re.I):
                return f"{self.shown}:{number}: {key}"
            if inside == number and not key:
                return f"{self.shown}:{number}: {section}"
        return f"{self.shown}:1: {section}"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
