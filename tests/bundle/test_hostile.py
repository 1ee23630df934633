"""Bundles that would run a stranger's code: what each adds to train.yaml, and why it is refused.

`CANARY` is a file that none of them may make. Each would make it, or leads to something that could, if MONAI got it.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.run import predict, resume, train
from medseg.errors import ConfigError, MedsegError, TrustError, WeightsError

TOUCH = "touch CANARY"

HOSTILE: dict[str, tuple[str, str]] = {
    # --- by _target_ -------------------------------------------------------------------------------------------
    "os.system": (f"+run: [{{_target_: os.system, command: {TOUCH}}}]", "calls os.system, which runs a command"),
    "posix.system": (f"+run: [{{_target_: posix.system, command: {TOUCH}}}]", "calls posix.system"),
    "subprocess.Popen": ("+run: [{_target_: subprocess.Popen, args: [touch, CANARY]}]", "runs programs"),
    "run_cmd": (
        "+run: [{_target_: monai.utils.misc.run_cmd, cmd_list: [touch, CANARY]}]",
        "calls monai.utils.misc.run_cmd, which runs a command of the system",
    ),
    "run_cmd by its bare name": ("+run: [{_target_: run_cmd, cmd_list: [touch, CANARY]}]", "calls run_cmd"),
    "run_cmd by another module's import": (
        "+run: [{_target_: monai.apps.auto3dseg.bundle_gen.run_cmd, cmd_list: [touch, CANARY]}]",
        "calls monai.apps.auto3dseg.bundle_gen.run_cmd",
    ),
    "a module that a component's module imports": (
        f"+run: [{{_target_: monai.utils.misc.os.system, command: {TOUCH}}}]",
        "calls monai.utils.misc.os.system",
    ),
    "torch.hub": ("+run: [{_target_: torch.hub.load, repo_or_dir: a/b, model: c}]", "fetches code and runs it"),
    "load_inline": (
        "+run: [{_target_: torch.utils.cpp_extension.load_inline, name: x, cpp_sources: ''}]",
        "compiles code and runs it",
    ),
    "numpy.load": ("x: {_target_: numpy.load, file: a.npy, allow_pickle: true}", "may run what a pickle says"),
    "torch.load": ("x: {_target_: torch.load, f: models/model.pt, weights_only: false}", "may run what a pickle says"),
    "torch.jit": ("x: {_target_: torch.jit.load, f: models/model.ts}", "loads or compiles code"),
    "load_library": ("x: {_target_: torch.ops.load_library, path: evil.so}", "loads libraries"),
    "ctypes": ("x: {_target_: ctypes.CDLL, name: evil.so}", "loads libraries"),
    "pickle": ("x: {_target_: pickle.loads, data: abc}", "runs what a pickle says"),
    "eval": ("x: {_target_: eval, source: '1'}", "calls eval, which runs any code"),
    "exec by builtins": ("x: {_target_: builtins.exec, object: '1'}", "reaches everything"),
    "runpy": ("x: {_target_: runpy.run_path, path_name: evil.py}", "runs any module"),
    "importlib": ("x: {_target_: importlib.import_module, name: evil}", "imports any module"),
    "another bundle": ("x: {_target_: monai.bundle.run, config_file: evil.json}", "runs other configs"),
    "a ConfigParser": ("x: {_target_: monai.bundle.ConfigParser, config: {}}", "runs other configs"),
    "the bundle's own scripts": ("x: {_target_: scripts.evil.f}", "is code that came with the bundle"),
    "a module as value": ("x: {_target_: os}", "calls os,"),
    "nested partial": (
        f"x: {{_target_: functools.partial, func: {{_target_: os.system, _mode_: callable, command: {TOUCH}}}}}",
        "makes a call to something else",
    ),
    "operator.methodcaller": ("x: {_target_: operator.attrgetter, attr: system}", "reaches any attribute"),
    "nested deep in lists": (
        f"x: [[{{a: [{{b: {{_target_: os.system, command: {TOUCH}}}}}]}}]]",
        "calls os.system",
    ),
    "in _requires_": (
        f"x: {{_target_: torch.nn.ReLU, _requires_: [{{_target_: os.system, command: {TOUCH}}}]}}",
        "calls os.system",
    ),
    "in a dictionary of arguments": (
        f"x: {{_target_: monai.transforms.Compose, transforms: [{{_target_: os.system, command: {TOUCH}}}]}}",
        "calls os.system",
    ),
    "behind a disabling expression": (
        f"x: {{_target_: torch.nn.ReLU, _disabled_: \"$__import__('os').system('{TOUCH}')\"}}",
        "names '__import__'",
    ),
    "_mode_ callable": (f"x: {{_target_: os.system, _mode_: callable, command: {TOUCH}}}", "calls os.system"),
    "_mode_ debug": ("x: {_target_: torch.nn.ReLU, _mode_: debug}", "opens Python's debugger"),
    "_mode_ with spaces": ("x: {_target_: torch.nn.ReLU, _mode_: ' debug '}", "opens Python's debugger"),
    "_mode_ by reference": ("m: debug\nx: {_target_: torch.nn.ReLU, _mode_: '@m'}", "opens Python's debugger"),
    "_debug_": ("x: {_target_: torch.nn.ReLU, _debug_: true}", "_debug_ opens Python's debugger"),
    "_target_ by reference": (f"n: os.system\nx: {{_target_: '@n', command: {TOUCH}}}", "calls what '@n' comes to"),
    "_target_ by expression": (
        f"x: {{_target_: \"$'os.' + 'system'\", command: {TOUCH}}}",
        "calls what",
    ),
    "_target_ by macro": (f"n: os.system\nx: {{_target_: '%n', command: {TOUCH}}}", "calls what '%n' comes to"),
    "a key with the target in it": (f"x: {{}}\nx::_target_: os.system\nx::command: {TOUCH}", "calls os.system"),
    "the old separator": (f"x: {{}}\nx#_target_: os.system\nx#command: {TOUCH}", "calls os.system"),
    "letters that look alike": (f"x: {{_target_: ｏs.system, command: {TOUCH}}}", "calls ｏs.system"),
    # --- by the arguments of harmless components ---------------------------------------------------------------
    "a reader by its name": (
        f"x: {{_target_: monai.transforms.LoadImage, reader: os.system, command: {TOUCH}}}",
        "reader='os.system' decides what runs",
    ),
    "a reader by its name, bare target": (
        "x: {_target_: LoadImaged, keys: image, reader: subprocess.Popen, args: [touch, CANARY]}",
        "reader='subprocess.Popen' decides what runs",
    ),
    "a reader in a list": ("x: {_target_: LoadImage, reader: [itkreader, os.abort]}", "decides what runs"),
    "a reader by reference": ("r: os.abort\nx: {_target_: LoadImage, reader: '@r'}", "decides what runs"),
    "a reader by macro": ("r: os.abort\nx: {_target_: LoadImage, reader: '%r'}", "decides what runs"),
    "a reader by expression": ("x: {_target_: LoadImage, reader: \"$'os.' + 'abort'\"}", "decides what runs"),
    "a writer by its name": (
        "x: {_target_: monai.transforms.SaveImaged, keys: pred, writer: subprocess.Popen}",
        "writer='subprocess.Popen' decides what runs",
    ),
    "a merger by its name": ("x: {_target_: PatchInferer, merger_cls: os.abort}", "decides what runs"),
    "a reader handed on": (
        "x: {_target_: LoadImage, _mode_: callable}",
        "hands LoadImage on to be called with arguments that cannot be seen here",
    ),
    "a reader in an expression": (
        "x: \"$monai.transforms.LoadImage('os.abort')\"",
        "must stand in a _target_, where its arguments are seen",
    ),
    "a reader by map": (
        "x: \"$list(map(monai.transforms.LoadImage, ['os.abort']))\"",
        "must stand in a _target_",
    ),
    "pickles allowed": ("x: {_target_: LoadImage, reader: NumpyReader, allow_pickle: true}", "allow_pickle=True"),
    "a cache of pickles": (
        "x: {_target_: PersistentDataset, data: [], transform: null, cache_dir: a, weights_only: false}",
        "weights_only=False",
    ),
    "a file of the config's choice": (
        "x: {_target_: monai.handlers.LogfileHandler, output_dir: /home, filename: .profile}",
        "writes text of the config's choice to any file",
    ),
    "a reader that str makes": (
        f"x: {{_target_: LoadImage, reader: {{_target_: str, object: os.system}}, command: {TOUCH}}}",
        "decides what runs",
    ),
    "a reader that enumerate makes": (
        "x: {_target_: LoadImage, reader: {_target_: enumerate, iterable: [os.abort]}}",
        "decides what runs",
    ),
    "a writer that str makes": (
        "x: {_target_: SaveImage, writer: {_target_: str, object: os.abort}}",
        "decides what runs",
    ),
    "a merger that str makes": (
        "x: {_target_: PatchInferer, merger_cls: {_target_: str, object: os.abort}}",
        "decides what runs",
    ),
    "a reader by a key of its own": ("x: {_target_: LoadImage}\nx::reader: os.abort", "decides what runs"),
    "pickles allowed by what is true": (
        "x: {_target_: LoadImage, allow_pickle: {_target_: dict, a: 1}}",
        "allow_pickle=",
    ),
    "a cache of pickles by what is false": (
        "x: {_target_: PersistentDataset, data: [], transform: null, cache_dir: a, weights_only: {_target_: dict}}",
        "weights_only=",
    ),
    "pickles allowed for a reader": (
        "x: {_target_: LoadImage, reader: {_target_: monai.data.NumpyReader, allow_pickle: true}}",
        "decides what runs",
    ),
    "a compiler": (
        "x: {_target_: SupervisedEvaluator, compile: true, compile_kwargs: {options: {cpp.cxx: [touch, CANARY]}}}",
        "calls SupervisedEvaluator|compile_kwargs=",
    ),
    "a compiler for a trainer": (
        "x: {_target_: monai.engines.SupervisedTrainer, compile: true, compile_kwargs: {backend: evil}}",
        "compile_kwargs=",
    ),
    "a compiler for ours": (
        "x: {_target_: medseg.engines.SupervisedEvaluator, compile: true, compile_kwargs: {backend: evil}}",
        "compile_kwargs=",
    ),
    "weights from an address": (
        "x: {_target_: monai.networks.nets.HoVerNet, pretrained_url: 'https://example.org/a'}",
        "decides what runs or is fetched",
    ),
    "numbers to an address": ("x: {_target_: medseg.engines.MlflowLog, run_dir: a, uri: 'https://a'}", "uri="),
    "events to an address": (
        "x: {_target_: TensorBoardStatsHandler, log_dir: 'ftp://example.org/a'}",
        "may write elsewhere than to a folder here",
    ),
    "events to an address in pieces": (
        "s: '://example.org/'\nx: {_target_: TensorBoardStatsHandler, log_dir: $'ftp' + @s}",
        "may write elsewhere than to a folder here",
    ),
    "events to an address that cannot be told": (
        "+imports: [$import os]\nx: {_target_: TensorBoardStatsHandler, log_dir: $os.environ.get('A')}",
        "may write elsewhere than to a folder here",
    ),
    "a store at an address": ("x: {_target_: ZarrAvgMerger, store: 's3://a/b'}", "may write elsewhere"),
    "a checkpoint that a shell reads": (
        "x: {_target_: CheckpointSaver, save_dir: /home, save_dict: {}, final_filename: .profile}",
        "is no name of a weights file",
    ),
    "a checkpoint elsewhere": (
        "x: {_target_: CheckpointSaver, save_dir: /home, save_dict: {}, key_metric_filename: ../a.pt}",
        "is no name of a weights file",
    ),
    "a checkpoint by a pattern": (
        "x: {_target_: ignite.handlers.Checkpoint, to_save: {}, save_handler: a, filename_pattern: .profile}",
        "is no name of a weights file",
    ),
    "a checkpoint that is text": (
        "x: {_target_: ignite.handlers.ModelCheckpoint, dirname: a, pickle_protocol: 0}",
        "pickle_protocol=0",
    ),
    # --- by MONAI's own ways of looking things up --------------------------------------------------------------
    "a workflow": ("x: {_target_: monai.bundle.ConfigWorkflow, config_file: evil.json}", "runs other configs"),
    "another bundle's weights": ("x: {_target_: monai.bundle.load, name: evil}", "runs other configs"),
    "instantiate": ("x: {_target_: monai.utils.instantiate, __path: os.abort}", "calls monai.utils.instantiate"),
    "optional_import": ("x: {_target_: monai.utils.optional_import, module: os}", "calls monai.utils.optional_import"),
    "load_submodules": ("x: {_target_: monai.utils.load_submodules, basemod: os}", "calls monai.utils.load_submodules"),
    "a method of an allowed class": (
        "x: {_target_: ignite.handlers.Checkpoint.load_objects, checkpoint: a.pt}",
        "calls ignite.handlers.Checkpoint.load_objects",
    ),
    "a file removed": ("x: {_target_: os.remove, path: CANARY}", "calls os.remove"),
    "a tree removed": ("x: {_target_: shutil.rmtree, path: CANARY}", "moves and deletes files"),
    "a path's method": ("x: {_target_: pathlib.Path.touch, self: CANARY}", "calls pathlib.Path.touch"),
    "in _disabled_": (
        f"x: {{_target_: torch.nn.ReLU, _disabled_: {{_target_: os.system, command: {TOUCH}}}}}",
        "calls os.system",
    ),
    "in _requires_ by expression": (
        f"x: {{_target_: torch.nn.ReLU, _requires_: \"$__import__('os').system('{TOUCH}')\"}}",
        "'__import__'",
    ),
    "by a merge key": (f"a: &a {{_target_: os.system, command: {TOUCH}}}\nx: {{<<: *a}}", "calls os.system"),
    "by an alias": (f"a: &a {{_target_: os.system, command: {TOUCH}}}\nx: [*a]", "calls os.system"),
    "in a key that the metadata takes": (
        f"_meta_: {{a: \"$__import__('os').system('{TOUCH}')\"}}\nx: '@_meta_::a'",
        "hides behind the key that the metadata takes",
    ),
    # --- by $ --------------------------------------------------------------------------------------------------
    "$ __import__": (f"x: \"$__import__('os').system('{TOUCH}')\"", "calls the method 'system'"),
    "$ os.system": (f"+imports: [$import os]\nx: \"$os.system('{TOUCH}')\"", "os.system, which runs a command"),
    "$ os.system as value": (
        "+imports: [$import os]\nx: {_target_: monai.transforms.Lambda, func: $os.system}",
        "uses os.system",
    ),
    "$ os by way of torch": (f"x: \"$torch.os.system('{TOUCH}')\"", "uses torch.os.system"),
    "$ os by way of numpy": (f"x: \"$np.os.system('{TOUCH}')\"", "uses numpy.os.system"),
    "$ eval": ("x: \"$eval('1')\"", "names 'eval', which runs any code"),
    "$ exec in a comprehension": ("x: \"$[exec(c) for c in ['1']]\"", "names 'exec'"),
    "$ open": ("x: \"$open('CANARY', 'w')\"", "names 'open', which opens any file"),
    "$ getattr": (f"+imports: [$import os]\nx: \"$getattr(os, 'system')('{TOUCH}')\"", "reaches any attribute"),
    "$ getattr by other letters": ("x: \"$ｇetattr(1, 'real')\"", "names 'getattr'"),
    "$ dunders": (
        "x: $().__class__.__base__.__subclasses__()",
        "calls the method '__subclasses__'",
    ),
    "$ dunders by other letters": ("x: $().__ｃlass__", "looks at the attribute '__class__'"),
    "$ dunder of a reference": ("x: '$@large.__class__'", "looks at the attribute '__class__'"),
    "$ globals of a function": (
        "x: $torch.nn.functional.relu.__globals__",
        "uses torch.nn.functional.relu.__globals__",
    ),
    "$ frames of a generator": ("x: '$(a for a in [1]).gi_frame.f_builtins'", "attribute 'f_builtins'"),
    "$ format": ("x: \"$'{0.__class__.__mro__}'.format(1)\"", "calls the method 'format'"),
    "$ format_map": ("x: \"$'{a.__class__}'.format_map({'a': 1})\"", "calls the method 'format_map'"),
    "$ f-string": ("x: \"$f'{__import__('+chr(39)+'os')}'\"", "is no expression|names '__import__'"),
    "$ f-string with a call": ("x: '$f\"{eval(1)}\"'", "names 'eval'"),
    "$ lambda": ("x: {_target_: monai.transforms.Lambda, func: \"$lambda x: __import__('os')\"}", "'__import__'"),
    "$ lambda that calls its argument": ("x: '$lambda f: f()'", "calls 'f', which can be anything"),
    "$ lambda that hides a module": ("x: '$lambda torch: torch.load'", "gives 'torch' another meaning"),
    "$ a comprehension that hides a module": ("x: '$[torch.load for torch in [1]]'", "gives 'torch' another meaning"),
    "$ walrus": ("x: '$(e := eval)'", "a named expr"),
    "$ await": ("x: '$[a async for a in b]'", "is no expression|names 'b'"),
    "$ a module as value": ("x: $torch", "takes torch as a value"),
    "$ a module in a list": ("x: '$[m for m in [torch]][0]'", "takes torch as a value"),
    "$ a module by reference": ("x: \"$@imports[0].fail('stop')\"", "looks up 'imports', which holds a module"),
    "$ a module by a reference's chain": ("y: '@imports'\nx: \"$@y[0].fail('stop')\"", "hands a module on"),
    "$ a module by macro": ("y: '%imports::0'", "copies a module"),
    "$ MONAI's own dictionary": ("x: \"$__local_refs['imports::0'].system('a')\"", "holds a module"),
    "$ MONAI's own dictionary, any key": ("x: '$[__local_refs[k] for k in [1]]'", "depends on the config"),
    "$ vars": ("x: $vars()", "names 'vars'"),
    "$ type": ("x: \"$type('X', (), {})\"", "names 'type'"),
    "$ breakpoint": ("x: $breakpoint()", "starts the debugger"),
    "$ str.join on a stranger": ("x: $@large.denominator.as_integer_ratio()", "calls the method 'as_integer_ratio'"),
    "$ a slice by the old separator": ("x: \"$[1][0#eval('1')]\"", "names 'eval'"),
    "$ a reference inside quotes": (
        "x: \"$'@or' if eval('1') else '@or'\"",
        "is no expression|names 'eval'",
    ),
    "$ a quote that a reference opens": (
        "x: \"$'@a if __import__(chr(111)+chr(115)) else @a'\"",
        "is no expression",
    ),
    "$ relative reference below a strange key": (
        "\"large.real+eval('1')\": {b: 1, c: '$@::b'}",
        "relative to keys that are no plain words",
    ),
    "$ in a description": (
        f"x: {{_target_: torch.nn.ReLU, _desc_: \"$__import__('os').system('{TOUCH}')\"}}",
        "'system'",
    ),
    "$ with a line end": ("x: \"$eval(\\n'1')\"", "names 'eval'"),
    "$ too deep": (f"x: '${'(' * 300}1{')' * 300}'", "is no expression|nests too deep"),
    "$ a lambda whose argument is eval": (
        f'x: "$[(lambda eval: 1), list(map(eval, [\'__import__(\\"os\\").system(\\"{TOUCH}\\")\']))]"\n'
        "+initialize: ['@x']",
        "gives 'eval' another meaning",
    ),
    "$ a comprehension over exec": (
        "x: \"$[list(map(exec, ['1'])), [exec for exec in [1]]]\"",
        "gives 'exec' another meaning",
    ),
    "$ a lambda whose argument is open": (
        "x: \"$list(map(open, ['CANARY'], ['w'])) if (lambda open: 1) else 0\"\n+initialize: ['@x']",
        "gives 'open' another meaning",
    ),
    "$ a lambda whose argument is getattr": (
        "x: \"$[(lambda *getattr: 1), list(map(getattr, [1], ['real']))]\"",
        "gives 'getattr' another meaning",
    ),
    "$ a comprehension that sets an item": ("x: \"$[0 for @train['dataset'] in [1]]\"", "changes "),
    "$ a comprehension that sets an attribute": ("x: $[0 for @large.data in [1]]", "changes "),
    "$ a comprehension that sets a function": ("x: $[0 for torch.relu in [abs]]", "changes torch.relu"),
    "$ a comprehension that sets a tuple": ("x: '$[0 for (a, torch.relu) in [(1, abs)]]'", "changes torch.relu"),
    "$ arguments by **": (
        "x: \"$monai.data.Dataset(**{'weights_only': False})\"",
        "arguments by **, which must stand in a _target_",
    ),
    "$ an argument that must be seen": ("x: $dict(weights_only=False)", "gives weights_only"),
    "$ a file copied": ("+imports: [$import pathlib]\nx: \"$pathlib.Path('a').copy('CANARY')\"", "the method 'copy'"),
    "$ a file written": (
        "+imports: [$import pathlib]\nx: \"$pathlib.Path('CANARY').write_text('a')\"",
        "the method 'write_text'",
    ),
    "$ a file made": ("+imports: [$import pathlib]\nx: \"$pathlib.Path('CANARY').touch()\"", "the method 'touch'"),
    "$ format of the class": ("x: \"$str.format('{0.__class__}', 1)\"", "calls the method 'format'"),
    "$ torch's own load": ("x: $torch.serialization.load('a')", "uses torch.serialization.load"),
    "$ numpy's libraries": ("x: $np.ctypeslib.load_library('a', 'b')", "loads libraries"),
    "$ the environment of a module": ("x: $torch.os.environ", "uses torch.os.environ"),
    "$ an f-string in a format": ("x: '$f\"{1:{eval(1)}}\"'", "names 'eval'"),
    "$ a name with a default": ("x: '$(lambda a=eval: a)'", "names 'eval'"),
    "$ a function as a sorting key": (
        f"+imports: [$import os]\nx: \"$sorted(['{TOUCH}'], key=os.system)\"",
        "uses os.system",
    ),
    "$ a function handed to a loader": (
        "+imports: [$import os]\nx: {_target_: torch.utils.data.DataLoader, dataset: [1], collate_fn: $os.system}",
        "uses os.system",
    ),
    "$ a function handed to a transform": (
        "+imports: [$import os]\nx: {_target_: monai.transforms.Lambdad, keys: case_id, func: $os.system}",
        "uses os.system",
    ),
    "$ a function handed to a handler": (
        "+imports: [$import os]\nx: {_target_: monai.handlers.MeanDice, output_transform: $os.system}",
        "uses os.system",
    ),
    "$ a function handed to a network's method": (
        "+imports: [$import os]\nn: {_target_: torch.nn.ReLU}\nx: $@n.apply(os.abort)",
        "calls the method 'apply'",
    ),
    "$ unpacked arguments": (
        f"+imports: [$import os]\nx: \"$max(*map(os.system, ['{TOUCH}']), 0)\"",
        "uses os.system",
    ),
    "$ a function out of a list": (f"+imports: [$import os]\nx: \"$[os.system][0]('{TOUCH}')\"", "uses os.system"),
    "$ a function by a condition": (
        f"+imports: [$import os]\nx: \"$(os.system if True else len)('{TOUCH}')\"",
        "uses os.system",
    ),
    # --- by $import --------------------------------------------------------------------------------------------
    "$import of anything": ("+imports: [$import antigravity]", "imports antigravity"),
    "$import subprocess": ("+imports: [$import subprocess]", "imports subprocess, which runs programs"),
    "$import under another name": (
        f"+imports: [$import subprocess as torch]\nx: \"$torch.run('{TOUCH}')\"",
        "imports subprocess",
    ),
    "$import of a harmless module over another": (
        "+imports: [$import os as torch]\nx: \"$torch.replace('a', 'b')\"",
        "uses two things",
    ),
    "$from os import system": (f"+imports: [$from os import system]\nx: \"$system('{TOUCH}')\"", "imports os.system"),
    "$from os import star": ("+imports: ['$from os import *']", "imports several things at once"),
    "$import of two": ("+imports: ['$import os, subprocess']", "imports several things at once"),
    "$import with more behind": (
        f"+imports: [\"$import torch; __import__('os').system('{TOUCH}')\"]",
        "is no expression",
    ),
    "$import in a component": ("x: {_target_: torch.nn.ReLU, inplace: $import os}", "outside of `imports`"),
    "$import of the program itself": ("+imports: [$import medseg.__main__]", "imports medseg.__main__"),
    "$import under a name of Python": (
        "+imports: [$from os.path import join as max]\n"
        "x: {_target_: TensorBoardStatsHandler, log_dir: \"$max('ftp://a', 'b')\"}",
        "gives 'max' another meaning",
    ),
    "$import under the name of a function": (
        f"+imports: [$from os import system as len]\nx: \"$len('{TOUCH}')\"",
        "gives 'len' another meaning",
    ),
    "$import over MONAI": (
        f"+imports: [$import os as monai]\nx: \"$monai.system('{TOUCH}')\"",
        "uses two things (monai, os)",
    ),
    "$import relative": ("+imports: ['$from . import evil']", "depends on who asks"),
    # --- by macros ---------------------------------------------------------------------------------------------
    "% outside file": ("x: '%../../evil.yaml::a'", "reads a config file that is not checked"),
    "% outside JSON": ("x: '%/tmp/evil.JSON'", "reads a config file that is not checked"),
    "% file by a reference's path": ("x: '%docs/a.yml#b'", "reads a config file that is not checked"),
    "% copies a macro": ("a: {b: '@::::c'}\nc: 1\nx: '%a'", "changes its meaning where it is copied to"),
    # --- by logging configs ------------------------------------------------------------------------------------
    "dictConfig factory": ("x: {handlers: {h: {'()': os.system, command: a}}}", "is a factory of a logging config"),
    "dictConfig ext": ("x: {stream: ext://os.system}", "is resolved by a logging config"),
}

LOGGING_CONF = """[loggers]
keys=root
[handlers]
keys=h
[formatters]
keys=f
[logger_root]
handlers=h
[handler_h]
class=StreamHandler
args=(__import__('os').system('touch CANARY'),)
[formatter_f]
class=evil.Formatter
"""


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_runs_nothing_and_the_reason_is_given(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path, name: str
) -> None:
    yaml, reason = HOSTILE[name]
    root = make_bundle(train=yaml.replace("CANARY", str(canary)) + "\n")
    with pytest.raises(MedsegError) as refused:
        train(root, run_dir=tmp_path / "run")
    assert not canary.exists()
    assert not (tmp_path / "run").exists()
    assert isinstance(refused.value, TrustError)
    assert re.search(reason if "|" in reason else re.escape(reason), "\n".join(refused.value.items))
    assert all("configs/train.yaml:" in item for item in refused.value.items)


@pytest.mark.parametrize("name", ["os.system", "run_cmd", "$ __import__"])
def test_what_is_refused_would_have_run(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path, name: str
) -> None:
    yaml = HOSTILE[name][0].replace("CANARY", str(canary))
    if name.startswith("$"):
        yaml += "\n+initialize: ['@x']"
    train(make_bundle(train=yaml + "\n"), run_dir=tmp_path / "run", trust=True)
    assert canary.exists()


def test_there_are_many_ways_in() -> None:
    assert len(HOSTILE) >= 150


def test_the_list_cannot_be_hidden_by_what_it_lists(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle(train='x: "$open(1)\\x1b[2K\\r\\u202e"\n')
    with pytest.raises(TrustError) as refused:
        train(root, run_dir=tmp_path / "run")
    assert all(item.isprintable() for item in refused.value.items)


class Touch:
    """A pickle that makes the canary."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Touch(canary))


def zipped(canary: Path) -> bytes:
    """Weights as torch writes them, with a pickle of one's own inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(canary))
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("models/model.pt", zipped),
        ("models/model.pt", pickled),
        ("models/extra.pkl", pickled),
        ("docs/table.pickle", pickled),
        ("models/old.pth", lambda canary: pickle.dumps(1) + pickle.dumps(2) + pickled(canary)),
    ],
)
def test_a_pickle_in_a_bundle_is_named_and_not_loaded(
    make_bundle: Callable[..., Path],
    scan: Path,
    tmp_path: Path,
    canary: Path,
    name: str,
    content: Callable[[Path], bytes],
) -> None:
    root = make_bundle()
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(content(canary))
    with pytest.raises(TrustError) as refused:
        predict(root, [scan], output_dir=tmp_path / "out")
    assert refused.value.items == (f"{name}: holds a pickle that calls posix.system",)
    assert not canary.exists()


def test_an_array_of_objects_is_a_pickle(make_bundle: Callable[..., Path], tmp_path: Path, canary: Path) -> None:
    import numpy as np

    root = make_bundle()
    np.save(root / "docs" / "a.npy", np.array([Touch(canary)], dtype=object), allow_pickle=True)
    np.save(root / "docs" / "b.npy", np.zeros(3))
    with pytest.raises(TrustError) as refused:
        train(root, run_dir=tmp_path / "run")
    assert [item.split(":")[0] for item in refused.value.items] == ["docs/a.npy"]
    assert not canary.exists()


def test_honest_weights_are_no_threat(tmp_path: Path) -> None:
    import torch

    from medseg.bundle.pickles import called_by

    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2))
    optimizer = torch.optim.AdamW(network.parameters())
    for legacy in (False, True):
        content = {
            "model": network.state_dict(),
            "opt": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "epoch": 3,
        }
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
        assert called_by(tmp_path / "a.pt") == set()


@pytest.mark.parametrize("content", [zipped, pickled])
def test_weights_that_are_code_are_not_loaded(tmp_path: Path, canary: Path, content: Callable[[Path], bytes]) -> None:
    from medseg.engines.weights import read_weights

    (tmp_path / "model.pt").write_bytes(content(canary))
    with pytest.raises(WeightsError, match="not a weights file"):
        read_weights(tmp_path / "model.pt")
    assert not canary.exists()


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [touch CANARY]", "!!python/name:os.system", "!evil 1"]
)
def test_a_yaml_tag_makes_nothing(make_bundle: Callable[..., Path], tmp_path: Path, canary: Path, tag: str) -> None:
    root = make_bundle(train=f"x: {tag.replace('CANARY', str(canary))}\n")
    with pytest.raises(ConfigError, match=r"train\.yaml:\d+: not valid YAML: could not determine a constructor"):
        train(root, run_dir=tmp_path / "run")
    assert not canary.exists()


@pytest.mark.parametrize(
    "yaml",
    [
        "x: &a [*a]",
        "x: &a {b: *a}",
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "\n".join(
            f"{n}: &{n} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]"
            for p, n in zip("abcdefg", "bcdefgh", strict=True)
        ),
    ],
)
def test_a_yaml_bomb_is_refused_at_once(make_bundle: Callable[..., Path], tmp_path: Path, yaml: str) -> None:
    root = make_bundle(train=yaml + "\n")
    with pytest.raises(ConfigError, match=r"train\.yaml:\d+: .*(refers to itself|too large)"):
        train(root, run_dir=tmp_path / "run")


def test_a_logging_config_is_read_and_not_evaluated(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path
) -> None:
    root = make_bundle()
    (root / "configs" / "logging.conf").write_text(LOGGING_CONF.replace("CANARY", str(canary)))
    with pytest.raises(TrustError) as refused:
        train(root, run_dir=tmp_path / "run")
    assert [item.split(" ")[0] for item in refused.value.items] == [
        "configs/logging.conf:11:",
        "configs/logging.conf:13:",
    ]
    (root / "configs" / "logging.conf").unlink()
    (root / "configs" / "logging.json").write_text('{"handlers": {"h": {"()": "os.system", "command": "touch x"}}}')
    with pytest.raises(TrustError, match="1 thing"):
        train(root, run_dir=tmp_path / "run")
    assert not canary.exists()


def test_metadata_is_a_config_too(make_bundle: Callable[..., Path], tmp_path: Path, canary: Path) -> None:
    root = make_bundle()
    path = root / "configs" / "metadata.json"
    path.write_text(
        path.read_text().replace('"task": "toy"', f"\"task\": \"$__import__('os').system('touch {canary}')\"")
    )
    with pytest.raises(TrustError) as refused:
        train(root, run_dir=tmp_path / "run")
    assert "configs/metadata.json" in refused.value.items[0]
    assert not canary.exists()


def test_a_run_folder_is_a_config_too(
    make_bundle: Callable[..., Path], scan: Path, tmp_path: Path, canary: Path
) -> None:
    root, run = make_bundle(), tmp_path / "run"
    train(root, run_dir=run)
    with (run / "config.yaml").open("a") as file:
        file.write(f"x: {{_target_: os.system, command: touch {canary}}}\n")
    with pytest.raises(TrustError, match="1 thing"):
        resume(run)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("fractions.Fraction", "os.abort"))
    (run / "model.pt").write_bytes(b"")
    with pytest.raises(TrustError, match="things"):
        predict(root, [scan], output_dir=tmp_path / "out", weights=run)
    assert not canary.exists()


def test_a_preset_is_a_config_too_and_so_is_an_override(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path
) -> None:
    preset = tmp_path / "fast.yaml"
    preset.write_text(f"device: \"$__import__('os').system('touch {canary}')\"\n")
    with pytest.raises(TrustError) as refused:
        train(make_bundle(), presets=[str(preset)], run_dir=tmp_path / "run")
    assert f"{preset}:1: device" in refused.value.items[0]
    with pytest.raises(TrustError, match="1 thing"):
        train(tmp_path / "bundles" / "toy", overrides=["device=$eval('1')"], run_dir=tmp_path / "run")
    assert not canary.exists()


def test_the_command_line_lists_the_reasons_and_exits_with_2(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path
) -> None:
    root = make_bundle(train=HOSTILE["os.system"][0].replace("CANARY", str(canary)) + "\n")
    command = [sys.executable, "-m", "medseg", "train", str(root), "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "can execute" in done.stderr
    assert "configs/train.yaml:" in done.stderr
    assert "calls os.system, which runs a command of the system" in done.stderr
    assert not canary.exists()


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    import nibabel as nib
    import numpy as np

    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    return tmp_path / "a.nii.gz"
