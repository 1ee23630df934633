"""Weights read from files, and put into the network they belong to or refused in one line."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from medseg.engines.distributed import unwrap
from medseg.errors import WeightsError

_WRAPPERS = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before each name
_DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError, OSError)


def read_saved(path: str | Path) -> Any:
    """What `torch.save` or safetensors wrote: tensors and plain values only, on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        msg = f"{path}: no such weights file. Give a .pt or .safetensors file, or train first."
        raise WeightsError(msg)
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except Exception as error:  # SafetensorError has no public base class but Exception
        if type(error).__module__.startswith("safetensors"):
            raise _damaged(path, error) from error
        raise


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors, those under several names too: safetensors keeps such a one once and notes its other names."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        others = file.metadata() or {}
    return tensors | {name: tensors[kept] for name, kept in others.items() if kept in tensors and name not in tensors}


def save_safetensors(weights: Mapping[str, torch.Tensor], target: Path) -> None:
    """Write weights as safetensors; tensors that are equal are written once, as `safetensors.torch.save_model` does."""
    from safetensors.torch import save_file

    kept: dict[tuple[Any, ...], str] = {}
    others: dict[str, str] = {}
    for name in sorted(weights):
        content = weights[name].detach().cpu().contiguous()
        data = content.reshape(-1).view(torch.uint8).numpy().tobytes()
        first = kept.setdefault((content.dtype, tuple(content.shape), data), name)
        if first != name:
            others[name] = first
    save_file({name: weights[name].contiguous() for name in kept.values()}, target, metadata={"format": "pt", **others})


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = (str(error) or type(error).__name__).split("\n")[0].strip()[:120]
    return WeightsError(f"{path}: damaged, or not a weights file ({reason}). Copy or train it again.")


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """A network's state dict from a plain file, {"model": …}, or a run's checkpoint (its moving average if any).

    Raises:
        WeightsError: see `read_saved`; or there is no state dict in the file.
    """
    content = read_saved(path)
    if isinstance(content, Mapping) and isinstance(content.get("parts"), Mapping):
        average = content["parts"].get("ema", {}).get("weights")
        content = average or content["parts"].get("model")
    for key in ("model", "state_dict", "network"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(v, torch.Tensor) for v in content.values()):
        msg = f"{path}: there is no state dict in it. Wanted: tensors by name, or the same under 'model'."
        raise WeightsError(msg)
    return {_bare(name): value for name, value in content.items()}


def _bare(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def plain_weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The network's state dict as contiguous CPU tensors of their own, without the names of wrappers."""
    state = unwrap(network).state_dict()
    return {name: v.detach().cpu().clone(memory_format=torch.contiguous_format) for name, v in state.items()}


def fill_network(network: torch.nn.Module, weights: Mapping[str, Any], *, source: str | Path) -> None:
    """Put the weights into the network, every name and shape matching.

    Raises:
        WeightsError: they belong to another network; the first differences are named.
    """
    network = unwrap(network)
    wanted = network.state_dict()
    differences = _differences(wanted, weights)
    if differences:
        count, some = len(differences), "; ".join(differences[:3])
        msg = (
            f"{source}: weights for another network: {count} tensors do not match (it has {len(wanted)}): {some}. "
            "Choose the network that these weights were trained with (network_def), or other weights."
        )
        raise WeightsError(msg)
    network.load_state_dict(dict(weights))


def _differences(wanted: Mapping[str, torch.Tensor], weights: Mapping[str, Any]) -> list[str]:
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in weights.items()}
    found = [
        f"{name} is {shapes[name]}, wanted {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in shapes and shapes[name] != tuple(value.shape)
    ]
    found += [f"{name} is missing" for name in wanted if name not in shapes]
    return found + [f"{name} is not in the network" for name in shapes if name not in wanted]


def load_weights(network: torch.nn.Module, path: str | Path) -> torch.nn.Module:
    """The network with the weights of the file in it; the error names the file.

    Raises:
        WeightsError: see `read_weights` and `fill_network`.
    """
    fill_network(network, read_weights(path), source=path)
    return network


def save_plain(source: str | Path, target: Path) -> None:
    """Write a file's weights as a plain state dict, which every consumer of bundles reads; equal weights, equal bytes.

    Raises:
        WeightsError: see `read_weights`.
    """
    weights = read_weights(source)
    torch.save({name: weights[name].contiguous().clone() for name in sorted(weights)}, target)


class WeightsLoader:
    """A handler that loads weights when its engine starts, so that a config can be built without them.

    Args:
        path: .pt or .safetensors file.
        network: where the weights go.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module) -> None:
        self.path, self.network = path, network

    def attach(self, engine: Any) -> None:
        """Load at the start of the engine's run."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, _: Any) -> None:
        """Load the weights."""
        load_weights(self.network, self.path)
