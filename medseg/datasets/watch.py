"""Who is told of what a fetch does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medseg.datasets.specs import FileSpec


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Told of what happens, from several threads: each of these does nothing unless given."""

    begins: Callable[[FileSpec], None] = lambda _: None
    bytes_came: Callable[[FileSpec, int], None] = lambda _, __: None
    unpacks: Callable[[FileSpec], None] = lambda _: None
    ends: Callable[[FileSpec], None] = lambda _: None
    says: Callable[[str], None] = lambda _: None
