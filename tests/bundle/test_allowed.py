from __future__ import annotations

import builtins
import importlib
import pydoc
import runpy
from pathlib import Path

import pytest

from medseg.bundle import allowed
from medseg.bundle.allowed import allows_target, allows_value, components, is_touchy, why_denied

CANDIDATES = runpy.run_path(str(Path(__file__).with_name("allowed_candidates.py")))


def test_the_list_of_components_is_what_the_installed_packages_have() -> None:
    wanted = set(CANDIDATES["candidates"]())
    listed = {name for name in components() if not name.startswith("medseg.")}
    advice = "look at each, then: python tests/bundle/allowed_candidates.py > medseg/bundle/allowed_components.txt"
    assert sorted(wanted ^ listed) == [], advice


def test_the_list_is_sorted_and_has_no_whole_package() -> None:
    names = [n for n in allowed.COMPONENTS.read_text().splitlines() if not n.startswith("#")]
    assert names == sorted(set(names))
    assert not [n for n in names if "*" in n or importlib.util.find_spec(n.partition(".")[0]) is None]


@pytest.mark.slow
def test_every_name_exists_and_is_no_module() -> None:
    import types

    for name in (*components(), *allowed.FUNCTIONS):
        found = pydoc.locate(name)
        assert found is not None or name.endswith("inf"), name
        assert not isinstance(found, types.ModuleType), name


def test_builtins_exist_and_none_of_them_reaches_further() -> None:
    assert all(hasattr(builtins, name) for name in allowed.BUILTINS)
    further = """breakpoint classmethod compile delattr dir eval exec exit getattr globals hasattr help input iter
        locals memoryview object open property quit setattr super type vars __import__"""
    assert not allowed.BUILTINS & set(further.split())


def test_attributes_and_methods_are_public() -> None:
    assert not [name for name in allowed.ATTRIBUTES | allowed.METHODS if name.startswith("_")]
    further = "system popen format format_map load loads exec apply register write copy copy_into move move_into"
    assert not allowed.METHODS & set(further.split())


@pytest.mark.parametrize(
    "target",
    [
        "monai.transforms.LoadImaged",
        "monai.transforms.LoadImageD",
        "monai.transforms.LoadImageDict",
        "monai.transforms.io.dictionary.LoadImaged",
        "LoadImaged",
        "LoadImageDict",
        "torch.nn.Conv3d",
        "torch.nn.modules.conv.Conv3d",
        "torch.optim.AdamW",
        "torch.optim.adamw.AdamW",
        "medseg.transforms.LoadCased",
        "medseg.transforms.load.LoadCased",
        "medseg.engines.region_dice",
        "dict",
    ],
)
def test_a_component_is_known_by_any_of_its_names(target: str) -> None:
    assert allows_target(target)


@pytest.mark.parametrize(
    "target",
    [
        "monai",
        "monai.transforms",
        "monai.utils.misc.run_cmd",
        "monai.transforms.io.dictionary.LoadImaged.__init__",
        "monai.transforms.io.array.locate",
        "monai.transforms.io.array.np.load",
        "torch.nn",
        "torch.load",
        "os",
        "eval",
        "",
        "..",
        " monai.transforms.Compose",
        "monai.transforms.Compose ",
        "monai.transforms.compose",
        "no_such.thing",
    ],
)
def test_nothing_else_is(target: str) -> None:
    assert not allows_target(target)


def test_what_looks_names_up_by_text_is_no_value() -> None:
    assert is_touchy("monai.transforms.LoadImage")
    assert is_touchy("monai.transforms.SaveImaged")
    assert is_touchy("monai.inferers.PatchInferer")
    assert not allows_value("monai.transforms.LoadImage")
    assert allows_value("monai.transforms.Compose")


def test_denied_names_are_not_in_the_table() -> None:
    assert not [name for name in allowed.DENIED if allows_target(name) or allows_value(name)]
    assert why_denied("torch.hub.load_state_dict_from_url") == "fetches code and runs it"


def test_a_user_lets_names_in_one_by_one(tmp_path: Path, settings: Path) -> None:
    (settings / "allowed.txt").write_text("# ours\nmy_lab.nets.Net  # 2026\n")
    assert allows_target("my_lab.nets.Net")
    assert not allows_target("my_lab.nets.Other")
    assert not allows_target("my_lab.nets")


def test_each_component_that_takes_a_name_to_look_up_is_known_to_the_table() -> None:
    """MONAI's sources are searched anew: a new `locate(argument)` must be looked at."""
    import re

    spec = importlib.util.find_spec("monai")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    found = {
        f"{path.relative_to(root)}: {name}"
        for path in root.rglob("*.py")
        for name in re.findall(r"\blocate\((?:f\"\{)?(\w+)", path.read_text(encoding="utf-8"))
    }
    assert found == {
        "auto3dseg/utils.py: target",  # no component
        "bundle/scripts.py: str",  # no component
        "inferers/inferer.py: merger_cls",
        "networks/nets/flexible_unet.py: name",  # a list of names of classes to register, out of a config's reach
        "transforms/io/array.py: _r",
        "transforms/io/array.py: writer",
        "utils/module.py: __path",
    }
