"""Keys of items: those that a transform is given, and those that a handler takes out of an engine's output."""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import source_of
from medseg.bundle.references import is_expression

# monai.utils.CommonKeys, and what medseg's items say besides.
_OF_ENGINES = frozenset({"image", "label", "pred", "loss", "metadata", "case_id", "box", "box_label", "score"})
_TAKES = re.compile(r"\bfrom_engine\s*\(")


def item_keys(composition: Composition) -> Found:
    """Keys that no item has, that come twice, or that are none."""
    config = composition.config
    uses = list(_uses(config))
    yield from _slips(uses)
    for id_, value in ids.walk(config):
        if ids.is_component(value) and "keys" in value:
            yield from _lists(config, f"{id_}{ids.SEP}keys")
        elif is_expression(value) and _TAKES.search(value):
            yield from _taken(id_, value, _OF_ENGINES | {key for _, key in uses})


def _uses(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where a key of an item is named, and the key."""
    for id_, value in ids.walk(config):
        for name in value if ids.is_component(value) else ():
            if name == "keys" or name.endswith(("_key", "_keys")):
                yield from ((f"{id_}{ids.SEP}{name}", key) for key in _texts(value[name]))
    # Lists of keys that several transforms share.
    for name, value in config.items():
        if str(name).endswith("_keys") and isinstance(value, list):
            yield from ((name, key) for key in _texts(value))


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [key for key in values if isinstance(key, str) and key.isidentifier()]


def _slips(uses: list[tuple[str, str]]) -> Found:
    """Keys that one transform alone uses, a slip away from a key that others use."""
    counts = Counter(key for _, key in uses)
    for id_, key in uses:
        others = [k for k, n in counts.items() if n > 1 and k.isalpha() and k.rstrip("s") != key.rstrip("s")]
        if id_.endswith("_key") and counts[key] == 1:  # one key, of which a plural is a slip where many know the other
            others += [k for k, n in counts.items() if n > 3 and key == f"{k}s"]
        once = counts[key] == 1 and key.isalpha()
        swapped = [k for k in others if sorted(k) == sorted(key)]  # letters in another order
        close = (swapped or difflib.get_close_matches(key, others, n=1, cutoff=0.8)) if once else []
        if close:
            yield id_, f"no other transform knows the key {key!r}. Did you mean {close[0]!r}?", "error"


def _lists(config: dict[str, Any], id_: str) -> Found:
    source = source_of(config, id_)
    keys = ids.get_at(config, source) if source else ""
    if source is None:
        return
    if keys is None or keys in ([], ""):
        yield source, "no key is given, and MONAI refuses none. Name at least one.", "error"
    elif isinstance(keys, dict) and not ids.is_component(keys):
        yield source, "is a mapping; a key or a list of keys is wanted.", "error"
    elif isinstance(keys, list):
        twice = [key for key, count in Counter(map(str, keys)).items() if count > 1]
        if twice:
            yield source, f"{twice[0]!r} comes twice, so the transform works on it twice.", "error"


def _taken(id_: str, expression: str, known: frozenset[str]) -> Found:
    """Keys in `from_engine(...)` that nothing produces, and are a slip away from one that something does."""
    try:
        tree = ast.parse(re.sub(r"@\w*((::|#)\w+)*", "_", expression[1:]).strip(), mode="eval")
    except (SyntaxError, ValueError):
        return
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("from_engine") or not call.args:
            continue
        keys = call.args[0].elts if isinstance(call.args[0], ast.List | ast.Tuple) else call.args[:1]
        for key in (k.value for k in keys if isinstance(k, ast.Constant) and isinstance(k.value, str)):
            # SplitDimd and others make keys of a key and a suffix.
            if key in known or any(key.startswith(f"{each}_") for each in known):
                continue
            near = [k for k in known if sorted(k) == sorted(key)]
            near += difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.7)
            if near:
                yield id_, f"no transform or engine makes {key!r}. Did you mean {near[0]!r}?", "error"
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and isinstance(call.args[1].value, str):
            yield id_, f"{call.args[1].value!r} is taken for from_engine's `first`. Write a list of keys.", "error"
