from __future__ import annotations

import pytest

from medseg.bundle.references import circle_from, expression_problem, imported_names, references_in


@pytest.mark.parametrize(
    ("text", "id_", "found"),
    [
        ("@a::b", "x", ["a::b"]),
        ("@a#0", "x", ["a::0"]),
        ("$@a + @b::c", "x", ["a", "b::c"]),
        ("mail@home", "x", []),
        ("@::b", "train::a", ["train::b"]),
        ("@::::b", "train::a::c", ["train::b"]),
        ("$@a @ x", "x", ["a", ""]),
        (3, "x", []),
    ],
)
def test_references_are_read_as_monai_reads_them(text: object, id_: str, found: list[str]) -> None:
    assert references_in(text, id_) == found


def test_references_agree_with_monai() -> None:
    from monai.bundle import ReferenceResolver

    for text in ("@a::b", "@a#0", "$@a + @b::c['@d']", "mail@home", "@a b", "$x", "@a::b::0"):
        assert dict.fromkeys(references_in(text, "x")) == dict.fromkeys(ReferenceResolver.match_refs_pattern(text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("$len(@a) + [x for x in range(3)][0]", None),
        ("$monai.utils.set_determinism(seed=@seed)", None),
        ("$import glob", None),
        ("$from pathlib import Path", None),
        ("$lambda x: x + 1", None),
        ("$glob.glob('*')", None),
        ("$@a +", "is not a Python expression"),
        ("$os.sep", "unknown name 'os'. Add '$import os'"),
        ("$medseg.engines.f()", "'$import medseg.engines' alone binds no name"),
        ("$monai.utils.set_determinsm()", "does not exist: monai.utils has no 'set_determinsm'. Did you mean"),
    ],
)
def test_expressions_are_checked_by_their_text(text: str, match: str | None) -> None:
    problem = expression_problem(text, "x", {"glob", "medseg.engines"})
    assert problem is None if match is None else problem is not None and match in problem


def test_imports_bind_what_monai_binds() -> None:
    config = {"imports": ["$import glob", "$import os.path", "$from pathlib import Path as P"], "a": "$important"}
    assert imported_names(config) == {"glob", "os.path", "P"}


def test_a_circle_is_found_and_named() -> None:
    config = {"run": ["$@a.run()"], "a": {"b": ["@c"]}, "c": {"d": "$@a + 1"}, "e": "@c"}
    assert circle_from(config, "run") == ["a", "c", "a"]
    config["c"] = {"d": 3}
    assert circle_from(config, "run") is None
