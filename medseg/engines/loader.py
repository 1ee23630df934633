"""The data loader: nothing random of its own, and errors that keep their one line."""

import functools
import math
import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ignite.distributed as idist
import torch
from monai.data import list_data_collate
from torch.utils.data import DataLoader, Dataset

from medseg.engines.cases import CaseDataset, Failure
from medseg.engines.draws import DrawSampler
from medseg.engines.nested import Ragged
from medseg.errors import DataError

_END = object()


class CaseLoader(DataLoader):
    """A torch DataLoader that fills the dataset's cache before workers fork, and raises a Failure as its error.

    Built by `make_loader`. An endless sampler still has a length: that of an epoch.

    Attributes:
        ahead: Whether the next batch is read and preprocessed in a thread while this one is used.
    """

    ahead: bool = False

    def start_at(self, iteration: int) -> None:
        """Let the next iterator begin with the batch of that number (from 0), counted over all epochs."""
        if isinstance(self.sampler, DrawSampler):
            self.sampler.start_at(iteration, self.batch_size or 1)

    def signature(self) -> dict[str, int]:
        """What fixes the sequence of samples. A resumed run must find the same."""
        sampler = self.sampler
        if not isinstance(sampler, DrawSampler):
            return {}
        return {
            "cases": sampler.num_cases,
            "seed": sampler.seed,
            "draws_per_epoch": sampler.draws_per_epoch,
            "batch_size": self.batch_size or 1,
            "ranks": sampler.world_size,
        }

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if isinstance(self.dataset, CaseDataset):
            self.dataset.fill_cache()
        batches = _Batches(super().__iter__())
        return _one_ahead(batches) if self.ahead else batches


class _Batches:
    """The batches of a DataLoader's iterator, with a Failure raised."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        batch = next(self._batches)
        if isinstance(batch, Failure):
            raise batch.error
        return batch


def _one_ahead(batches: Iterator[Any]) -> Iterator[Any]:
    """The same batches, and an error in the place of its batch; each is begun when the one before is given."""
    with ThreadPoolExecutor(1, thread_name_prefix="medseg-read") as pool:
        waiting = pool.submit(next, batches, _END)
        while (batch := waiting.result()) is not _END:
            waiting = pool.submit(next, batches, _END)
            yield batch


def collate(samples: Sequence[Any], *, ragged_keys: Sequence[str] = ()) -> Any:
    """MONAI's collation (samples may be lists of crops), with a Failure passed through.

    Args:
        samples: what the dataset gave.
        ragged_keys: what differs in length between samples, such as boxes: kept as a list with one entry for each.
    """
    for sample in samples:
        if isinstance(sample, Failure):
            return sample
    if not ragged_keys:
        return list_data_collate(samples)
    flat = [crop for sample in samples for crop in (sample if isinstance(sample, list) else [sample])]
    batch = list_data_collate([{k: v for k, v in crop.items() if k not in ragged_keys} for crop in flat])
    return batch | {key: Ragged(crop[key] for crop in flat) for key in ragged_keys if key in flat[0]}


def make_loader(
    dataset: Dataset,
    batch_size: int = 1,
    *,
    num_workers: int = 0,
    seed: int = 0,
    shuffle: bool = False,
    draws_per_epoch: int | None = None,
    pin_memory: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    ragged_keys: Sequence[str] = (),
    ahead: bool = False,
) -> CaseLoader:
    """A loader for training (`shuffle`) or validation.

    Args:
        dataset: a CaseDataset; other map-style datasets work for validation.
        batch_size: samples in a batch, on each rank.
        num_workers: loader processes; the samples are the same for any number.
        seed: seed of the order and of the samples (training).
        shuffle: True: endless seeded draws. False: each case once, in order, shared out among the ranks; where
            there are fewer cases than ranks, each equally often, and never none on a rank.
        draws_per_epoch: samples in an epoch over all ranks (training); by default one for each case.
        pin_memory: for copies to a GPU.
        rank: this process; by default ignite.distributed's.
        world_size: number of processes; by default ignite.distributed's.
        ragged_keys: what differs in length between samples, such as boxes; a list in the batch.
        ahead: read and preprocess the next batch in a thread while the network is busy with this one; for inference.

    Raises:
        DataError: there is no case.
    """
    num_cases = len(dataset)  # type: ignore[arg-type]
    sampler: Any
    if shuffle:
        sampler = DrawSampler(num_cases, seed=seed, draws_per_epoch=draws_per_epoch, rank=rank, world_size=world_size)
    else:
        sampler = _share(num_cases, rank=rank, world_size=world_size)
    loader = CaseLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=functools.partial(collate, ragged_keys=tuple(ragged_keys)) if ragged_keys else collate,
        pin_memory=pin_memory and torch.cuda.is_available(),
        worker_init_fn=_quiet_worker if num_workers else None,
        multiprocessing_context=_context() if num_workers else None,
        persistent_workers=num_workers > 0,
        # its own generator: making an iterator must not touch the global random state
        generator=torch.Generator().manual_seed(seed),
    )
    loader.ahead = ahead
    return loader


def _share(num_cases: int, *, rank: int | None, world_size: int | None) -> Sequence[int]:
    """The validation cases of a rank.

    MONAI's metrics gather from every rank that has seen a case, so a rank without one would leave the others waiting.
    Cases that all stand equally often on the ranks have the same mean as cases that stand once.
    """
    here = int(idist.get_rank()) if rank is None else rank
    ranks = int(idist.get_world_size()) if world_size is None else world_size
    if num_cases < 1:
        msg = "no validation case: the list of items is empty. Check dataset_dir, datalist and fold."
        raise DataError(msg)
    if num_cases >= ranks:
        return range(here, num_cases, ranks)
    length = num_cases // math.gcd(num_cases, ranks)
    return [(here * length + place) % num_cases for place in range(length)]


def _context() -> str | None:
    # fork shares the cache without a copy; newer Pythons would choose forkserver
    return "fork" if sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods() else None


def _quiet_worker(_: int) -> None:
    # Ctrl-C reaches the whole process group: the parent finishes its iteration and needs the workers until then
    signal.signal(signal.SIGINT, signal.SIG_IGN)
