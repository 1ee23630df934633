from __future__ import annotations

from pathlib import Path

import pytest

from medseg.bundle.documents import parse_value, read_document
from medseg.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-2e+1", -20.0),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("e3", "e3"),
        ("1e", "1e"),
        ("t1c", "t1c"),
        ("2024-01-02", "2024-01-02"),
        ("[1e-3, 2]", [1e-3, 2]),
        ("{a: 1e-3}", {"a": 1e-3}),
    ],
)
def test_values_are_yaml_with_floats_as_people_write_them(text: str, value: object) -> None:
    got = parse_value(text)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("suffix", "text"), [("yaml", "a: 1\nb:\n  c: 2\n  c: 3\n"), ("json", '{"b": {\n"c": 2,\n\n"c": 3}}')]
)
def test_a_key_that_comes_twice_is_refused_with_its_line(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"config.{suffix}"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"config\.{suffix}:4: the key '.*c' comes twice"):
        read_document(path)


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "a: 1\nb: ]\n"), ("a.json", '{"a": 1,\n}')])
def test_broken_syntax_names_the_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"{name}:2: not valid (YAML|JSON)"):
        read_document(tmp_path / name)


def test_lines_and_floats_that_stock_monai_reads_as_text_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a:\n  b: 1e-3\n  c:\n  - 1.0e-3\n")
    document = read_document(path)
    assert document.content == {"a": {"b": 1e-3, "c": [1e-3]}}
    assert document.lines["a::c::0"] == 4
    assert [(t.id_, t.text, t.kind) for t in document.traps] == [("a::b", "1e-3", "number")]


@pytest.mark.parametrize("text", ["- 1\n", "just text\n"])
def test_the_top_level_is_a_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a mapping"):
        read_document(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read"):
        read_document(tmp_path / "absent.yaml")
