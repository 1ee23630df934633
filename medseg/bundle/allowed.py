"""What a config may use without being trusted: the one table that decides whether a stranger's bundle runs.

A name gets in when nothing in reach of its arguments runs code or commands, unpickles, opens a connection, or writes
text of the config's choice to a file of its choice. Whole packages are never let in. Components, which are what
`_target_` names, stand one per line in `allowed_components.txt`; `tests/bundle/test_allowed.py` holds that list
against the installed packages, and says how to renew it. medseg's own stand in the `__all__` of their rooms.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from medseg.bundle.signatures import resolve_name, signature_of
from medseg.bundle.sources import NotFoundError, listed_names, monai_definitions

# Rooms of medseg whose components configs name: what their `__all__` lists is let in too.
ROOMS = ("transforms", "networks", "losses", "inference", "engines", "datasets")
COMPONENTS = Path(__file__).with_name("allowed_components.txt")

# Modules that `$import` may bring in. Their names alone are no values: only the dotted names below are.
MODULES = frozenset(
    ("glob", "ignite", "math", "medseg", "monai", "numpy", "os", "os.path", "pathlib", "torch", "torch.nn")
)
# What every expression sees without an import (monai.bundle.config_parser._default_globals).
GLOBALS = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}

_BUILTINS = """
abs all any bool dict divmod enumerate filter float frozenset int isinstance len list map max min range reversed
round set slice sorted str sum tuple zip
"""
BUILTINS = frozenset(_BUILTINS.split())

# Functions and constants that an expression may name. None of them takes a name of anything to run.
_FUNCTIONS = """
glob.glob
math.ceil math.cos math.exp math.floor math.inf math.isfinite math.log math.log2 math.nan math.pi math.prod
math.sin math.sqrt math.tan
monai.data.decollate_batch monai.data.list_data_collate monai.data.load_decathlon_datalist
monai.data.pad_list_data_collate monai.data.partition_dataset monai.data.utils.list_data_collate
monai.data.utils.pad_list_data_collate monai.data.worker_init_fn monai.engines.utils.default_prepare_batch
monai.handlers.from_engine monai.handlers.utils.from_engine monai.handlers.ignore_data
monai.handlers.stopping_fn_from_loss monai.handlers.stopping_fn_from_metric monai.metrics.compute_dice
monai.metrics.compute_iou monai.networks.eval_mode monai.networks.one_hot monai.networks.utils.one_hot
monai.utils.ensure_tuple monai.utils.first monai.utils.misc.ensure_tuple monai.utils.misc.set_determinism
monai.utils.set_determinism
numpy.abs numpy.arange numpy.argmax numpy.array numpy.asarray numpy.bool_ numpy.ceil numpy.clip numpy.concatenate
numpy.cumsum numpy.deg2rad numpy.exp numpy.eye numpy.float16 numpy.float32 numpy.float64 numpy.floor numpy.full
numpy.inf numpy.int16 numpy.int32 numpy.int64 numpy.int8 numpy.linspace numpy.log numpy.max numpy.mean numpy.median
numpy.min numpy.nan numpy.ones numpy.pi numpy.prod numpy.quantile numpy.rad2deg numpy.round numpy.sqrt numpy.stack
numpy.std numpy.sum numpy.uint16 numpy.uint8 numpy.where numpy.zeros
os.cpu_count os.environ.get os.path.abspath os.path.basename os.path.dirname os.path.exists os.path.isdir
os.path.isfile os.path.join
pathlib.Path pathlib.PurePath
torch.abs torch.amax torch.amin torch.any torch.all torch.arange torch.argmax torch.backends.mps.is_available
torch.bfloat16 torch.bool torch.cat torch.channels_last torch.channels_last_3d torch.clamp torch.contiguous_format
torch.cuda.device_count torch.cuda.is_available torch.cuda.is_bf16_supported torch.device torch.exp torch.float
torch.float16 torch.float32 torch.float64 torch.full torch.half torch.inf torch.int torch.int16 torch.int32
torch.int64 torch.int8 torch.linspace torch.log torch.log_softmax torch.long torch.max torch.mean torch.min
torch.mul torch.nn.functional.interpolate torch.nn.functional.log_softmax torch.nn.functional.one_hot
torch.nn.functional.pad torch.nn.functional.relu torch.nn.functional.sigmoid torch.nn.functional.softmax torch.ones
torch.preserve_format torch.relu torch.round torch.sigmoid torch.softmax torch.sqrt torch.squeeze torch.stack
torch.std torch.sum torch.tanh torch.tensor torch.uint8 torch.unsqueeze torch.where torch.zeros
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())

# Methods that an expression may call on whatever it has in hand, which is never a module.
_METHODS = """
abs all any append argmax argmin astype bfloat16 bool capitalize clamp clone count cpu cuda detach dim double
endswith eval extend flatten float get half index int is_dir is_file isdigit item items join keys long lower lstrip
max mean min named_parameters ndimension numel numpy parameters permute reshape resolve rstrip run sigmoid size
softmax split squeeze startswith state_dict std strip sum to tolist title train transpose type unsqueeze upper
values view with_name with_suffix zfill
"""
METHODS = frozenset(_METHODS.split())

# What an expression may look at. None of these is callable.
_ATTRIBUTES = """
T batch_size best_metric data dataset device dtype epoch epoch_length imag in_channels iteration max_epochs metrics
module name ndim network optimizer out_channels output parent parts real shape state stem suffix training
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())

# Arguments whose value decides what runs, whichever component takes them, and the values that are let through; of a
# component, the name of its class.
_READERS = "ITKReader NibabelReader NrrdReader PILReader PydicomReader"
_WRITERS = "ITKWriter NibabelWriter PILWriter"
ARGUMENTS: dict[str, tuple[object, ...]] = {
    # monai.transforms.LoadImage and SaveImage look these names up in every installed package.
    "reader": (None, *_READERS.split(), *_READERS.lower().split()),
    "writer": (None, *_WRITERS.split(), *_WRITERS.lower().split()),
    # monai.inferers.PatchInferer looks this name up likewise.
    "merger_cls": ("AvgMerger",),
    # numpy.load and torch.load run what a pickle says.
    "allow_pickle": (False,),
    "weights_only": (True,),
    "pickle_module": ("pickle",),
    # torch.compile's options name the compiler, which is a program.
    "compile_kwargs": (None, {}),
    # What torch.save writes by older ways is text, which a shell may read as commands.
    "pickle_protocol": (2, 3, 4, 5),
    "_use_new_zipfile_serialization": (True,),
    # These fetch a file from the network, or open a connection.
    "pretrained": (None, False),
    "pretrained_url": (None,),
    "trust_remote_code": (False,),
    "download": (False,),
    "uri": (None,),
}

# Arguments that name what is written, and what the text that they come to must look like.
_WEIGHTS = r"[\w{}=-][\w{}=.-]*\.(pt|pth|ckpt|\{ext\})"
WRITTEN = {
    "final_filename": re.compile(_WEIGHTS),
    "key_metric_filename": re.compile(_WEIGHTS),
    "filename_pattern": re.compile(_WEIGHTS),
    # TensorBoard and zarr open ftp://, s3:// and other addresses.
    "log_dir": re.compile(r"(?!.*://).*"),
    "store": re.compile(r"(?!.*://).*"),
}

# Why some names that people do use are not let in; anything else is simply not in the table.
DENIED = {
    "monai.utils.misc.run_cmd": "runs a command of the system",
    "monai.utils.run_cmd": "runs a command of the system",
    "monai.bundle": "runs other configs",
    "monai.apps": "downloads or runs other programs",
    "monai.losses.PerceptualLoss": "fetches code by torch.hub",
    "monai.handlers.LogfileHandler": "writes text of the config's choice to any file",
    "monai.handlers.ClassificationSaver": "writes text of the config's choice to any file",
    "monai.data.CSVSaver": "writes text of the config's choice to any file",
    "monai.handlers.MLFlowHandler": "opens connections",
    "torch.hub": "fetches code and runs it",
    "torch.utils.cpp_extension": "compiles code and runs it",
    "torch.utils.data.datapipes": "opens connections",
    "torch.ops": "loads libraries",
    "torch.classes": "loads libraries",
    "torch.jit": "loads or compiles code",
    "torch.load": "may run what a pickle says",
    "torch.compile": "compiles code",
    "torch.distributed": "opens connections",
    "torch.package": "loads code",
    "numpy.load": "may run what a pickle says",
    "numpy.ctypeslib": "loads libraries",
    "numpy.f2py": "compiles code",
    "numpy.distutils": "runs programs",
    "os.system": "runs a command of the system",
    "os.popen": "runs a command of the system",
    "os.exec": "runs a program",
    "os.spawn": "runs a program",
    "subprocess": "runs programs",
    "importlib": "imports any module",
    "runpy": "runs any module",
    "ctypes": "loads libraries",
    "pickle": "runs what a pickle says",
    "shutil": "moves and deletes files",
    "socket": "opens connections",
    "urllib": "opens connections",
    "requests": "opens connections",
    "builtins": "reaches everything",
    "functools.partial": "makes a call to something else",
    "operator": "reaches any attribute or method",
    "eval": "runs any code",
    "exec": "runs any code",
    "compile": "compiles code",
    "__import__": "imports any module",
    "getattr": "reaches any attribute",
    "open": "opens any file",
    "breakpoint": "starts the debugger",
    "scripts": "is code that came with the bundle",
}


def config_home() -> Path:
    """Where this user's settings of medseg are."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    return (Path(base) if base else Path.home() / ".config") / "medseg"


def own_names() -> frozenset[str]:
    """Names that this user has let in on this machine: a qualified name on each line of `allowed.txt`."""
    path = config_home() / "allowed.txt"
    return _names_in(path) if path.is_file() else frozenset()


def allows_target(target: str) -> bool:
    """Whether a `_target_` of that name may be called.

    A longer or a bare name counts when it stands for the same class or function.
    """
    if target in BUILTINS and "." not in target:
        return not monai_definitions().get(target)
    if "." not in target:
        found = monai_definitions().get(target, [])
        return bool(found) and all(map(_is_component, found))
    return _is_component(target) or target in own_names()


def allows_value(name: str) -> bool:
    """Whether an expression may name that function, constant or component."""
    return name in FUNCTIONS or name in own_names() or ("." in name and _is_component(name) and not is_touchy(name))


def is_touchy(name: str) -> bool:
    """Whether a component takes what must be seen, so that it may stand in `_target_` only."""
    try:
        return any(is_seen(argument) for argument in signature_of(name).names)
    except NotFoundError:
        return False


def is_seen(argument: str) -> bool:
    """Whether the argument's value must be looked at."""
    return argument in ARGUMENTS or argument in WRITTEN


def why_denied(name: str) -> str:
    """What the name would do, as far as the table says.

    >>> why_denied("torch.hub.load")
    'fetches code and runs it'
    """
    if "." in name and _is_component(name):
        return "must stand in a _target_, where its arguments are seen"
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        reason = DENIED.get(".".join(parts[:length]))
        if reason:
            return reason
    return "is not among the names that are known to be harmless"


@cache
def components() -> frozenset[str]:
    """The names in `allowed_components.txt`, and the public ones of medseg's own rooms."""
    own = {f"medseg.{room}.{name}" for room in ROOMS for name in listed_names(f"medseg.{room}")}
    return _names_in(COMPONENTS) | own


@cache
def _by_last_part() -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for name in components():
        table.setdefault(name.rpartition(".")[2], []).append(name)
    return table


@cache
def _is_component(target: str) -> bool:
    if target in components():
        return True
    try:
        same = resolve_name(target)
    except NotFoundError:
        return False
    # The name in the table and the name given lead to one definition in the sources.
    return same is not None and any(
        resolve_name(name) == same for name in _by_last_part().get(same.rpartition(".")[2], ())
    )


def _names_in(path: Path) -> frozenset[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)
