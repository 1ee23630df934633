"""The rooms of medseg and what each may know: DESIGN's import order, held by reading the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "medseg"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_share" not in path.parts)

# Top first. A room may import itself and the rooms of lower lines, nothing else.
LAYERS = (
    ("cli",),
    ("benchmark",),
    ("report",),
    ("bundle",),
    ("engines",),
    ("inference",),
    ("cache", "transforms", "networks", "losses", "runtime"),
    ("datasets", "evaluation"),
    ("metrics",),
    ("labels", "volumes"),
    ("kernels",),
    ("record",),
    ("errors",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
TORCH = {"torch", "monai", "ignite", "torchvision"}
TORCH_ROOMS = {"engines", "inference", "cache", "transforms", "networks", "losses"}
# Only inside functions.
TORCH_FILES = {"bundle/run.py", "bundle/running.py", "bundle/predict_cases.py"}
HEAVY = TORCH | {"numpy", "scipy", "numba", "nibabel", "matplotlib", "itk"}
MAX_LINES = 400


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(nodes: Iterator[ast.AST], path: Path) -> Iterator[str]:
    """Yields the absolute dotted name of every import among nodes; `from a import b` counts as `a.b`."""
    parts = ("medseg", *path.relative_to(PACKAGE).parent.parts)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join((*parts[: len(parts) - node.level + 1], *([base] if base else [])))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def all_imports(path: Path) -> set[str]:
    return set(imported_names(ast.walk(ast.parse(path.read_text(encoding="utf-8"))), path))


def module_level_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Walks what runs at import: everything outside function bodies and `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from module_level_nodes(child)


def import_time_imports(path: Path) -> set[str]:
    return set(imported_names(module_level_nodes(ast.parse(path.read_text(encoding="utf-8"))), path))


def top(dotted: str) -> str:
    return dotted.split(".")[0]


each_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


def test_every_room_is_in_the_design() -> None:
    rooms = {room_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert rooms <= set(LEVEL), "a new room needs its place in docs/architecture.md and in LAYERS"


@each_module
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    if room in {"__init__", "__main__"}:
        return
    reached = {name.split(".")[1] for name in all_imports(path) if name.startswith("medseg.")}
    upward = sorted(other for other in reached & set(LEVEL) if other != room and LEVEL[other] <= LEVEL[room])
    assert not upward, f"{room} may not import {upward}"


@each_module
def test_torch_stays_in_its_rooms(path: Path) -> None:
    if room_of(path) in TORCH_ROOMS:
        return
    names = import_time_imports(path) if name_of(path) in TORCH_FILES else all_imports(path)
    assert not {top(name) for name in names} & TORCH


@each_module
def test_nothing_needs_torchvision(path: Path) -> None:
    assert "torchvision" not in {top(name) for name in all_imports(path)}


@each_module
def test_nothing_imports_bundles_or_configs(path: Path) -> None:
    assert not {top(name) for name in all_imports(path)} & {"bundles", "configs", "scripts", "tests"}


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "cli"], ids=name_of)
def test_the_command_line_imports_heavy_things_inside_its_commands(path: Path) -> None:
    assert not {top(name) for name in import_time_imports(path)} & HEAVY


@each_module
def test_files_stay_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: one noun per file, split it"


@each_module
def test_product_code_never_asserts(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not lines, f"{name_of(path)}: assert in line {lines}; raise an error from medseg.errors"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_every_room_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=name_of)
def test_every_folder_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()


@pytest.mark.parametrize("module", ["medseg", "medseg.cli.main"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & HEAVY
