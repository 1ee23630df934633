"""From .nii.gz files to a training sample of the BraTS bundle: MONAI's own classes and medseg's in turn, one process.

Run: python benchmarks/training_chain.py [--case FOLDER] [--repeats 3] [--threads 1]

Four modalities and a label map of 240x240x155 voxels at 1 mm: a phantom or, with --case, a folder with files ending in
_t1, _t1c, _t2, _flair and _seg, with labels of BraTS 2017. Rows: read, orient, space, normalise, and a random crop of
224x224x144 or of 96^3, MONAI's Spacingd at its default float64, as in MONAI's tutorial on BraTS, and at float32; and
what the bundle's train.yaml does before its intensity augmentation, crop and affine augmentation included, normalised
by the mean, for which MONAI has a class. The run fails when samples of equal seeds differ by more than 1e-3 standard
deviations, in more than one label voxel of a thousand, or in shape.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.transforms as theirs
import torch
from side_by_side import HEADER, cost_in_turn, print_row

import medseg.transforms as ours
from medseg.datasets.phantoms import write_brats_phantoms

KEYS, MODALITIES = ["image", "label"], ("t1", "t1c", "t2", "flair")
ROI = (128, 128, 128)
Sample = dict[str, Any]


def read(library: Any) -> list[Any]:
    """Files to images and label maps."""
    if library is ours:
        return [ours.LoadCased()]
    return [theirs.LoadImaged(KEYS, image_only=True), theirs.EnsureChannelFirstd(KEYS)]


def to_regions(library: Any) -> Any:
    """Label map to three masks."""
    return (
        ours.LabelsToRegionsd("label", "brats2017")
        if library is ours
        else theirs.ConvertToMultiChannelBasedOnBratsClassesd("label")
    )


def on_grid(library: Any, *, default: bool = False) -> list[Any]:
    """To the network's grid."""
    options = {"mode": ("bilinear", "nearest")} | ({} if default else {"dtype": torch.float32})
    return [library.Orientationd(KEYS, "RAS", labels=None), library.Spacingd(KEYS, (1.0, 1.0, 1.0), **options)]


def crop_of(size: tuple[int, int, int], *, default: bool) -> Callable[[Any], theirs.Compose]:
    """The chain of the first rows."""

    def chain(library: Any) -> theirs.Compose:
        grid = on_grid(library, default=default and library is theirs)
        normal = library.NormalizeIntensityd("image", nonzero=True, channel_wise=True)
        crop = theirs.RandSpatialCropd(KEYS, size, random_size=False)
        return theirs.Compose([*read(library), *grid, to_regions(library), normal, crop])

    return chain


def bundle_chain(library: Any) -> theirs.Compose:
    """The chain of the bundle."""
    larger = tuple(round(0.6 * size) * 2 for size in ROI)
    kept = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices", "allow_smaller": True}
    return theirs.Compose(
        [
            *read(library),
            *on_grid(library),
            library.CropForegroundd(KEYS, "image", allow_smaller=True),
            to_regions(library),
            library.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
            theirs.FgBgToIndicesd("label"),
            theirs.RandCropByPosNegLabeld(KEYS, "label", larger, pos=0.67, neg=0.33, num_samples=1, **kept),
            library.RandAffined(
                KEYS,
                ROI,
                prob=1.0,
                rotate_range=(0.52,) * 3,
                scale_range=(0.2,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            *(theirs.RandFlipd(KEYS, 0.5, axis) for axis in range(3)),
        ]
    )


CHAINS = {
    "read, RAS, 1 mm, normalise, crop 224x224x144": crop_of((224, 224, 144), default=True),
    "the same, both at float32": crop_of((224, 224, 144), default=False),
    "crop 96x96x96": crop_of((96, 96, 96), default=True),
    "crop 96x96x96, both at float32": crop_of((96, 96, 96), default=False),
    "the bundle's chain, crop and affine to 128^3": bundle_chain,
}


def sampler(chain: theirs.Compose, item: Sample) -> Callable[[], Sample]:
    """One sample, the same each time."""

    def sample() -> Sample:
        chain.set_random_state(seed=0)
        found = chain(dict(item))
        return found[0] if isinstance(found, list) else found

    return sample


def apart(got: Sample, want: Sample) -> tuple[float, float]:
    """Largest difference of intensities, and the share of label voxels that differ."""
    if any(got[key].shape != want[key].shape for key in KEYS):
        return float("inf"), 1.0
    image = float((got["image"].as_tensor() - want["image"].as_tensor()).abs().max())
    return image, float((got["label"].as_tensor() != want["label"].as_tensor()).float().mean())


def item_of(folder: Path) -> Sample:
    """The files of a case."""
    files = {name: next(iter(sorted(folder.glob(f"*_{name}.nii.gz"))), None) for name in (*MODALITIES, "seg")}
    missing = [name for name, path in files.items() if path is None]
    if missing:
        sys.exit(f"{folder}: no file ends in {', '.join(f'_{name}.nii.gz' for name in missing)}")
    return {"image": [str(files[name]) for name in MODALITIES], "label": str(files["seg"])}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as place:
        if given.case is None:
            write_brats_phantoms(place, cases=1, shape=(240, 240, 155), spacing_mm=1.0)
        item = item_of(given.case or next(path for path in Path(place).iterdir() if path.is_dir()))
        print(HEADER, flush=True)
        for name, make in CHAINS.items():
            calls = [sampler(make(library), item) for library in (theirs, ours)]
            image, labels = apart(calls[1](), calls[0]())
            if not (image <= 1e-3 and labels <= 1e-3):
                sys.exit(f"{name}: intensities differ by {image:.1e}, labels in {labels:.1e} of the voxels")
            costs = cost_in_turn(calls[0], calls[1], repeats=given.repeats)
            print_row(name, *costs, agreement=f"differ by {image:.0e}; labels in {labels:.0e}")


if __name__ == "__main__":
    main()
