"""Which part of a config an exception came from: found in the frames of its traceback, without importing MONAI."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from medseg.bundle import ids
from medseg.bundle.references import references_in
from medseg.errors import MedsegError

# monai.bundle.ReferenceResolver: its frames know the id that is being resolved and all that was resolved before.
_RESOLVE = "_resolve_one_item"
_STEPS = ("initialize", "run", "finalize")
# Local variables that hold a component (a transform about to be applied, a handler about to be called) or an item.
_HOLDERS = ("self", "transform", "func")
_ITEMS = ("data", "item", "batchdata", "batch", "d")


@dataclass(frozen=True, kw_only=True)
class Culprit:
    """Where in a config something went wrong.

    Attributes:
        id_: Id of the component or expression; None when no part of the config is to blame.
        chain: Ids from the step that ran to the culprit, each of which refers to the next.
        case: Id of the case, or several.
        file: The scan or label map.
    """

    id_: str | None = None
    chain: tuple[str, ...] = ()
    case: str | None = None
    file: str | None = None


def chain_of(exception: BaseException) -> list[BaseException]:
    """The exception and everything that led to it, nearest first."""
    waiting: deque[BaseException | None] = deque([exception])
    found: list[BaseException] = []
    while waiting:
        link = waiting.popleft()
        if link is not None and all(link is not known for known in found):
            found.append(link)
            waiting += [link.__cause__, None if link.__suppress_context__ else link.__context__]
    return found


def find_culprit(exception: BaseException, config: dict[str, Any]) -> Culprit:
    """The innermost part of the config that the exception passed through, and the case it was busy with."""
    frames = [frame for link in reversed(chain_of(exception)) for frame in _frames(link)]
    components = _components(frames, config)
    # Outermost first: what MONAI was resolving, then the components whose code was running.
    passed = list(dict.fromkeys(id_ for frame in reversed(frames) if (id_ := _id_in(frame, components))))
    id_ = next((found for frame in frames if (found := _id_in(frame, components))), None)
    told = next((link for link in chain_of(exception) if isinstance(link, MedsegError) and link.case), None)
    if told is not None and told.component is not None and (id_ is None or _class_of(config, id_) != told.component):
        id_ = _by_class(config, told.component) or id_
    items = (_item_in(frame) for frame in frames)
    item: Mapping[Any, Any] = next((found for found in items if found is not None), {})
    return Culprit(
        id_=id_,
        chain=_chain_to(config, id_, passed),
        case=told.case if told is not None else _case(item),
        file=(told.file if told is not None else None) or _file(exception, item),
    )


def item_files(item: Any) -> dict[str, list[str]]:
    """The files that a case's item names, by key, whether they have been read yet or not."""
    files: dict[str, list[str]] = {}
    for key in ("image", "label"):
        value = item.get(key) if isinstance(item, Mapping) else None
        name = getattr(value, "meta", {}).get("filename_or_obj") if hasattr(value, "meta") else value
        names = name if isinstance(name, (list, tuple)) else [name]
        files[key] = [str(path) for path in names if isinstance(path, (str, Path)) and str(path)]
    return {key: names for key, names in files.items() if names}


def file_in_message(message: str, item: Any) -> str | None:
    """The one of an item's files that a message names; else its only one."""
    files = [path for names in item_files(item).values() for path in names]
    named = sorted((p for p in files if Path(p).name in message), key=lambda p: message.index(Path(p).name))
    return next(iter(named or (files if len(files) == 1 else [])), None)


def _frames(exception: BaseException) -> list[FrameType]:
    """Frames of the exception's own traceback, innermost first."""
    frames = []
    step = exception.__traceback__
    while step is not None:
        frames.append(step.tb_frame)
        step = step.tb_next
    return frames[::-1]


def _is_resolving(frame: FrameType) -> bool:
    return frame.f_code.co_name == _RESOLVE and "id" in frame.f_locals


def _components(frames: Sequence[FrameType], config: dict[str, Any]) -> dict[int, str]:
    """Ids of components by the identity of what they were instantiated to."""
    resolver = next((frame.f_locals.get("self") for frame in frames if _is_resolving(frame)), None)
    resolved = getattr(resolver, "resolved_content", {})
    known = {id_: value for id_, value in resolved.items() if ids.contains(config, id_)}
    return {id(value): id_ for id_, value in known.items() if ids.is_component(ids.get_at(config, id_))}


def _id_in(frame: FrameType, components: Mapping[int, str]) -> str | None:
    if _is_resolving(frame):
        return ids.normalize(str(frame.f_locals["id"]))
    for name in _HOLDERS:
        holder = frame.f_locals.get(name)
        for candidate in (holder, getattr(holder, "__self__", None) if name == "func" else None):
            if candidate is not None and id(candidate) in components:
                return components[id(candidate)]
    return None


def _item_in(frame: FrameType) -> Mapping[Any, Any] | None:
    for name in _ITEMS:
        value = frame.f_locals.get(name)
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, Mapping) and "case_id" in value:
            return value
    return None


def _case(item: Mapping[Any, Any]) -> str | None:
    case = item.get("case_id")
    return ", ".join(map(str, case[:3])) if isinstance(case, list) else str(case) if case else None


def _file(exception: BaseException, item: Mapping[Any, Any]) -> str | None:
    for link in reversed(chain_of(exception)):
        # Names with a leading dot are what files are called before they are whole.
        if isinstance(link, OSError) and link.filename and not Path(str(link.filename)).name.startswith("."):
            return str(link.filename)
    text = " ".join(str(link) for link in chain_of(exception))
    return file_in_message(text, item)


def _by_class(config: dict[str, Any], name: str) -> str | None:
    """The component of that class that a step reaches."""
    found = [id_ for id_, value in ids.walk(config) if ids.is_component(value) and _class_of(config, id_) == name]
    return next((id_ for id_ in found if _chain_to(config, id_, [])), found[0] if found else None)


def _class_of(config: dict[str, Any], id_: str) -> str:
    return target_at(config, id_).rpartition(".")[2]


def target_at(config: dict[str, Any], id_: str) -> str:
    """The `_target_` of the component at an id, empty where there is none."""
    value = ids.get_at(config, id_) if ids.contains(config, id_) else None
    return str(value["_target_"]) if isinstance(value, dict) and "_target_" in value else ""


def _chain_to(config: dict[str, Any], goal: str | None, passed: Sequence[str]) -> tuple[str, ...]:
    """Ids from a step to the goal: those that were passed, else the shortest way through the references."""
    if goal is None:
        return ()
    if len(passed) > 1 and passed[-1] == goal:
        return tuple(passed)
    starts = [passed[0]] if passed else [step for step in _STEPS if step in config]
    waiting: deque[tuple[str, ...]] = deque((start,) for start in starts)
    seen = set(starts)
    while waiting:
        path = waiting.popleft()
        if goal == path[-1] or goal.startswith(path[-1] + ids.SEP):
            return path if goal == path[-1] else (*path, goal)
        for target in _targets(config, path[-1]):
            if target not in seen:
                seen.add(target)
                waiting.append((*path, target))
    return ()


def _targets(config: dict[str, Any], id_: str) -> Iterator[str]:
    if ids.contains(config, id_):
        value = ids.get_at(config, id_)
        yield from references_in(value, id_)
        for child, content in ids.walk(value, id_):
            yield from references_in(content, child)
