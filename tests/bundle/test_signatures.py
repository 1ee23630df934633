from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from medseg.bundle.signatures import signature_of
from medseg.bundle.sources import NotFoundError

SOURCE = {
    "__init__": """
from .shapes import *
from .shapes import Square as Quadrat
from . import shapes
try:
    from ._c import fast
except ImportError:
    fast = None
Alias = Quadrat
""",
    "shapes": """
import abc, dataclasses, functools
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar
T = TypeVar("T")
__all__ = ["Square"]

class Base(abc.ABC):
    def __init__(self, side, *, colour="red"): ...
    @classmethod
    def make(cls, size): ...
    @staticmethod
    def area(side): ...
class Square(Base, Generic[T]): ...
class Wider(Base):
    def __init__(self, width, **kwargs):
        self.depth = kwargs.pop("depth", 1)
        super().__init__(width, **kwargs)
class Open(Base):
    def __init__(self, **kwargs): self.all = kwargs
class Empty: ...
@dataclass
class Point:
    x: float
    y: float = 0.0
    kind: ClassVar[int] = 3
    tags: list = field(default_factory=list)
    hidden: int = field(init=False)
@dataclass(kw_only=True)
class Point3(Point):
    z: float
def positional(a, /, b, *, c, d=1): ...
@functools.lru_cache
def cached(n): ...
def register(f): return f
@register
def changed(n): ...
""",
}


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("source") / "toy_shapes"
    folder.mkdir()
    for name, text in SOURCE.items():
        (folder / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder.parent))
        # The search for a top-level package is remembered, so later tests need no path.
        signature_of("toy_shapes.shapes.Square")


@pytest.mark.parametrize(
    ("target", "names", "required"),
    [
        ("toy_shapes.shapes.Square", ("side", "colour"), ("side",)),
        ("toy_shapes.Square", ("side", "colour"), ("side",)),
        ("toy_shapes.Quadrat", ("side", "colour"), ("side",)),
        ("toy_shapes.Alias", ("side", "colour"), ("side",)),
        ("toy_shapes.Square.make", ("size",), ("size",)),
        ("toy_shapes.Square.area", ("side",), ("side",)),
        ("toy_shapes.shapes.Wider", ("width", "side", "colour", "depth"), ("width",)),
        ("toy_shapes.shapes.Empty", (), ()),
        ("toy_shapes.shapes.Point", ("x", "y", "tags"), ("x",)),
        ("toy_shapes.shapes.Point3", ("x", "y", "tags", "z"), ("x", "z")),
        ("toy_shapes.shapes.positional", ("b", "c", "d"), ("b", "c")),
        ("toy_shapes.shapes.cached", ("n",), ("n",)),
    ],
)
def test_signature_from_source(target: str, names: tuple[str, ...], required: tuple[str, ...]) -> None:
    signature = signature_of(target)
    assert (signature.names, signature.required) == (names, required)
    assert not signature.open_ended


def test_positional_only_arguments_cannot_be_named() -> None:
    assert signature_of("toy_shapes.shapes.positional").unnamable == ("a",)


@pytest.mark.parametrize(
    "target",
    [
        "toy_shapes.fast",
        "toy_shapes.shapes.Open",
        "toy_shapes.shapes.changed",
        "toy_shapes.shapes",
        "torch.device",
        "dict",
    ],
)
def test_what_the_source_does_not_tell_takes_anything(target: str) -> None:
    assert signature_of(target).open_ended


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("toy_shapes.shapes.Squar", "no 'Squar'. Did you mean 'Square'"),
        ("toy_shapes.Square.grow", "no 'grow'"),
        ("no_such_package.X", "'no_such_package' is not installed"),
        ("monai.networks.nets.SegResNett", "Did you mean 'SegResNet'"),
        ("LoadImagedd", "MONAI has no 'LoadImagedd'. Did you mean"),
    ],
)
def test_what_does_not_exist_is_found_out(target: str, match: str) -> None:
    with pytest.raises(NotFoundError, match=match):
        signature_of(target)


@pytest.mark.slow
def test_parsing_agrees_with_importing_for_all_of_monai_s_transforms_networks_and_losses() -> None:
    import monai.handlers
    import monai.inferers
    import monai.losses
    import monai.networks.nets
    import monai.transforms

    wrong: dict[str, object] = {}
    for module in (monai.transforms, monai.networks.nets, monai.losses, monai.handlers, monai.inferers):
        for name, value in vars(module).items():
            if not inspect.isclass(value) or not value.__module__.startswith("monai.") or name.startswith("_"):
                continue
            parsed = signature_of(f"{module.__name__}.{name}")
            # Not the class itself: MapTransform's __new__ hides what its __init__ needs.
            real = list(inspect.signature(value.__init__).parameters.values())[1:]
            real = [p for p in real if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            named = {p.name for p in real}
            required = {p.name for p in real if p.default is p.empty}
            takes_any = parsed.open_ended or named <= set(parsed.names)
            if not takes_any or not set(parsed.required) <= required:
                wrong[name] = (parsed, sorted(named))
    assert not wrong


def test_files_are_found_without_importing_them() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from medseg.bundle.signatures import signature_of as s;"
        "s('monai.networks.nets.SegResNet'); s('torch.optim.AdamW');"
        "print([m for m in ('torch', 'monai', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    assert done.stdout.strip() == "[]"
