"""Code that a bundle carries: whether a name is in it, told from its text alone."""

from __future__ import annotations

import ast
from pathlib import Path

from medseg.bundle.source_files import names_bound_by, statements_in
from medseg.bundle.sources import nearest_name


def carried_problem(root: Path, target: str) -> str | None:
    """Why a name of the bundle's own code cannot be found; None where it can, or where that cannot be told.

    Args:
        root: The bundle's folder.
        target: Dotted name of a class or function.
    """
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        path = _file(root, parts[:length])
        if path is not None and path.name == "__init__.py" and length < len(parts) - 1:
            return _missing_module(path, parts[length])
        if path is not None:
            return _missing(path.relative_to(root), path.read_bytes(), parts[length])
    return None


def _file(root: Path, parts: list[str]) -> Path | None:
    """The file of a module, inside the bundle."""
    base = root.joinpath(*parts)
    paths = (base.with_name(f"{base.name}.py"), base / "__init__.py")
    return next((p for p in paths if p.is_file() and p.resolve().is_relative_to(root.resolve())), None)


def _missing_module(package: Path, name: str) -> str | None:
    """That a package lacks a module; None where it has none, as in a copy of the configs alone."""
    modules = [p.stem for p in package.parent.glob("*") if p.suffix in (".py", ".so", ".pyd") and p != package]
    text = package.read_bytes()
    if not modules or name in modules or (package.parent / name).is_dir() or name.encode() in text:
        return None
    return f"{package.parent.name} has no module {name!r}.{nearest_name(name, modules)}"


def _missing(path: Path, text: bytes, name: str) -> str | None:
    try:
        statements = list(statements_in(ast.parse(text).body))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return f"{path}{f':{line}' if line else ''} is no Python: {getattr(error, 'msg', error)}."
    known = {each for statement in statements for each in names_bound_by(statement)}
    stars = any(isinstance(s, ast.ImportFrom) and s.names[0].name == "*" for s in statements)
    if name in known or stars or "__getattr__" in known:
        return None
    return f"{path} has no {name!r}.{nearest_name(name, known)}"
