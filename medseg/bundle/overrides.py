"""`KEY=VALUE` on the command line, and what a value may replace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.bundle import ids
from medseg.bundle.documents import parse_value
from medseg.bundle.override_files import is_override_file
from medseg.errors import ConfigError

# A key is made of names and list positions; `+` in front extends.
_KEY = re.compile(r"^\+?\w+((::|#)\w+)*$")
_REFERENCE = re.compile(r"^[@%]\w+((::|#)\w+)*$")
# Relative paths under these keys are meant from where the command was typed.
PATH_KEYS = frozenset({"dataset_dir", "datalist", "ckpt_path"})


@dataclass(frozen=True, kw_only=True)
class Override:
    """One change of a config: `id_` gets `value`, or is extended by it."""

    id_: str
    value: Any
    extend: bool = False


def parse_override(token: str) -> Override:
    """The change that a `KEY=VALUE` token stands for.

    Raises:
        ConfigError: When the token is no `KEY=VALUE` or the value is no YAML.
    """
    key, equals, text = token.partition("=")
    if not equals or not _KEY.match(key):
        msg = f"{token!r} is no override. Write KEY=VALUE, for example epochs=20 or train::trainer::amp=false."
        raise ConfigError(msg)
    if not text.strip():
        msg = f"{key}: the value is empty. Write {key}=VALUE, or {key}='\"\"' for an empty text."
        raise ConfigError(msg)
    try:
        # References, macros and expressions are MONAI's; YAML refuses a plain '@' or '%'.
        value = text if text[0] in "@%$" else parse_value(text)
    except ValueError as error:
        msg = f"{key}: the value {text!r} is not valid YAML ({error}). Quote it for the shell, such as '{key}=[1, 2]'."
        raise ConfigError(msg) from error
    id_ = ids.normalize(key.removeprefix("+"))
    return Override(id_=id_, value=_from_here(id_, value), extend=key.startswith("+"))


def split_tokens(
    tokens: Sequence[str], config: dict[str, Any], *, after_dashes: int = 0
) -> tuple[list[str], list[str]]:
    """Inputs and overrides among positional tokens.

    A token `KEY=VALUE` or `@FILE` is an override unless a path of that name exists. The last `after_dashes`
    tokens stood behind `--` and are inputs whatever they look like.

    Raises:
        ConfigError: When a token looks like an override of a key that the config lacks.
    """
    free = len(tokens) - after_dashes
    inputs: list[str] = []
    overrides: list[str] = []
    for position, token in enumerate(tokens):
        key = token.partition("=")[0]
        if position < free and is_override_file(token) and not Path(token).exists():
            overrides.append(token)
            continue
        if position >= free or "=" not in token or not _KEY.match(key) or Path(token).exists():
            inputs.append(token)
            continue
        require_known(config, ids.normalize(key.removeprefix("+")))
        overrides.append(token)
    return inputs, overrides


def apply_override(config: dict[str, Any], override: Override) -> None:
    """Changes the config in place, after checking that the key exists and the value is of its kind.

    Raises:
        ConfigError: For an unknown key (names the nearest) or a value of the wrong kind.
    """
    id_, value = override.id_, override.value
    require_known(config, id_)
    _check_references(config, id_, value)
    if override.extend:
        extend(config, id_, value, where=id_)
        return
    if ids.contains(config, id_):
        value = _fit(config, id_, value)
    ids.set_at(config, id_, value)


def require_known(config: dict[str, Any], id_: str) -> None:
    """Refuses a key that the config lacks.

    A new argument of a component is let through: the static check knows the signature it must fit.
    """
    parent, _, last = id_.rpartition(ids.SEP)
    if ids.contains(config, id_):
        return
    if parent and ids.contains(config, parent) and ids.is_component(ids.get_at(config, parent)) and not last.isdigit():
        return
    close = ids.nearest_id(config, id_)
    hint = f"Did you mean {close!r}?" if close else f"Top-level keys: {', '.join(sorted(config))}."
    msg = f"the config has no key {id_!r}. {hint}"
    raise ConfigError(msg)


def extend(config: dict[str, Any], id_: str, value: Any, *, where: str) -> None:
    """Adds the value to the list or mapping at the id, as MONAI's `+key` does.

    Raises:
        ConfigError: When the two are not both lists or both mappings.
    """
    if not ids.contains(config, id_):
        ids.set_at(config, id_, value)
        return
    old = ids.get_at(config, id_)
    if isinstance(old, dict) and isinstance(value, dict):
        old.update(value)
    elif isinstance(old, list) and isinstance(value, list):
        old.extend(value)
    else:
        msg = f"{where}: +{id_} extends a list by a list or a mapping by a mapping, not {_kind(old)} by {_kind(value)}."
        raise ConfigError(msg)


def _fit(config: dict[str, Any], id_: str, value: Any) -> Any:
    """The value in the form of the default it replaces, or an error when it is of another kind."""
    default = _follow(config, ids.get_at(config, id_))
    if _is_evaluated(value) or _is_evaluated(default) or default is None:
        return value
    wanted, got = _kind(default), _kind(value)
    if value is None and wanted in ("text", "a list", "a mapping"):
        return value
    if wanted != got:
        scalar = not isinstance(value, (list, dict))
        hint = f" Quote it to mean text: {id_}='\"{value}\"'." if wanted == "text" and scalar else ""
        if got == "text" and ids.contains(config, value):
            hint = f" Did you mean {id_}=@{value}?"
        msg = f"{id_}: {value!r} is {got}, but {wanted} is wanted, such as {_example(default)}.{hint}"
        raise ConfigError(msg)
    return _fit_elements(id_, default, value) if wanted == "a list" else _as_number(id_, [default], value)


def _fit_elements(id_: str, default: list[Any], value: list[Any]) -> list[Any]:
    kinds = {_kind(element) for element in default}
    if len(kinds) != 1 or kinds & {"a mapping", "a list", "nothing"} or any(map(_is_evaluated, default)):
        return value
    for element in value:
        if not _is_evaluated(element) and _kind(element) not in kinds:
            wanted = f"{kinds.pop()} is wanted, such as {_example(default)}"
            msg = f"{id_}: the element {element!r} is {_kind(element)}, but {wanted}."
            raise ConfigError(msg)
    return [_as_number(id_, default, element) for element in value]


def _as_number(id_: str, defaults: list[Any], value: Any) -> Any:
    """The value as a whole number where the defaults are whole, with a fraction where they all have one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if all(isinstance(default, float) for default in defaults):
        return float(value)
    if any(isinstance(default, float) for default in defaults) or isinstance(value, int):
        return value
    if not value.is_integer():
        msg = f"{id_}: {value!r} is no whole number, such as {_example(defaults[0])}."
        raise ConfigError(msg)
    return int(value)


def _follow(config: dict[str, Any], value: Any) -> Any:
    """The plain value behind a chain of references, or the last link that is none."""
    seen: set[str] = set()
    while isinstance(value, str) and value.startswith("@") and value not in seen:
        seen.add(value)
        if not ids.contains(config, value[1:]):
            break
        value = ids.get_at(config, value[1:])
    return value


def _check_references(config: dict[str, Any], id_: str, value: Any) -> None:
    if not isinstance(value, str) or not _REFERENCE.match(value) or ids.contains(config, value[1:]):
        return
    close = ids.nearest_id(config, ids.normalize(value[1:]))
    hint = f" Did you mean {value[0]}{close}?" if close else ""
    msg = f"{id_}: {value!r} refers to a key that the config lacks.{hint}"
    raise ConfigError(msg)


def _is_evaluated(value: Any) -> bool:
    """Whether MONAI puts something else in the place of this value."""
    return isinstance(value, str) and value[:1] in ("$", "@", "%")


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


def _example(default: Any) -> str:
    text = str(default).lower() if isinstance(default, bool) else repr(default)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _from_here(id_: str, value: Any) -> Any:
    """The path made absolute when it exists from the working directory."""
    if id_ not in PATH_KEYS or not isinstance(value, str) or _is_evaluated(value):
        return value
    path = Path(value).expanduser()
    return str(path.resolve()) if path.exists() else value
