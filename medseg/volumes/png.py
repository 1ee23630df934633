"""Grey pictures as PNG files, without an imaging library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt


def to_grey(picture: npt.NDArray[Any], window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Intensities as grey values, the window's ends at black and white; NaN is black."""
    low, high = window
    scaled = (np.nan_to_num(picture.astype(np.float64), nan=low) - low) / max(high - low, 1e-12)
    return np.round(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)


def grey_png(grey: npt.NDArray[np.uint8]) -> bytes:
    """An 8-bit grey picture, rows from top to bottom, as a PNG (PNG specification, https://www.w3.org/TR/png-3/)."""
    height, width = grey.shape
    raw = np.zeros((height, width + 1), dtype=np.uint8)  # a leading 0 in each row: no filter
    raw[:, 1:] = grey
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw.tobytes(), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
