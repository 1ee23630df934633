"""A stored volume copied into C order, as a file's memory order seldom is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit

_TILE = 64  # voxels: a tile of either array stays in the first cache while it is turned


@jit
def _reverse_axes(source: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """`out[x, y, z] = source[z, y, x]`."""
    for y in range(out.shape[1]):
        for first_x in range(0, out.shape[0], _TILE):
            last_x = min(first_x + _TILE, out.shape[0])
            for first_z in range(0, out.shape[2], _TILE):
                last_z = min(first_z + _TILE, out.shape[2])
                tile = source[first_z:last_z, y, first_x:last_x]
                for x in range(last_x - first_x):
                    row = out[first_x + x, y, first_z:last_z]
                    for z in range(row.size):
                        row[z] = tile[np.uint32(z), np.uint32(x)]  # unsigned: no test for negative indices


def copy_to_c_order(volume: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """Copies a volume into a C-contiguous array of another type, several times as fast as numpy from Fortran order.

    Args:
        volume: Shape `(X, Y, Z)`, any real type and memory order.
        out: Its shape; values are cast as numpy casts them.

    Example:
        >>> out = np.zeros((2, 1, 1), np.float32)
        >>> copy_to_c_order(np.array([[[3]], [[4]]], order="F"), out)
        >>> out.ravel().tolist()
        [3.0, 4.0]
    """
    native = volume.dtype.isnative and volume.dtype.kind in "iuf" and volume.dtype.itemsize in (1, 2, 4, 8)
    half = volume.dtype == np.float16
    if native and not half and volume.ndim == 3 and volume.T.flags.c_contiguous and not volume.flags.c_contiguous:
        source = volume.T.view()
        source.flags.writeable = False  # one compiled kernel for memory maps and for arrays
        _reverse_axes(source, out)
    else:
        np.copyto(out, volume, casting="unsafe")
