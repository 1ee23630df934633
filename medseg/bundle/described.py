"""What a new bundle says of itself: its metadata and the words of its model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import metadata as installed
from pathlib import Path
from typing import Any

from medseg import __version__
from medseg.bundle.plan import Plan
from medseg.bundle.plan_text import budget_text, grid_text
from medseg.datasets.fingerprint import Fingerprint
from medseg.datasets.published import spec_of
from medseg.labels import Declared, get_convention

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_TITLES = {
    "mr": "MRI",
    "ct": "CT",
    "pet": "PET",
    "t1": "T1",
    "t1c": "contrast-enhanced T1",
    "t2": "T2",
    "flair": "FLAIR",
}
_AXES = ("left-right", "back-front", "down-up")
_MODALITIES = {"ct": "CT", "pet": "PT"}  # DICOM's; every other known one is a sequence of MR
_NORMALIZE = {
    "ct": "clipped to {low:g} ... {high:g} HU, which becomes 0 ... 1",
    "median": "median and standard deviation of the non-zero voxels, per channel",
    "mean": "mean and standard deviation, per channel",
}


def channel_titles(found: Fingerprint, convention: Declared) -> dict[str, str]:
    """What each region is called in full."""
    declared = get_convention(convention)
    titles = {
        name: found.labels.get(values[0], name) if len(values) == 1 else name
        for name, values in declared.regions.items()
    }
    return {name: title[:1].upper() + title[1:] for name, title in titles.items()}


def metadata_of(
    name: str, plan: Plan, found: Fingerprint, *, regions: Sequence[str], titles: Mapping[str, str]
) -> dict[str, Any]:
    """The content of metadata.json."""
    labels = ", ".join(titles[region] for region in regions)
    modality = ", ".join(_title(m) for m in found.modalities)
    return {
        "schema": _SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"made by medseg bundle new from {found.name}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {
            "medseg": __version__,
            **{package: _version(package) for package in ("nibabel", "pytorch-ignite", "tensorboard")},
        },
        "supported_apps": {},
        "name": name.replace("_", " "),
        "task": f"Segmentation of {labels} in {modality}",
        "description": f"Residual 3D U-Net (default) or SegResNet that segments {labels} in {modality}",
        "authors": "unknown",
        "copyright": "unknown",
        "data_source": found.name,
        "data_type": "nibabel",
        "image_classes": modality,
        "label_classes": f"a channel for each region: {labels}",
        "pred_classes": "as label_classes",
        "eval_metrics": {},
        "intended_use": "Research and education. Not for clinical use.",
        "references": [
            "Isensee et al. nnU-Net. Nature Methods 2021. https://doi.org/10.1038/s41592-020-01008-z",
            "Kerfoot et al. Left-Ventricle Quantification Using Residual U-Net. STACOM 2018. "
            "https://doi.org/10.1007/978-3-030-12029-0_40",
        ],
        "network_data_format": _format(plan, found, regions=regions, titles=titles),
    }


def segmentation_words(
    name: str, plan: Plan, found: Fingerprint, *, folder: Path, convention: Declared
) -> dict[str, str]:
    """What fills the model card."""
    declared = get_convention(convention)
    titles = channel_titles(found, convention)
    low, high = plan.window
    return {
        "title": name.replace("_", " ").capitalize(),
        "label_list": _listed([title.lower() for title in titles.values()]),
        "modality_list": _listed([_title(modality) for modality in found.modalities]),
        "spacing_text": _times(plan.spacing_mm),
        "roi_text": _times(plan.roi_size),
        "normalize_text": _NORMALIZE[plan.intensity].format(low=low, high=high),
        "value_list": ", ".join(f"{value} {meaning}" for value, meaning in declared.values.items()),
        "dataset": found.name,
        "n_cases": str(found.n_cases),
        "n_read": str(found.n_read),
        "shape_text": _times(found.shape_vox),
        "median_spacing_text": _times(found.spacing_mm),
        "extent_text": _times(found.extent_mm),
        "grid_text": grid_text(plan),
        "budget_text": budget_text(plan),
        "stride_text": _times(_products(plan.strides)),
        "flip_text": _flip_text(plan),
        "licence": _licence(folder),
    }


def _format(plan: Plan, found: Fingerprint, *, regions: Sequence[str], titles: Mapping[str, str]) -> dict[str, Any]:
    shape = [f"{unit}*n" if unit > 1 else "n" for unit in _products(plan.strides)]
    common = {"spatial_shape": shape, "dtype": "float32", "value_range": [], "is_patch_data": True}
    image = {"type": "image", "format": "hounsfield" if plan.intensity == "ct" else "magnitude"}
    modalities = sorted({_MODALITIES.get(modality, "MR") for modality in found.modalities})
    image_channels = {str(i): _title(modality) for i, modality in enumerate(found.modalities)}
    pred_channels = {str(i): titles[region] for i, region in enumerate(regions)}
    pred = {"type": "image", "format": "segmentation", "num_channels": len(regions), **common}
    return {
        "inputs": {
            "image": {
                **image,
                "modality": ", ".join(modalities),
                "num_channels": len(image_channels),
                **common,
                "channel_def": image_channels,
            }
        },
        "outputs": {"pred": {**pred, "channel_def": pred_channels}},
    }


def _flip_text(plan: Plan) -> str:
    names = [name for axis, name in enumerate(_AXES) if axis not in plan.mirror_axes]
    return f"Labels tell the ends of {_listed(names)} apart, so scans are not mirrored that way." if names else ""


def _products(strides: Sequence[Sequence[int]]) -> list[int]:
    return [math.prod(stride[axis] for stride in strides) for axis in range(3)]


def _title(modality: str) -> str:
    return _TITLES.get(modality, modality)


def _times(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _version(package: str) -> str:
    try:
        return installed.version(package).partition("+")[0]
    except installed.PackageNotFoundError:
        return "0.0"


def _licence(folder: Path) -> str:
    """As the data or the table of public datasets declares it."""
    spec = spec_of(folder)
    if spec is not None:
        return spec.licence
    for name in ("dataset.json", "datalist.json"):
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        declared = content.get("licence") or content.get("license") if isinstance(content, dict) else None
        if declared:
            return str(declared)
    return "not declared by the data; ask its owners before you publish anything trained on it"
