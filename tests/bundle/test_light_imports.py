"""Light imports change when a module loads, never what a name stands for."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.bundle import light_imports
from medseg.bundle.light_imports import SWITCH

# Every public name of every package of MONAI, and what it stands for.
NAMES = """
import importlib, json, pkgutil, sys, types, warnings
warnings.simplefilter("ignore")
from medseg.bundle.light_imports import light_imports
light_imports()
import torch, monai, monai.bundle, monai.handlers
def kind(value):
    if isinstance(value, types.ModuleType):
        return "module " + value.__name__
    if isinstance(value, (type, types.FunctionType)):
        return f"{type(value).__name__} {value.__module__}.{value.__qualname__}"
    return type(value).__name__
loaded = len(sys.modules)
wanted = json.loads(sys.stdin.read()) if sys.argv[1] == "light" else None
if wanted is None:
    packages = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "monai" and hasattr(m, "__path__")}
    found = {n: {a: kind(v) for a, v in vars(m).items() if not a.startswith("__")} for n, m in packages.items()}
else:
    found = {n: {a: kind(getattr(importlib.import_module(n), a, None)) for a in names} for n, names in wanted.items()}
print(json.dumps({"loaded": loaded, "names": found}))
"""


def python(code: str, *words: str, light: bool = True, given: str = "") -> str:
    environment = os.environ | {SWITCH: "1" if light else "0"}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, input=given, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_of_monai_stands_for_what_it_stood_for() -> None:
    stock = json.loads(python(NAMES, "stock", light=False))
    everything = stock["names"]
    assert len(everything) > 30
    light = json.loads(python(NAMES, "light", given=json.dumps(everything)))
    # Functions of scipy that load at their first call are functions of ours until then.
    different = {
        f"{package}.{name}": (kind, light["names"][package][name])
        for package, names in everything.items()
        for name, kind in names.items()
        if light["names"][package][name] != kind
    }
    assert not different
    assert light["loaded"] < 0.8 * stock["loaded"]  # how many there are depends on what else is installed


CODE = """
import sys
from medseg.bundle.light_imports import light_imports
light_imports()
import monai.transforms, ignite.engine
print([name for name in ("torch.distributed.optim", "scipy.signal", "monai.apps.pathology") if name in sys.modules])
import torch.distributed.optim as optim
from ignite.handlers import checkpoint
from monai.data import ultrasound_confidence_map
import numpy, scipy.signal
sharded = object.__new__(optim.ZeroRedundancyOptimizer)
print(isinstance(sharded, checkpoint.ZeroRedundancyOptimizer), isinstance(1, checkpoint.ZeroRedundancyOptimizer))
wave = numpy.sin(numpy.arange(32.0))
print((ultrasound_confidence_map.hilbert(wave) == scipy.signal.hilbert(wave)).all())
print(monai.apps.pathology.__name__, monai.networks.nets.unet.UNet is monai.networks.nets.UNet)
try:
    monai.no_such_thing
except AttributeError as error:
    print(error)
"""


def test_what_waited_is_the_real_thing_when_it_is_used() -> None:
    pytest.importorskip("ignite")
    assert python(CODE).splitlines() == [
        "[]",
        "True False",
        "True",
        "monai.apps.pathology True",
        "module 'monai' has no attribute 'no_such_thing'",
    ]


ORDERS = """
import os, pkgutil, sys
from medseg.bundle.light_imports import light_imports
light_imports()
import monai
failed = []
for info in pkgutil.walk_packages(monai.__path__, "monai.", onerror=lambda name: None):
    if not info.ispkg and not eval(sys.argv[1]):
        continue
    child = os.fork()
    if child == 0:
        try:
            __import__(info.name)
        except monai.utils.OptionalImportError:
            pass
        except BaseException as error:
            print(info.name, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_any_package_of_monai_may_come_first() -> None:
    assert python(ORDERS, "False") == "done\n"


ASKED = """
import sys
from medseg.bundle.light_imports import light_imports, _Finder
sys.modules.update({name: sys for name in sys.argv[1:]})
light_imports()
light_imports()
print(sum(isinstance(finder, _Finder) for finder in sys.meta_path))
"""


def test_one_finder_and_none_where_monai_is_loaded_or_the_user_says_so() -> None:
    assert python(ASKED).strip() == "1"
    assert python(ASKED, "monai").strip() == "0"
    assert python(ASKED, light=False).strip() == "0"


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports a made-up module, deferred."""

    def make(source: str, name: str = "made_up_later") -> Any:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(light_imports, "DEFERRED", frozenset({name}))
        monkeypatch.setattr(sys, "meta_path", [light_imports._Finder(), *sys.meta_path])
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return make


def test_a_deferred_module_runs_at_its_first_attribute_and_once(later: Callable[[str], Any], tmp_path: Path) -> None:
    mark = tmp_path / "runs"
    module = later(f"open({str(mark)!r}, 'a').write('x')\nvalue = 5\n")
    assert module.__file__.endswith("made_up_later.py")
    assert not mark.exists()
    values: list[int] = []
    threads = [threading.Thread(target=lambda: values.append(module.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == [5] * 8
    assert mark.read_text() == "x"
    assert type(module) is type(sys)
    assert importlib.util.find_spec("made_up_later") is not None


def test_a_deferred_module_lists_and_takes_attributes_as_another(later: Callable[[str], Any]) -> None:
    module = later("value = 5\n")
    module.value = 6  # after its own code, as it would be
    assert module.value == 6
    assert "value" in dir(later("value = 5\n", "made_up_too"))
    with pytest.raises(AttributeError, match="made_up_too"):
        _ = sys.modules["made_up_too"].missing


def test_a_deferred_module_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_imports, "DEFERRED", frozenset({"not_installed_at_all"}))
    monkeypatch.setattr(sys, "meta_path", [light_imports._Finder(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("not_installed_at_all")
