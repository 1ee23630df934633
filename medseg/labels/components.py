"""Connected components that are specks beside the largest one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def small_components(mask: npt.NDArray[np.bool_], *, share: float) -> npt.NDArray[np.bool_]:
    """The voxels of components that hold fewer than `share` times the voxels of the largest one; 26 neighbours in 3D.

    >>> small_components(np.array([[[1, 1, 1, 0, 1]]], dtype=bool), share=0.5).astype(int).tolist()
    [[[0, 0, 0, 0, 1]]]
    """
    from scipy import ndimage  # here, so that an exported pipeline without this step needs no scipy

    components, count = ndimage.label(mask, structure=np.ones((3,) * mask.ndim))
    if count < 2:
        return np.zeros_like(mask)
    sizes = np.bincount(components.ravel())[1:]
    small = np.concatenate([[False], sizes < share * sizes.max()])
    return np.asarray(small[components])
