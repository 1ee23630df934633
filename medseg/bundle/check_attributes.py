"""Methods and attributes that expressions look for on components whose class has none of that name."""

from __future__ import annotations

import difflib
import re

from medseg.bundle import ids
from medseg.bundle.check_arguments import target_of
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found
from medseg.bundle.members import members_of
from medseg.bundle.references import is_expression
from medseg.bundle.sources import nearest_name

_ATTRIBUTE = re.compile(r"@([A-Za-z_]\w*(?:(?:::|#)\w+)*)\.([A-Za-z_]\w*)\s*(\()?")
# A torch module has these, and no class need be read to know it.
_OF_MODULES = frozenset({"to", "eval", "train", "parameters", "state_dict", "load_state_dict"})


def attributes(composition: Composition) -> Found:
    """Methods and attributes that the class of a component has not."""
    for id_, value in ids.walk(composition.config):
        for reference, name, called in _ATTRIBUTE.findall(value) if is_expression(value) else ():
            target = target_of(composition.config, ids.normalize(reference))
            close = _missing(target, name, called=bool(called)) if target else None
            if close is not None:
                yield id_, f"@{reference} has no {name!r}.{close}", "error"


def _missing(target: str, name: str, *, called: bool) -> str | None:
    """The hint for a name that is not there; None when it is, or may be."""
    if name in _OF_MODULES:
        return None
    members = members_of(target)
    if members is None or name in members.names:
        return None
    if members.complete:
        return nearest_name(name, members.names)
    near = difflib.get_close_matches(name, members.methods, n=1, cutoff=0.8)
    return f" Did you mean {near[0]!r}?" if members.of_torch and called and near else None
