"""The runtime's windows against MONAI's sliding window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medseg.runtime.windows import gaussian, mirrored, slide


def network(window: Any) -> Any:
    """Depends on where in its window a voxel is, so that another merging gives another result."""
    places = np.arange(window[0, 0].size, dtype=np.float32).reshape(window.shape[2:]) / window[0, 0].size
    return np.concatenate([window * places, window.sum(axis=1, keepdims=True) + places], axis=1).astype(np.float32)


@pytest.mark.parametrize("shape", [(20, 17, 9), (8, 8, 8), (5, 30, 6)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_windows_are_merged_as_monai_merges_them(shape: tuple[int, int, int], overlap: float) -> None:
    import torch
    from monai.inferers import sliding_window_inference

    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    ours = slide(image, network, window=(8, 8, 8), overlap=overlap)
    theirs = sliding_window_inference(
        torch.as_tensor(image)[None],
        (8, 8, 8),
        1,
        lambda window: torch.as_tensor(network(window.numpy())),
        overlap=overlap,
        mode="gaussian",
    )
    assert np.allclose(ours, theirs[0].numpy(), atol=1e-5)


def test_the_weights_are_monais() -> None:
    from monai.data.utils import compute_importance_map

    theirs = compute_importance_map((9, 16, 4), mode="gaussian", sigma_scale=0.125).numpy()
    assert np.allclose(gaussian((9, 16, 4)), theirs, atol=1e-7)


def test_mirrors_are_averaged() -> None:
    window = np.random.default_rng(0).normal(size=(1, 1, 4, 4, 4)).astype(np.float32)
    averaged = mirrored(network, [[], [0]])(window)
    by_hand = (network(window) + network(window[:, :, ::-1])[:, :, ::-1]) / 2
    assert np.allclose(averaged, by_hand)
