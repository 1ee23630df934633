"""What is run: the lists of expressions at the ids that MONAI evaluates, and whether these do anything."""

from __future__ import annotations

import ast
import re
from typing import Any

from medseg.bundle import ids
from medseg.bundle.check_arguments import target_of
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.members import members_of
from medseg.bundle.references import is_expression, references_in

_LISTS = ("imports", "initialize", "run", "finalize")
_BOUND = re.compile(r"\$\s*@([A-Za-z_]\w*(?:(?:::|#)\w+)*)\.([A-Za-z_]\w*)\s*")


def run_lists(composition: Composition) -> Found:
    """Ids that MONAI evaluates one expression after another: whether each is a list, and each element runs."""
    config = composition.config
    for key in _LISTS:
        value = config.get(key)
        if value is None and key in config and key == "run":
            yield key, "is null, so nothing runs. Write a list of expressions.", "error"
        elif isinstance(value, dict) and not ids.is_component(value):
            yield key, "is a mapping; a list of expressions is wanted. Write '- $...' below it.", "error"
        elif isinstance(value, str):
            yield from _text(key, value)
        for n, element in enumerate(value if isinstance(value, list) else ()):
            yield from _element(config, f"{key}{ids.SEP}{n}", element)
    yield from _untrained(composition)
    steps = config.get("run")
    if isinstance(steps, list) and not any(_does_something(step) for step in steps):
        where = f"run{ids.SEP}0" if steps else "run"
        yield where, "nothing runs: no element calls anything. Write '- $@evaluator.run()' or the like.", "error"


def _untrained(composition: Composition) -> Found:
    """A training whose `run` leaves the trainer out."""
    config = composition.config
    steps = config.get("run")
    texts = {n: s for n, s in enumerate(steps if isinstance(steps, list) else ()) if isinstance(s, str)}
    if composition.workflow != "train" or not texts or not ids.contains(config, "train::trainer"):
        return
    named = [target for n, text in texts.items() for target in references_in(text, f"run{ids.SEP}{n}")]
    started = [n for n, text in texts.items() if ".run(" in text]
    if started and named and all(target == "validate::evaluator" for target in named):
        where = f"run{ids.SEP}{started[0]}"
        yield where, "runs the validation alone, and trains nothing. Write '$@train::trainer.run()'.", "warning"


def _text(key: str, value: str) -> Found:
    if is_expression(value):
        message = "is an expression; consumers look for a list of them. Write it below, behind '- '."
        yield key, message, "warning"
    elif value[:1] not in ("@", "%"):
        yield key, f"{value!r} is a text; a list of expressions is wanted. Write '- $...' below it.", "error"


def _element(config: dict[str, Any], id_: str, value: Any) -> Found:
    if isinstance(value, str) and value[:1] not in ("$", "@", "%"):
        yield id_, f"{value!r} is a text, and does nothing. Write an expression, '${value}'.", "error"
    bound = _BOUND.fullmatch(value) if is_expression(value) else None
    target = target_of(config, ids.normalize(bound[1])) if bound else None
    members = members_of(target) if target else None
    if bound and members is not None and bound[2] in members.methods:
        yield id_, f"{value!r} names the method and does not call it. Write '{value.strip()}()'.", "error"


def _does_something(step: Any) -> bool:
    if not isinstance(step, str):
        return True
    if not is_expression(step):
        return False
    try:
        tree = ast.parse(re.sub(r"@\w*((::|#)\w+)*", "_", step[1:]).strip())
    except (SyntaxError, ValueError):
        return True
    # An expression that names something only is found where its method is not called.
    return not isinstance(tree.body[0], ast.Expr) or any(
        isinstance(n, ast.Call | ast.Attribute) for n in ast.walk(tree)
    )
