"""Which case, and which randomness, each training sample gets: a pure function of the seed and the draw's number."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import ignite.distributed as idist
import numpy as np
from torch.utils.data import Sampler

from medseg.errors import ConfigError, DataError

_ORDER, _SAMPLE = 0, 1  # separate the two streams that come from one seed


@dataclass(frozen=True)
class Draw:
    """One sample to make: the index of the case, and the seed of everything random about it (32 bits)."""

    case: int
    seed: int


@lru_cache(maxsize=4)
def _shuffled(seed: int, pass_number: int, num_cases: int) -> tuple[int, ...]:
    # SeedSequence and a stable sort are the same in every NumPy; Generator.permutation need not be
    keys = np.random.SeedSequence((seed, _ORDER, pass_number)).generate_state(num_cases, np.uint64)
    return tuple(int(i) for i in np.argsort(keys, kind="stable"))


def draw_at(number: int, num_cases: int, *, seed: int) -> Draw:
    """The draw of that number: seeded permutations of the cases, one after the other.

    >>> sorted(draw_at(n, 3, seed=0).case for n in range(3))
    [0, 1, 2]
    """
    pass_number, place = divmod(number, num_cases)
    sample_seed = np.random.SeedSequence((seed, _SAMPLE, number)).generate_state(1)[0]
    return Draw(case=_shuffled(seed, pass_number, num_cases)[place], seed=int(sample_seed))


class DrawSampler(Sampler[Draw]):
    """An endless stream of draws that can start anywhere; its length is that of one epoch on one rank.

    Rank r of w takes the draws r, r + w, r + 2w, …, so that w ranks with batches of b see together what
    one process with batches of w * b sees.

    Args:
        num_cases: how many cases there are.
        seed: seed of the order of the cases and of every sample.
        draws_per_epoch: samples in an epoch, over all ranks; by default one for each case.
        rank: this process; by default as ignite.distributed knows it when the stream starts.
        world_size: number of processes; likewise.
    """

    def __init__(
        self,
        num_cases: int,
        *,
        seed: int = 0,
        draws_per_epoch: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if num_cases < 1:
            msg = "no training case: the list of items is empty. Check dataset_dir, datalist and fold."
            raise DataError(msg)
        if seed < 0 or (draws_per_epoch is not None and draws_per_epoch < 1):
            msg = f"seed {seed} must be >= 0 and draws_per_epoch {draws_per_epoch} >= 1."
            raise ConfigError(msg)
        self.num_cases, self.seed = num_cases, seed
        self.draws_per_epoch = draws_per_epoch or num_cases
        self.start = 0
        self._rank, self._world_size = rank, world_size

    @property
    def rank(self) -> int:
        """This process."""
        return int(idist.get_rank()) if self._rank is None else self._rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return int(idist.get_world_size()) if self._world_size is None else self._world_size

    def start_at(self, iteration: int, batch_size: int) -> None:
        """Let the next iterator begin with the first sample of the iteration of that number (from 0)."""
        self.start = iteration * batch_size

    def __len__(self) -> int:
        return -(-self.draws_per_epoch // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        rank, world_size, local = self.rank, self.world_size, self.start
        while True:
            yield draw_at(local * world_size + rank, self.num_cases, seed=self.seed)
            local += 1
