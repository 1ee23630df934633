"""Source files, of which only what is asked for is parsed.

Parsing torch's and MONAI's large files whole took half of the time of `medseg bundle check`. An index on disk says on
which lines of a file each name is bound, so that a name costs the parsing of its own lines.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from medseg.bundle.source_index import Entry, Place, source_index


class Module:
    """A source file: what its statements bind.

    Attributes:
        name: Dotted name.
        bindings: The statement that binds each name last.
        stars: The modules that it imports everything from.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.is_package = path.name == "__init__.py"
        self._source = _Source(path)
        index = source_index()
        entry = index.get(path)
        if entry is None:
            entry = self._indexed()
            index.put(path, entry)
        self._path, self._entry = path, entry
        self.bindings: Mapping[str, ast.stmt] = _Bindings(self._source, entry.names)
        self.stars = [self.absolute_name(*star) for star in entry.stars]

    def absolute(self, statement: ast.ImportFrom) -> str:
        """The dotted name of the module that the statement imports from."""
        return self.absolute_name(statement.module or "", statement.level)

    def absolute_name(self, module: str, level: int) -> str:
        """The dotted name of a module that is named from here, with that many dots."""
        if not level:
            return module
        parts = self.name.split(".")
        parts = parts[: len(parts) - level + (1 if self.is_package else 0)]
        return ".".join([*parts, module] if module else parts)

    @property
    def is_dynamic(self) -> bool:
        """Whether names may appear that no statement binds."""
        if self._entry.dynamic is None:
            calls = (n.func for n in ast.walk(self._source.tree) if isinstance(n, ast.Call))
            found = "__getattr__" in self.bindings or any(
                isinstance(f, ast.Name) and f.id in ("globals", "setattr", "exec", "vars") for f in calls
            )
            self._entry = Entry(self._entry.names, self._entry.stars, found)
            source_index().put(self._path, self._entry)
        return bool(self._entry.dynamic)

    def _indexed(self) -> Entry:
        names: dict[str, Place] = {}
        stars = []
        for statement in statements_in(self._source.tree.body):
            names |= dict.fromkeys(names_bound_by(statement), place_of(statement))
            if isinstance(statement, ast.ImportFrom) and any(alias.name == "*" for alias in statement.names):
                stars.append((statement.module or "", statement.level))
        return Entry(names, tuple(stars), None)


class _Source:
    """The text of a file, parsed in parts or as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] | None = None
        self._tree: ast.Module | None = None

    @property
    def tree(self) -> ast.Module:
        """The whole file."""
        if self._tree is None:
            self._tree = ast.parse(self.path.read_bytes(), filename=str(self.path))
        return self._tree

    def statement(self, name: str, place: Place) -> ast.stmt:
        """The one that binds the name."""
        found = None if self._tree is not None else self._part(place)
        if found is not None and type(found).__name__ == place.kind and name in names_bound_by(found):
            return found
        # Several statements on a line, or an index that is not this file's.
        return [each for each in statements_in(self.tree.body) if name in names_bound_by(each)][-1]

    def _part(self, place: Place) -> ast.stmt | None:
        if self._lines is None:
            self._lines = self.path.read_bytes().split(b"\n")
        text = b"\n".join(self._lines[place.first - 1 : place.last])
        try:
            body = ast.parse(b"if 1:\n" + text if text[:1].isspace() else text).body
        except (SyntaxError, ValueError):
            return None
        if text[:1].isspace() and body and isinstance(body[0], ast.If):
            body = body[0].body
        return body[0] if len(body) == 1 else None


class _Bindings(Mapping[str, ast.stmt]):
    """The statement for each name, parsed when it is asked for."""

    def __init__(self, source: _Source, places: Mapping[str, Place]) -> None:
        self._source, self._places = source, places
        self._parsed: dict[str, ast.stmt] = {}

    def __getitem__(self, name: str) -> ast.stmt:
        if name not in self._parsed:
            self._parsed[name] = self._source.statement(name, self._places[name])
        return self._parsed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def names_bound_by(statement: ast.stmt) -> list[str]:
    """The names that a statement binds by itself.

    >>> [names_bound_by(each) for each in ast.parse("import a.b; from c import d as e, f; g = h, i = j").body]
    [['a'], ['e', 'f'], ['g', 'h', 'i']]
    """
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        return [node.id for node in nodes if isinstance(node.ctx, ast.Store)]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names if alias.name != "*"]
    if isinstance(statement, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    return []


def place_of(statement: ast.stmt) -> Place:
    """Its lines, decorators included."""
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    return Place(type(statement).__name__, first, statement.end_lineno or statement.lineno)


def statements_in(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a body, those inside if, try, with and loops too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for field in ("body", "orelse", "finalbody"):
                yield from statements_in(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from statements_in(handler.body)
