"""Cases turned into samples: the fixed part of the transforms once, the random part as the draw's seed says."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose, Cropd, Transform
from monai.transforms.traits import MultiSampleTrait, RandomizableTrait
from rich.progress import track

from medseg.cache import CaseStore
from medseg.engines.draws import Draw
from medseg.engines.randomness import seeded
from medseg.errors import ConfigError, DataError, MedsegError, NumericError, WeightsError

_BY_INDEX = 2  # the stream of seeds of samples that are asked for by index
_APPLYING = re.compile(r"applying transform .*?(\w+)(?: object at|\()")


@dataclass(frozen=True)
class Failure:
    """A sample that could not be made. A value, because an exception loses its one line between processes."""

    error: MedsegError


class CaseDataset(Dataset):
    """Samples of cases, the same in any process, in any order, after any resume.

    The transforms up to the first random one are a function of the case; their result is kept in memory for
    the first `cache_cases` cases, or on disk for all of them, where `cache_dir` names a folder. The rest runs with the
    seed of the draw. An integer index works as well
    (validation): its seed is a function of the index.

    Args:
        data: items, each a dictionary with `case_id`, `image` and so on.
        transform: a MONAI Compose, one transform, or a sequence of transforms.
        seed: seed of samples asked for by integer index.
        cache_cases: keep this many cases in memory (each of the size that the fixed transforms make it); without effect
            where there is a cache_dir.
        cache_dir: keep all cases in this folder, which all loader processes and ranks of a machine, and later runs,
            share; see `medseg.cache.CaseStore`. No sample changes by it.

    Raises:
        ConfigError: The cache_dir cannot be made, or the fixed transforms cannot be told apart from others.
    """

    def __init__(
        self,
        data: Sequence[Any],
        transform: Sequence[Callable[..., Any]] | Callable[..., Any] | None = None,
        *,
        seed: int = 0,
        cache_cases: int = 0,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__(data, transform)
        self.seed, self.cache_cases = seed, cache_cases if cache_dir is None else 0
        self._cache: dict[int, Any] = {}
        self._steps = self.transform.flatten() if type(self.transform) is Compose else self.transform
        self._fixed = _fixed_steps(self._steps)
        keeps = cache_dir is not None and self._fixed > 0
        self._store = CaseStore(cache_dir, self._steps.transforms[: self._fixed]) if keeps and cache_dir else None

    def __getitem__(self, draw: Draw | int) -> Any:  # type: ignore[override]
        if not isinstance(draw, Draw):
            index = range(len(self.data))[int(draw)]
            draw = Draw(index, int(np.random.SeedSequence((self.seed, _BY_INDEX, index)).generate_state(1)[0]))
        try:
            return self._sample(draw)
        except Exception as error:
            raise _explained(error, self.data[draw.case], draw.case) from error

    def __getitems__(self, draws: Sequence[Draw | int]) -> list[Any]:
        """The samples of a batch, or the first Failure alone."""
        try:
            return [self[draw] for draw in draws]
        except MedsegError as error:
            return [Failure(error)]

    def fill_cache(self) -> None:
        """Run the fixed transforms of the cases to be cached. Called in the parent, so that forked workers share it."""
        missing = [i for i in range(min(self.cache_cases, len(self.data))) if i not in self._cache]
        if not missing:
            return
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            for index, item in zip(missing, _watched(pool.map(self._fix, missing), len(missing)), strict=True):
                self._cache[index] = item

    def _fix(self, index: int) -> Any:
        try:
            with torch.no_grad():
                return self._steps(deepcopy(self.data[index]), end=self._fixed)
        except Exception as error:
            raise _explained(error, self.data[index], index) from error

    def _sample(self, draw: Draw) -> Any:
        with seeded(draw.seed), torch.no_grad():
            self._steps.set_random_state(seed=draw.seed)
            cached, step = self._kept(draw.case), self._fixed
            if cached is None:
                return self._steps(deepcopy(self.data[draw.case]))
            # what comes from disk is this sample's own already
            ours = self._store is not None
            if self._first_random_step_only_crops():
                sample = self._steps(cached if ours else _borrowed(cached), start=step, end=step + 1)
                return self._steps(_owned(sample), start=step + 1)
            return self._steps(cached if ours else deepcopy(cached), start=step)

    def _kept(self, index: int) -> Any:
        """The result of the fixed transforms where it is kept, in memory or on disk."""
        if self._store is None:
            return self._cache.get(index)
        return self._store.get(index, self.data[index], lambda: self._fix(index))

    def _first_random_step_only_crops(self) -> bool:
        steps = self._steps.transforms
        # a lazy Compose must see its steps in one call
        return self._steps.lazy is False and self._fixed < len(steps) and _only_crops(steps[self._fixed])


def case_name(item: Any, index: int) -> str:
    """The case's id; without one, the name of its first image file; without that, its number."""
    if isinstance(item, dict):
        if item.get("case_id"):
            return str(item["case_id"])
        image = item.get("image")
        first = image[0] if isinstance(image, (list, tuple)) and image else image
        if isinstance(first, (str, os.PathLike)):
            return Path(first).name
    return f"case {index}"


def _fixed_steps(steps: Any) -> int:
    if type(steps) is not Compose:
        return 0
    first = steps.get_index_of_first(lambda t: isinstance(t, RandomizableTrait) or not isinstance(t, Transform))
    return len(steps.transforms) if first is None else int(first)


def _only_crops(step: Any) -> bool:
    return isinstance(step, (MultiSampleTrait, Cropd))


def _watched(items: Any, total: int) -> Any:
    from rich.console import Console

    console = Console(stderr=True)
    return track(items, description="reading cases", total=total, console=console, disable=not console.is_terminal)


def _borrowed(value: Any) -> Any:
    """A copy with containers and metadata of its own, whose voxels are still the cache's."""
    if isinstance(value, dict):
        return {key: _borrowed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_borrowed(item) for item in value)
    if isinstance(value, MetaTensor):
        return MetaTensor(
            value.as_tensor(), meta=deepcopy(value.meta), applied_operations=deepcopy(value.applied_operations)
        )
    return value if isinstance(value, (torch.Tensor, np.ndarray)) else deepcopy(value)


def _owned(value: Any) -> Any:
    """The same, with voxels of its own: a crop is a view of the cache, and later steps may write in place."""
    if isinstance(value, dict):
        return {key: _owned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_owned(item) for item in value)
    if isinstance(value, torch.Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    return value.copy() if isinstance(value, np.ndarray) else value


def _explained(error: Exception, item: Any, index: int) -> MedsegError:
    """The error as one line that names the case, the transform and the cause; it knows them between processes too."""
    case, step, root = case_name(item, index), "", error
    while True:
        found = _APPLYING.match(str(root)) if isinstance(root, RuntimeError) else None
        step = found.group(1) if found else step
        if isinstance(root, MedsegError) or root.__cause__ is None:
            break
        root = root.__cause__  # type: ignore[assignment]
    explained = _in_one_line(root, case, step)
    explained.case, explained.component, explained.file = case, step or None, _file_of(item, str(explained))
    return explained


def _in_one_line(root: BaseException, case: str, step: str) -> MedsegError:
    text = " ".join(str(root).split())[:400]
    if isinstance(root, MedsegError):
        line = text if case in text else f"{case}: {text}"
        return (
            type(root)(line) if type(root) in (ConfigError, DataError, NumericError, WeightsError) else DataError(line)
        )
    where = f"{step} failed: " if step else ""
    return DataError(f"{case}: {where}{type(root).__name__}: {text}")


def _file_of(item: Any, line: str) -> str | None:
    """The one of the case's files that the line names, else its label map or its only image."""
    image, label = (item.get(key) if isinstance(item, dict) else None for key in ("image", "label"))
    images = [str(path) for path in (image if isinstance(image, (list, tuple)) else [image]) if path is not None]
    labels = [] if label is None else [str(label)]
    named = sorted((p for p in images + labels if Path(p).name in line), key=lambda p: line.index(Path(p).name))
    return next(iter(named or (labels if "label" in line else images)), None)
