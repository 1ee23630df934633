"""Keeping boxes that lie in the lungs."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor

from medseg.errors import ConfigError
from medseg.kernels.lungs import AIR_HU, Triple, lung_mask

Mask = npt.NDArray[np.bool_]
logger = logging.getLogger(__name__)


class LungField:
    """Finds the lungs in a detector's input, which is a CT with an intensity window.

    Args:
        window_hu: Intensities that became 0 and 1.
        spacing_mm: Voxel size; taken from the input where it is a MetaTensor and this is not given.
        margin_mm: Width of the rim around the lungs that still counts.

    Raises:
        ConfigError: A window that does not rise.
    """

    def __init__(
        self, window_hu: tuple[float, float], *, spacing_mm: Triple | None = None, margin_mm: float = 5.0
    ) -> None:
        if not window_hu[0] < window_hu[1]:
            msg = f"LungField: window_hu {tuple(window_hu)} does not rise; give the HU that became 0 and 1."
            raise ConfigError(msg)
        self.window_hu, self.spacing_mm, self.margin_mm = window_hu, spacing_mm, margin_mm

    def __call__(self, image: torch.Tensor) -> Mask:
        """The lungs of one scan `(C, X, Y, Z)`, by its first channel; all True, and a warning, where none are found.

        Raises:
            ConfigError: The voxel size is neither given nor in the input.
        """
        spacing = self.spacing_mm or _spacing_mm(image)
        low, high = self.window_hu
        volume = image.as_subclass(torch.Tensor)[0].cpu().numpy()
        mask = lung_mask(volume, spacing, margin_mm=self.margin_mm, air_below=(AIR_HU - low) / (high - low))
        if not mask.any():
            logger.warning("no lung found in a scan of %s voxels: boxes are kept wherever they lie", mask.shape)
            return ~mask
        return mask


def _spacing_mm(image: torch.Tensor) -> Triple:
    if not isinstance(image, MetaTensor):
        msg = "LungField: the input does not say its voxel size. Give spacing_mm."
        raise ConfigError(msg)
    x, y, z = (float(size) for size in image.pixdim)
    return x, y, z


def centres_inside(boxes: npt.NDArray[np.float32], mask: Mask) -> Mask:
    """Which boxes (N, 6), in voxels, have their centre in the mask (X, Y, Z).

    >>> mask = np.zeros((4, 4, 4), dtype=bool)
    >>> mask[1, 1, 1] = True
    >>> centres_inside(np.array([[0, 0, 0, 3, 3, 3], [0, 0, 0, 4, 4, 4]], dtype=np.float32), mask).tolist()
    [True, False]
    """
    voxels = np.floor((boxes[:, :3] + boxes[:, 3:]) / 2).astype(np.int64)
    x, y, z = np.clip(voxels, 0, np.array(mask.shape) - 1).T
    return np.asarray(mask[x, y, z])
