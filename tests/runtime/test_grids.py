"""The runtime's grids against MONAI's transforms."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.runtime.grids import Orientation, foreground_box, resample, resampled_sizes

AFFINES = {
    "ras": np.diag([1.0, 2.0, 3.0, 1.0]),
    "lps": np.diag([-1.2, -0.8, 2.5, 1.0]),
    "turned": np.array([[0, 0, 3.0, 5], [-1.5, 0, 0, 2], [0, 0.7, 0, 1], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_there_and_back_as_monai_goes(name: str) -> None:
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Compose, Invertd, Orientationd, Spacingd

    affine, new_mm = AFFINES[name], [1.1, 1.6, 2.0]
    image = np.random.default_rng(0).normal(size=(2, 12, 9, 7)).astype(np.float32)
    steps = Compose(
        [
            Orientationd(keys="image", axcodes="RAS", labels=None),
            Spacingd(keys="image", pixdim=new_mm, mode="bilinear", dtype=torch.float32),
        ]
    )
    data = steps({"image": MetaTensor(torch.as_tensor(image), affine=torch.as_tensor(affine))})
    turn = Orientation.of(affine)
    old_mm = turn.spacing_mm(affine)
    turned = turn.apply(image)
    sizes = resampled_sizes(turned.shape[1:], old_mm, new_mm)
    ours = resample(turned, sizes, [new / old for new, old in zip(new_mm, old_mm, strict=True)])
    assert ours.shape == tuple(data["image"].shape)
    assert np.allclose(ours, data["image"].numpy(), atol=1e-4)

    data["pred"] = data["image"]
    inverted = Invertd(keys="pred", transform=steps, orig_keys="image", nearest_interp=False)(data)["pred"].numpy()
    back = resample(ours, turned.shape[1:], [old / new for new, old in zip(new_mm, old_mm, strict=True)])
    assert np.allclose(turn.undo(back), inverted, atol=1e-4)


def test_the_foreground_box_is_monais() -> None:
    from monai.transforms import CropForeground

    image = np.zeros((2, 8, 9, 10), dtype=np.float32)
    image[0, 2:5, 3:4, 1:7] = 1
    image[1, 4:6, 3:8, 2:3] = 5
    assert np.array_equal(image[(slice(None), *foreground_box(image))], CropForeground(allow_smaller=True)(image))
    assert image[(slice(None), *foreground_box(np.zeros_like(image)))].shape == image.shape
