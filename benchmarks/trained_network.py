"""A network and a case for it: trained on the case until its masks mean something, or read from a file of weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceLoss
from monai.networks.nets import DynUNet, SegResNet

from medseg.inference import to_channels_last

UNITS = {"segresnet": (8, 8, 8), "dynunet": (32, 32, 32)}


def make_network(model: str, channels: int) -> torch.nn.Module:
    """With random weights, the same every time."""
    torch.manual_seed(0)
    if model == "segresnet":
        shape = {"init_filters": 16, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1]}
        return SegResNet(spatial_dims=3, in_channels=channels, out_channels=3, **shape)
    steps = [1, 2, 2, 2, 2, 2]
    return DynUNet(
        spatial_dims=3, in_channels=channels, out_channels=3, kernel_size=[3] * 6, strides=steps,
        upsample_kernel_size=steps[1:], filters=[32, 64, 128, 256, 320, 320],
    )  # fmt: skip


def read_case(folder: Path | None, shape: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image `(1, C, X, Y, Z)`, normalised over its nonzero voxels, and masks `(1, 3, X, Y, Z)` of TC, WT and ET."""
    from medseg.labels import get_convention, labels_to_regions

    if folder is not None:
        from medseg.volumes import read_volume

        parts = [read_volume(next(folder.glob(f"*_{name}.*"))).array for name in ("t1c", "flair", "seg")]
        images, labels, convention = parts[:2], parts[2], "brats2015"
    else:
        from medseg.datasets.phantoms.brats import make_brats_phantom

        phantom = make_brats_phantom(0, seed=1, shape=shape, spacing_mm=168 / max(shape))
        images, labels, convention = list(phantom.images.values()), phantom.labels, "brats2017"
    image = np.stack([np.asarray(one, np.float32) for one in images])
    for one in image:
        inside = one != 0
        one[inside] = (one[inside] - one[inside].mean()) / one[inside].std()
    masks = labels_to_regions(np.asarray(labels, np.uint8), get_convention(convention))
    return torch.from_numpy(image)[None], torch.from_numpy(np.ascontiguousarray(masks))[None].float()


def train_or_read(
    network: torch.nn.Module, image: torch.Tensor, masks: torch.Tensor, *, steps: int, weights: Path | None
) -> None:
    """The weights of the file where it is there; else so many steps, and the file where one is named."""
    if weights is not None and weights.is_file():
        from medseg.engines.weights import read_weights

        network.load_state_dict(read_weights(weights))
        print(f"weights of {weights.name}")
    elif steps:
        start = time.perf_counter()
        loss = fit(network, image, masks, steps=steps)
        print(f"{steps} steps in {time.perf_counter() - start:.0f} s, last losses {loss:.3f}")
        if weights is not None:
            weights.parent.mkdir(parents=True, exist_ok=True)
            torch.save(network.state_dict(), weights)
    network.eval()


def fit(network: torch.nn.Module, image: torch.Tensor, masks: torch.Tensor, *, steps: int, side: int = 80) -> float:
    """Steps in bfloat16 on crops of the case, two of three around the tumour; returns the mean of the last losses."""
    fast = to_channels_last(network.train())
    optimiser = torch.optim.AdamW(fast.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    dice, entropy = DiceLoss(sigmoid=True, batch=True), torch.nn.BCEWithLogitsLoss()
    losses = []
    for crop in crops(image.shape[2:], masks[0, 1].nonzero(), steps=steps, side=side):
        window = image[crop].contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            logits = fast(window).float()
        value = dice(logits, masks[crop]) + entropy(logits, masks[crop])
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(fast.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(value.detach()))
    return float(np.mean(losses[-10:]))


def crops(sizes: torch.Size, inside: torch.Tensor, *, steps: int, side: int) -> Iterator[tuple[slice, ...]]:
    """Places in an image `(1, C, X, Y, Z)`; every third anywhere, the others around one of the voxels inside."""
    draws = np.random.default_rng(0)
    for step in range(steps):
        centre = inside[int(draws.integers(len(inside)))].tolist() if step % 3 else [draws.integers(n) for n in sizes]
        starts = [int(min(max(c - side // 2, 0), max(n - side, 0))) for c, n in zip(centre, sizes, strict=True)]
        yield slice(None), slice(None), *(slice(s, s + side) for s in starts)
