"""Several processes: start them alike, wrap the network, take means over ranks."""

import atexit
import gc
import os
from typing import Any

import ignite.distributed as idist
import torch
from torch.nn.parallel import DistributedDataParallel

from medseg.inference.channel_norm import to_channels_last


def initialize_distributed(backend: str | None = None) -> int:
    """Join the process group under torchrun; alone, do nothing. For a config's `initialize`, on every rank.

    Args:
        backend: "nccl" or "gloo"; by default nccl where there is a CUDA device.

    Returns:
        The rank of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        if torch.cuda.is_available() and backend != "gloo":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        idist.initialize(backend or ("nccl" if torch.cuda.is_available() else "gloo"))
        # else its threads outlive the interpreter now and then, and the process ends in SIGABRT after all its work
        atexit.register(_leave)
    # the first touch of ignite.distributed is collective: all ranks do it here, together
    return int(idist.get_rank())


def _leave() -> None:
    gc.collect()  # networks in reference cycles keep the group's threads alive
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def distribute(network: torch.nn.Module, *, channels_last: bool = False) -> torch.nn.Module:
    """The network wrapped for several processes; the network itself when there is one."""
    if channels_last:
        network = to_channels_last(network)
    if idist.get_world_size() == 1:
        return network
    device = next(network.parameters()).device
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def unwrap(network: torch.nn.Module) -> torch.nn.Module:
    """The network inside DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(network, (DistributedDataParallel, torch.nn.DataParallel)):
            network = network.module
        elif hasattr(network, "_orig_mod"):
            network = network._orig_mod  # type: ignore[assignment]
        else:
            return network


def is_main() -> bool:
    """Whether this process writes files."""
    return bool(idist.get_rank() == 0)


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; a collective call when there are several."""
    if idist.get_world_size() == 1:
        return flag
    return bool(idist.all_reduce(float(flag)) > 0)


def gather_objects(value: Any) -> list[Any]:
    """The value of every rank, in order of rank."""
    world_size = idist.get_world_size()
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(values, value)
    return values
