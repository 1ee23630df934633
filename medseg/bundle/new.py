"""A new bundle, written from a template for the data that it is to learn from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medseg.bundle.check import check_bundle
from medseg.bundle.described import channel_titles, metadata_of, segmentation_words
from medseg.bundle.plan import Plan, make_plan
from medseg.bundle.plan_text import flow
from medseg.bundle.variant import write_variant
from medseg.datasets.box_fingerprint import BoxFingerprint, take_box_fingerprint
from medseg.datasets.fingerprint import Fingerprint, take_fingerprint
from medseg.datasets.inventory import Inventory
from medseg.datasets.layouts import take_inventory
from medseg.datasets.shelf import dataset_folder
from medseg.errors import ConfigError
from medseg.labels import Declared, get_convention

TEMPLATES = Path(__file__).with_name("templates")
# What a detection is made a variant of.
_DETECTION = "lung_nodule_ct_detection"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STEPS_PER_EPOCH = 50
_HOLE = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True, kw_only=True)
class NewBundle:
    """What was written.

    Attributes:
        root: The bundle's folder.
        found: The data's fingerprint.
        notes: What somebody should know, a line each.
    """

    root: Path
    found: Fingerprint | BoxFingerprint
    notes: tuple[str, ...] = ()


def new_bundle(name: str, *, task: str, dataset: str | Path, source: str | None = None) -> NewBundle:
    """Reads a dataset and writes a bundle that trains on it.

    Args:
        name: Of the bundle, which goes to `bundles/<name>`; or a path, whose last part is the name.
        task: `segmentation` or `detection`.
        dataset: A folder, or the name of a dataset that was fetched.
        source: A bundle to make a variant of, in place of the template.

    Raises:
        MedsegError: When the name or the data cannot be used, or the folder exists.
    """
    root = _root(name)
    folder = dataset_folder(dataset).resolve()
    taken = take_inventory(folder) if task == "segmentation" else None
    found = take_fingerprint(taken) if taken is not None else take_box_fingerprint(folder)
    if taken is None or source is not None or isinstance(found, BoxFingerprint):
        _build(root, lambda place: write_variant(place, source=source or _DETECTION, folder=folder, found=found))
    else:
        _build(root, lambda place: write_segmentation(place, taken=taken, found=found, folder=folder))
    return NewBundle(root=root, found=found, notes=tuple(_notes(root, task)))


def write_segmentation(root: Path, *, taken: Inventory, found: Fingerprint, folder: Path) -> None:
    """Fills the template of a segmentation bundle.

    Args:
        root: The bundle's folder.
        taken: The dataset's inventory.
        found: Its fingerprint.
        folder: The dataset's folder.
    """
    plan = make_plan(found)
    convention = declared_labels(taken, found)
    regions = list(get_convention(convention).regions)
    values = {
        **_config_values(root.name, plan, found, convention=convention, folder=folder),
        **segmentation_words(root.name, plan, found, folder=folder, convention=convention),
    }
    template = TEMPLATES / "segmentation"
    for source in sorted(path for path in template.rglob("*") if path.is_file()):
        target = root / source.relative_to(template)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(fill(source.read_text(encoding="utf-8"), values), encoding="utf-8")
    metadata = metadata_of(root.name, plan, found, regions=regions, titles=channel_titles(found, convention))
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def declared_labels(taken: Inventory, found: Fingerprint) -> Declared:
    """The convention that the dataset names, else a region for each of its labels, by a short name."""
    if taken.label_convention is not None:
        return taken.label_convention
    names: dict[str, int] = {}
    for value, name in found.labels.items():
        short = re.sub(r"\W+", "_", name.strip().lower()).strip("_") or f"label_{value}"
        names[short if short not in names else f"{short}_{value}"] = value
    return names


def fill(text: str, values: Mapping[str, str]) -> str:
    """The template with its `<<holes>>` filled.

    >>> fill("epochs: <<epochs>>", {"epochs": "3"})
    'epochs: 3'
    """
    return _HOLE.sub(lambda hole: values[hole[1]], text)


def _config_values(name: str, plan: Plan, found: Fingerprint, *, convention: Declared, folder: Path) -> dict[str, str]:
    crop = "- _target_: medseg.transforms.CropForegroundd\n  keys: '@spatial_keys'\n  source_key: image\n"
    flip = "- _target_: monai.transforms.RandFlipd\n  keys: [image, label]\n  prob: 0.5\n  spatial_axis: {}\n"
    return {
        "name": name,
        "dataset_dir": flow(str(folder)),
        "modalities": flow(list(found.modalities)),
        "label_convention": flow(dict(convention) if isinstance(convention, Mapping) else convention),
        "regions": flow(list(get_convention(convention).regions)),
        "spacing_mm": flow(plan.spacing_mm),
        "roi_size": flow(plan.roi_size),
        "batch_size": str(plan.batch_size),
        "samples_per_epoch": str(_STEPS_PER_EPOCH * plan.batch_size),
        # DynUNet has three levels at least.
        "network": "dyn_unet" if len(plan.strides) > 1 else "residual_unet",
        "channels": flow(plan.channels),
        "strides": _strides(plan),
        "kernels": flow(plan.kernels),
        "levels": flow([[1, 1, 1], *plan.strides]),
        "steps": flow(plan.strides),
        "crop": f"{crop}  allow_smaller: true\n" if plan.crop else "",
        "normalize": _normalize(plan),
        "cache_cases": str(cache_cases(plan, found)),
        "rotation_rad": flow(plan.rotation_rad),
        "flips": "".join(flip.format(axis) for axis in plan.mirror_axes),
    }


def _strides(plan: Plan) -> str:
    """A number for each level where the axes agree, else a stride for each axis.

    The latter is an expression: MONAI's UNet takes it, but its signature says numbers.
    """
    if all(len(set(stride)) == 1 for stride in plan.strides):
        return flow([stride[0] for stride in plan.strides])
    return f"${plan.strides}"


def _normalize(plan: Plan) -> str:
    """The component that normalises intensities. A CT's window goes to 0 and 1, so that padding is its lower end."""
    keys = "  keys: image"
    if plan.intensity == "ct":
        low, high = plan.window
        scale = f"  a_min: {low}                   # HU: the 0.5th percentile inside the labels\n"
        scale += f"  a_max: {high}                   # HU: the 99.5th\n  b_min: 0.0\n  b_max: 1.0\n  clip: true"
        return f"  _target_: medseg.transforms.ScaleIntensityRanged\n{keys}\n{scale}"
    if plan.intensity == "median":
        return f"  _target_: medseg.transforms.NormalizeByMediand\n{keys}"
    return f"  _target_: medseg.transforms.NormalizeIntensityd\n{keys}\n  channel_wise: true"


def cache_cases(plan: Plan, found: Fingerprint, *, most_bytes: float = 2e9) -> int:
    """How many cases fit into memory after the fixed transforms: image, masks and the indices for sampling."""
    voxels = 1.0
    for size, old, new in zip(found.shape_vox, found.spacing_mm, plan.spacing_mm, strict=True):
        voxels *= size * old / new
    return min(200, int(most_bytes / (voxels * (4 * len(found.modalities) + len(found.labels) + 8))))


def _root(name: str) -> Path:
    path = Path(name).expanduser()
    if not _NAME.fullmatch(path.name):
        msg = f"{path.name!r} is no name for a bundle. Wanted letters, digits and _, such as spleen_ct_segmentation."
        raise ConfigError(msg)
    root = path if len(path.parts) > 1 else Path("bundles") / path
    if root.exists():
        msg = f"{root}: exists already. Choose another name, or remove it."
        raise ConfigError(msg)
    return root


def _build(root: Path, write: Callable[[Path], None]) -> None:
    """Writes the bundle and checks it; leaves nothing behind when that fails."""
    try:
        root.mkdir(parents=True)
        write(root)
        errors = [str(finding) for finding in check_bundle(root) if finding.level == "error"]
    except BaseException:
        shutil.rmtree(root, ignore_errors=True)
        raise
    if errors:
        shutil.rmtree(root, ignore_errors=True)
        msg = f"{root.name}: the data and the template do not fit: {errors[0]}"
        raise ConfigError(msg)


def _notes(root: Path, task: str) -> list[str]:
    if task in root.name:
        return []
    return [f"MONAI Label reads the task from the folder's name: {root.name}_{task} would tell it."]
