"""MONAI without what a run does not use: its modules load when named, its optional libraries when first touched.

`import monai` imports each of its 400 modules, some of them twice, and with them matplotlib, itk, scipy.signal and, by
way of ignite, the sharded optimisers of torch. `light_imports` lets all of that wait for its first use. What a name
stands for stays the same; only when it loads is another moment. `MEDSEG_LIGHT_IMPORTS=0` switches it off.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SWITCH = "MEDSEG_LIGHT_IMPORTS"
# Libraries that MONAI imports for what few runs do: pictures in notebooks, readers that a bundle must ask for.
DEFERRED = frozenset({"matplotlib.pyplot", "itk"})
# Functions that MONAI takes from libraries by name, for ultrasound and ECG.
_FUNCTIONS = frozenset({("scipy.signal", "hilbert"), ("scipy.signal", "iirnotch")})
_ZERO = "torch.distributed.optim"
_WAITING = "__medseg_waiting__"


def light_imports() -> None:
    """Makes later imports of MONAI light; does nothing where MONAI is imported already, or `MEDSEG_LIGHT_IMPORTS=0`."""
    known = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if os.environ.get(SWITCH) != "0" and not known and "monai" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds what Python finds, and loads it in a lighter way."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        deferred = fullname in DEFERRED
        ours = deferred or fullname == "ignite.handlers.checkpoint" or fullname.partition(".")[0] == "monai"
        spec = PathFinder.find_spec(fullname, path, target) if ours else None
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        if deferred:
            spec.loader = _LaterLoader(spec.loader)
        else:
            spec.loader = _LightLoader(spec.loader.name, spec.loader.path)
        return spec


class _LightLoader(SourceFileLoader):
    """Runs a module's own source, between a few preparations."""

    def exec_module(self, module: ModuleType) -> None:
        if self.name == "ignite.handlers.checkpoint":
            _without_sharded_optimisers(super().exec_module, module)
        else:
            super().exec_module(module)
        if self.name == "monai.utils.module":
            module.load_submodules = _leave_to_first_use(module.load_submodules)  # type: ignore[attr-defined]
            module.optional_import = _functions_at_first_call(module.optional_import)  # type: ignore[attr-defined]
        if hasattr(module, "__path__") and "__getattr__" not in vars(module):
            module.__getattr__ = _submodules_of(self.name)  # type: ignore[method-assign]


def _leave_to_first_use(load: Callable[..., Any]) -> Callable[..., Any]:
    """`load_submodules`, which `monai/__init__.py` calls on itself and others may call on purpose."""

    @functools.wraps(load)
    def load_submodules(basemod: ModuleType, *args: Any, **kwargs: Any) -> Any:
        if basemod.__name__ == "monai" and getattr(basemod.__spec__, "_initializing", False):
            # MONAI's packages import each other in circles, which close only when this one, its first, comes first.
            import_module("monai.apps")
            return [], []
        return load(basemod, *args, **kwargs)

    return load_submodules


def _submodules_of(package: str) -> Callable[[str], ModuleType]:
    """A module's `__getattr__` (PEP 562) under which each submodule is there, as after `import monai`."""

    def __getattr__(name: str) -> ModuleType:
        child = f"{package}.{name}"
        if not name.startswith("__"):
            try:
                return import_module(child)
            except ModuleNotFoundError as error:
                if error.name != child:
                    raise
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)

    return __getattr__


def _functions_at_first_call(optional_import: Callable[..., Any]) -> Callable[..., Any]:
    """`optional_import`, but for `_FUNCTIONS`, which import their library when they are called."""

    @functools.wraps(optional_import)
    def lighter(module: str, version: str = "", *args: Any, **kwargs: Any) -> Any:
        name = kwargs.get("name") or (args[1] if len(args) > 1 else "")
        if (module, name) not in _FUNCTIONS or not _has(module, version):
            return optional_import(module, version, *args, **kwargs)

        def call(*given: Any, **named: Any) -> Any:
            return getattr(import_module(module), name)(*given, **named)

        call.__name__ = call.__qualname__ = name
        return call, True

    return lighter


def _has(module: str, least: str) -> bool:
    """Whether the library of that module is there, in that version (its first two numbers) or a later one."""
    top = module.partition(".")[0]
    if find_spec(top) is None:
        return False
    found = str(getattr(import_module(top), "__version__", "0"))
    try:
        return _numbers(found) >= _numbers(least)
    except ValueError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2]) if version else ()


class _NotLoaded(type):
    """Of a class whose module may not be loaded: nothing is its instance before it is."""

    def __instancecheck__(cls, instance: object) -> bool:
        loaded = sys.modules.get(_ZERO)
        return loaded is not None and isinstance(instance, loaded.ZeroRedundancyOptimizer)


def _without_sharded_optimisers(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Runs ignite's checkpoint module, which asks one `isinstance` of a class of torch, without loading that class."""
    import_module("torch.distributed")
    if _ZERO in sys.modules or not sys.modules["torch.distributed"].is_available():
        execute(module)
        return
    stand_in = ModuleType(_ZERO)
    stand_in.ZeroRedundancyOptimizer = _NotLoaded("ZeroRedundancyOptimizer", (), {})  # type: ignore[attr-defined]
    sys.modules[_ZERO] = stand_in
    try:
        execute(module)
    finally:
        if sys.modules.get(_ZERO) is stand_in:
            del sys.modules[_ZERO]


class _LaterLoader(Loader):
    """Makes the module at once and fills it when something of it is asked for."""

    def __init__(self, real: SourceFileLoader) -> None:
        self.real = real
        self.lock = threading.RLock()
        self.started = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        # From here on whatever is not in it yet fills it.
        vars(module)[_WAITING] = self

    def fill(self, module: ModuleType) -> None:
        """Runs the module's code, once; other threads wait for it, the code itself does not."""
        with self.lock:
            if self.started:
                return
            self.started = True
            try:
                self.real.exec_module(module)
            except BaseException:
                self.started = False
                raise
            del vars(module)[_WAITING]
            if module.__spec__ is not None:
                module.__spec__.loader = self.real
            vars(module)["__loader__"] = self.real
            module.__class__ = ModuleType


class _Later(ModuleType):
    """A module that is filled at the first attribute that is not of the import system."""

    def __getattr__(self, name: str) -> Any:
        _fill(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _fill(self)
        ModuleType.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        _fill(self)
        return list(ModuleType.__dir__(self))


def _fill(module: ModuleType) -> None:
    loader = vars(module).get(_WAITING)
    if loader is not None:
        loader.fill(module)
