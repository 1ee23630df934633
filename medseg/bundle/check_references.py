"""References, macros and expressions: whether what they name is there, and comes to an end."""

from __future__ import annotations

import ast
import re
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.references import circle_from, expression_problem, imported_names, is_expression, references_in

_LOOKED_FOR = re.compile(r"@(\w+(?:::\w+)*)\.index\((['\"])(.*?)\2\)")


def references(composition: Composition) -> Found:
    """References and macros to what is not there, or is switched off."""
    config = composition.config
    for id_, value in ids.walk(config):
        for target in references_in(value, id_):
            if not target:
                yield id_, f"{value!r}: MONAI reads every '@' in an expression as a reference to a key.", "error"
            elif not _is_known(composition, target):
                close = ids.nearest_id(config, target)
                hint = f" Did you mean '@{close}'?" if close else ""
                yield id_, f"'@{target}' refers to a key that the config lacks.{hint}", "error"
            elif _is_none_in_list(config, id_, value, target):
                yield id_, f"'@{target}' is _disabled_ and leaves None in the list. Write it inline instead.", "error"
        if isinstance(value, str) and value.startswith("%"):
            yield from _macro(config, id_, value)


def _macro(config: dict[str, Any], id_: str, value: str) -> Found:
    target = ids.normalize(value[1:])
    if any(f".{suffix}{ids.SEP}" in f"{target}{ids.SEP}" for suffix in ("json", "yaml", "yml")):
        message = f"{value!r} is read from the working directory, which differs between users. Use a reference."
        yield id_, message, "warning"
    elif not ids.contains(config, target):
        yield id_, f"{value!r} copies a key that the config lacks.", "error"


def _is_known(composition: Composition, target: str) -> bool:
    # `_meta_` is metadata.json, which MONAI adds when it runs.
    return target.startswith("_meta_") or ids.contains(composition.config, target)


def _is_none_in_list(config: dict[str, Any], id_: str, value: str, target: str) -> bool:
    if target.startswith("_meta_") or not _is_disabled(ids.get_at(config, target)):
        return False
    if is_expression(value):
        return f"@{target}" in _listed(value)
    parent = id_.rpartition(ids.SEP)[0]
    return bool(parent) and isinstance(ids.get_at(config, parent), list)


def _is_disabled(content: Any) -> bool:
    if not ids.is_component(content):
        return False
    flag = content.get("_disabled_", False)
    # Any expression may come to true.
    return flag.strip().lower() == "true" or flag[:1] in ("$", "@") if isinstance(flag, str) else bool(flag)


def _listed(expression: str) -> set[str]:
    """References that stand as elements of a list in an expression."""
    try:
        tree = ast.parse(re.sub(r"@(\w+(?:::\w+)*)", lambda m: f"ref_('{m[1]}')", expression[1:].strip()), mode="eval")
    except SyntaxError:
        return set()
    lists = [n for n in ast.walk(tree) if isinstance(n, ast.List | ast.Tuple)]
    calls = [e for n in lists for e in n.elts if isinstance(e, ast.Call) and ast.unparse(e.func) == "ref_"]
    return {f"@{ast.literal_eval(c.args[0])}" for c in calls if isinstance(c.args[0], ast.Constant)}


def expressions(composition: Composition) -> Found:
    """Expressions that are no Python, or name what is not there."""
    names = imported_names(composition.config)
    for id_, value in ids.walk(composition.config):
        if is_expression(value):
            problem = expression_problem(value, id_, names, composition.config)
            if problem:
                yield id_, problem, "error"


def circles(composition: Composition) -> Found:
    """References that come back to where they started."""
    for start in ("initialize", "run", "finalize"):
        circle = circle_from(composition.config, start)
        if circle:
            yield circle[0], f"the references form a circle: {' -> '.join(circle)}.", "error"


def missing_elements(composition: Composition) -> Found:
    """Elements that an expression looks for in a list that has no such element."""
    for id_, value in ids.walk(composition.config):
        for target, _, element in _LOOKED_FOR.findall(value) if is_expression(value) else ():
            try:
                known = constant(composition.config, target)
            except UnknownError:
                continue
            if isinstance(known, list) and element not in known:
                yield id_, f"{element!r} is not in @{target}, which is {known}.", "error"
