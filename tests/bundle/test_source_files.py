"""A name's own lines are parsed, and give what parsing the whole file gives."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medseg.bundle import source_files
from medseg.bundle.source_files import Module, names_bound_by, statements_in
from medseg.bundle.source_index import SourceIndex

SOURCE = '''"""At the head of a line of text:
class Inner: pass
"""
from .other import *
from .deep.er import (
    thing as renamed,
)
import os.path, json as j
one = two = 1; three = 3
if one:
    text = """
def not_this(): pass
"""
    @decorated(
        with_lines
    )
    class Inside:
        def method(self): return 1
if two: four = 4
try:
    import fast
except ImportError:
    fast = None
def repeated(a): ...
def repeated(b): ...
'''


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceIndex]:
    index = SourceIndex(tmp_path / "kept" / "index.json")
    monkeypatch.setattr(source_files, "source_index", lambda: index)
    yield index
    index._new = {}  # nothing is left for the end of the process


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(SOURCE)
    return path


def kept(index: SourceIndex, monkeypatch: pytest.MonkeyPatch) -> SourceIndex:
    """The index as the next process reads it."""
    index.save()
    again = SourceIndex(index.path)
    monkeypatch.setattr(source_files, "source_index", lambda: again)
    return again


def whole(text: str) -> dict[str, str]:
    """What each name is bound by last, from the whole file."""
    return {name: ast.dump(each) for each in statements_in(ast.parse(text).body) for name in names_bound_by(each)}


def test_names_have_the_statements_of_the_whole_file(
    index: SourceIndex, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name: ast.dump(each) for name, each in Module("a.code", source).bindings.items()} == whole(SOURCE)
    kept(index, monkeypatch)
    again = Module("a.code", source)
    assert {name: ast.dump(each) for name, each in again.bindings.items()} == whole(SOURCE)
    assert again.stars == ["a.other"]
    assert list(again.bindings) == list(whole(SOURCE))


@pytest.mark.parametrize("name", ["monai.transforms.spatial.dictionary", "monai.networks.nets", "json"])
def test_real_sources_too(name: str, index: SourceIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = name.split(".")
    root = Path(__import__("importlib.util").util.find_spec(parts[0]).origin).parent
    path = next(
        path
        for path in (root.joinpath(*parts[1:], "__init__.py"), root.joinpath(*parts[1:]).with_suffix(".py"))
        if path.is_file()
    )
    Module(name, path)
    kept(index, monkeypatch)
    found = {bound: ast.dump(each) for bound, each in Module(name, path).bindings.items()}
    assert found == whole(path.read_text(encoding="utf-8"))


def test_a_name_costs_its_own_lines_only(index: SourceIndex, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Module("a.code", source)
    kept(index, monkeypatch)
    parsed: list[bytes] = []
    parse = ast.parse
    monkeypatch.setattr(source_files.ast, "parse", lambda text, **more: parsed.append(text) or parse(text, **more))
    statement = Module("a.code", source).bindings["Inside"]
    assert isinstance(statement, ast.ClassDef)
    assert [text.count(b"\n") for text in parsed] == [5]


def test_an_index_that_is_not_this_files_changes_no_answer(
    index: SourceIndex, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Module("a.code", source)
    index.save()
    content = json.loads(index.path.read_text())
    for place in content[str(source)]["names"].values():
        place[1], place[2] = 1, 2
    index.path.write_text(json.dumps(content))
    monkeypatch.setattr(source_files, "source_index", lambda: SourceIndex(index.path))
    found = {name: ast.dump(each) for name, each in Module("a.code", source).bindings.items()}
    assert found == whole(SOURCE)


def test_a_changed_file_is_parsed_anew(index: SourceIndex, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Module("a.code", source)
    kept(index, monkeypatch)
    before = source.stat()
    source.write_text("class New: pass\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(Module("a.code", source).bindings) == ["New"]


def test_whether_names_may_appear_is_asked_once(
    index: SourceIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dynamic.py"
    path.write_text("globals()['x'] = 1\n")
    assert Module("dynamic", path).is_dynamic
    kept(index, monkeypatch)
    monkeypatch.setattr(source_files.ast, "parse", lambda *_, **__: pytest.fail("parsed"))
    assert Module("dynamic", path).is_dynamic


@pytest.mark.parametrize("content", ["", "[]", '{"code.py": 1}', "{", '{"x": {"stamp": null}}'])
def test_a_broken_index_counts_as_none(content: str, tmp_path: Path, source: Path) -> None:
    path = tmp_path / "index.json"
    path.write_text(content.replace("code.py", str(source)))
    assert SourceIndex(path).get(source) is None


def test_without_a_place_to_write_everything_works(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    index = SourceIndex(blocked / "index.json")
    monkeypatch.setattr(source_files, "source_index", lambda: index)
    assert "Inside" in Module("a.code", source).bindings
    index.save()
    assert blocked.read_text() == ""


def test_vanished_files_leave_the_index(index: SourceIndex, source: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.py"
    gone.write_text("x = 1\n")
    Module("gone", gone)
    index.save()
    gone.unlink()
    Module("a.code", source)
    index.save()
    assert list(json.loads(index.path.read_text())) == [str(source)]
