"""The open sums of a scan's tiles: in memory while there is room, the ones needed last elsewhere."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import torch

from medseg.errors import ConfigError
from medseg.inference.windows import Shape

Key = tuple[int, int, int]
_FLOAT = 4
_MB = 2**20
_OWN_PAGES = 2**20  # bytes


class TileStore:
    """Float32 sums, by tile; bounded in memory and exact whatever the bound.

    What does not fit is written to a temporary file (from a GPU: moved to main memory), the sums that are needed last
    first. With `device=None` nothing is allocated and only counted, which is how the peak is known before the run.

    Args:
        channels: Channels of a tile.
        device: Where the sums are; None counts only.
        limit_mb: The most that may be held there at once. Up to it, buffers are kept to be used again.
        folder: For the temporary file; the system's own when not given.
    """

    def __init__(
        self,
        channels: int,
        device: torch.device | None,
        *,
        limit_mb: float = math.inf,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.channels, self.device, self.limit_bytes, self.folder = channels, device, limit_mb * _MB, folder
        self.held_bytes = self.peak_bytes = self.spilled_bytes = 0
        self._sizes: dict[Key, Shape] = {}
        self._buffers: dict[Key, torch.Tensor | None] = {}
        self._free: list[tuple[int, torch.Tensor | None]] = []
        self._elsewhere: dict[Key, torch.Tensor | None] = {}
        self._file: _Slots | None = None

    def open(self, key: Key, size: Shape, *, next_use: Callable[[Key], int]) -> tuple[torch.Tensor | None, bool]:
        """The sums of a tile `(channels, *size)`, and whether they are new (with whatever values).

        Args:
            key: The tile.
            size: Its voxels.
            next_use: When a tile will be opened again, as a number that rises with time.
        """
        if key in self._buffers:
            return self._buffers[key], False
        fresh = key not in self._elsewhere
        self._sizes[key] = size
        buffer = self._buffers[key] = self._allocate(size, next_use)
        if not fresh:
            self._load(key, buffer)
        return buffer, fresh

    def close(self, key: Key) -> None:
        """Let go of a tile that is complete."""
        buffer = self._buffers.pop(key)
        self._free.append((self._bytes(self._sizes.pop(key)), buffer))

    def hold(self, count: int) -> None:
        """Count bytes that are held beside the open sums; a negative number gives them back."""
        self.held_bytes += count
        self._forget_beyond(self.limit_bytes)
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def end(self) -> None:
        """Let go of everything."""
        self._buffers.clear()
        self._free.clear()
        self._elsewhere.clear()
        if self._file:
            self._file.end()
            self._file = None

    def _bytes(self, size: Shape) -> int:
        return self.channels * math.prod(size) * _FLOAT

    def _allocate(self, size: Shape, next_use: Callable[[Key], int]) -> torch.Tensor | None:
        wanted = self._bytes(size)
        place = next((place for place, (count, _) in enumerate(self._free) if count == wanted), None)
        if place is not None:
            buffer = self._free.pop(place)[1]
            return None if buffer is None else buffer.view(self.channels, *size)
        self._forget_beyond(self.limit_bytes - wanted if self.device else 0)
        while self.held_bytes + wanted > self.limit_bytes:
            self._spill(next_use)
        self.hold(wanted)
        if self.device is None:
            return None
        return _empty(wanted, self.device).view(self.channels, *size)

    def _forget_beyond(self, limit: float) -> None:
        """Give back buffers that are free, the oldest first, until no more than this is held."""
        while self._free and self.held_bytes > limit:
            self.held_bytes -= self._free.pop(0)[0]

    def _spill(self, next_use: Callable[[Key], int]) -> None:
        if not self._buffers:
            msg = (
                f"sliding window: {self.limit_bytes / _MB:.0f} MB for the sums do not hold one tile. Raise "
                "max_memory_mb, or take smaller windows."
            )
            raise ConfigError(msg)
        key = max(self._buffers, key=next_use)
        buffer = self._buffers.pop(key)
        count = self._bytes(self._sizes[key])
        self.held_bytes -= count
        self.spilled_bytes += count
        self._elsewhere[key] = self._save(key, buffer)

    def _save(self, key: Key, buffer: torch.Tensor | None) -> torch.Tensor | None:
        if buffer is None:
            return None
        if buffer.device.type != "cpu":
            return buffer.cpu()
        self._file = self._file or _Slots(self.folder)
        self._file.write(key, buffer)
        return None

    def _load(self, key: Key, buffer: torch.Tensor | None) -> None:
        kept = self._elsewhere.pop(key)
        if buffer is None:
            return
        if kept is not None:
            buffer.copy_(kept)
        elif self._file:
            self._file.read(key, buffer)


def _empty(count: int, device: torch.device) -> torch.Tensor:
    """So many bytes of float32 of any value; in main memory pages of their own, which go back when it is dropped.

    The allocator would keep some of them, cut up by what is allocated between, and no plan would know how many.
    """
    if device.type != "cpu" or count < _OWN_PAGES:
        return torch.empty(count // _FLOAT, dtype=torch.float32, device=device)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    pages = mmap.mmap(-1, count, **private)  # shared ones are never huge
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.float32)


class _Slots:
    """Tensors in an unnamed temporary file; the room of one that was read is used again."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._places: dict[Key, tuple[int, int]] = {}
        self._free: list[tuple[int, int]] = []
        self._end = 0

    def write(self, key: Key, buffer: torch.Tensor) -> None:
        data = memoryview(buffer.numpy().data).cast("B")
        count = len(data)
        found = next((slot for slot in self._free if slot[1] == count), None)
        if found:
            self._free.remove(found)
        else:
            found = (self._end, count)
            self._end += count
        self._places[key] = found
        self._file.seek(found[0])
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            msg = (
                f"sliding window: {self._end / _MB:.0f} MB of sums could not be written to a temporary file: "
                f"{error.strerror}. Raise max_memory_mb, or set TMPDIR to a folder with room."
            )
            raise ConfigError(msg) from error

    def read(self, key: Key, buffer: torch.Tensor) -> None:
        slot = self._places.pop(key)
        self._free.append(slot)
        self._file.seek(slot[0])
        data = memoryview(buffer.numpy().data).cast("B")
        while data:
            count = self._file.readinto(data)  # type: ignore[attr-defined]
            if not count:
                msg = "sliding window: the temporary file of open sums ends early. Run again."
                raise ConfigError(msg)
            data = data[count:]

    def end(self) -> None:
        self._file.close()
