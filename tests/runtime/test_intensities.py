"""The runtime's normalisation against the transforms that bundles train with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medseg.runtime.intensities import normalise


def image() -> Any:
    made = np.random.default_rng(0).normal(100, 30, size=(2, 6, 7, 8)).astype(np.float32)
    made[:, :2] = 0
    return made


@pytest.mark.parametrize(
    ("step", "transform", "arguments"),
    [
        ({"how": "median"}, "medseg.transforms.NormalizeByMediand", {}),
        (
            {"how": "mean", "nonzero": True, "channel_wise": True},
            "monai.transforms.NormalizeIntensityd",
            {"nonzero": True, "channel_wise": True},
        ),
        (
            {"how": "mean", "nonzero": False, "channel_wise": False},
            "monai.transforms.NormalizeIntensityd",
            {},
        ),
        (
            {"how": "range", "a_min": 50.0, "a_max": 150.0, "b_min": 0.0, "b_max": 1.0, "clip": True},
            "monai.transforms.ScaleIntensityRanged",
            {"a_min": 50, "a_max": 150, "b_min": 0.0, "b_max": 1.0, "clip": True},
        ),
    ],
    ids=lambda value: value["how"] if isinstance(value, dict) and "how" in value else "",
)
def test_each_normaliser_equals_its_transform(step: dict[str, Any], transform: str, arguments: dict[str, Any]) -> None:
    import torch
    from monai.utils.module import instantiate

    theirs = instantiate(transform, "default", keys="image", **arguments)({"image": torch.as_tensor(image())})["image"]
    assert np.allclose(normalise(image(), step), theirs.numpy(), atol=1e-5)


def test_a_constant_channel_becomes_zero() -> None:
    assert not normalise(np.full((1, 2, 2, 2), 7.0, np.float32), {"how": "median"}).any()
