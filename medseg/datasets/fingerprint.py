"""What a dataset is like, as numbers that a network and its preprocessing can be chosen by. Reads files, not torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.datasets.scan_facts import whole_values
from medseg.errors import DataError
from medseg.volumes import axis_codes, read_volume, spacing_from_affine
from medseg.volumes.volume import Volume

MOST_CASES = 24
_WORLD_AXES = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
_PERCENTILES = (0.5, 50.0, 99.5)
_MOST_VOXELS = 200_000  # of one case, for percentiles

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Intensities:
    """Values of one modality.

    Attributes:
        low: 0.5th percentile inside the labels.
        middle: Median inside the labels.
        high: 99.5th percentile inside the labels.
        lowest: Smallest value anywhere.
        zero_share: Share of voxels that are exactly 0, the median over cases.
    """

    low: float
    middle: float
    high: float
    lowest: float
    zero_share: float


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """A labelled dataset in numbers. Axes are those of the world: left-right, back-front, down-up.

    Attributes:
        name: What the dataset calls itself.
        modalities: In the order of channels.
        labels: Meaning by value, background left out.
        n_cases: Cases with a label map.
        n_read: How many of them were read.
        shape_vox: Median number of voxels.
        spacing_mm: Median voxel size.
        fine_spacing_mm: 10th percentile of the voxel size.
        field_mm: Median size of a scan: of its voxels times their size, which is not the product of the medians.
        extent_mm: Median size of the box around all labels.
        intensities: By modality.
    """

    name: str
    modalities: tuple[str, ...]
    labels: Mapping[int, str]
    n_cases: int
    n_read: int
    shape_vox: Triple
    spacing_mm: Triple
    fine_spacing_mm: Triple
    field_mm: Triple
    extent_mm: Triple
    intensities: Mapping[str, Intensities]


@dataclass(frozen=True, kw_only=True)
class _Case:
    shape: Triple
    spacing_mm: Triple
    extent_mm: Triple | None
    samples: Mapping[str, npt.NDArray[np.float32]]
    lowest: Mapping[str, float]
    zero_share: Mapping[str, float]
    values: frozenset[int]


def take_fingerprint(taken: Inventory, *, most_cases: int = MOST_CASES) -> Fingerprint:
    """Read some labelled cases of a dataset, evenly spread over the list.

    Args:
        taken: The dataset's inventory.
        most_cases: How many cases are read. Where nothing declares the labels, the other label maps are read too.

    Raises:
        DataError: When no case has a label map, or a file cannot be read.
    """
    labelled = [case for case in taken.cases if case.label is not None and len(case.images) == len(taken.modalities)]
    if not labelled:
        msg = (
            f"{taken.folder}: no case has a scan and one label map. Wanted imagesTr and labelsTr, or <case>_seg beside "
            f"each scan, or a dataset.yaml; `medseg data verify {taken.folder}` says what is there."
        )
        raise DataError(msg)
    step = max(1, -(-len(labelled) // most_cases))
    chosen = labelled[::step]
    cases = [_read_case(case, taken.modalities) for case in chosen]
    found = set().union(*(case.values for case in cases))
    if taken.labels is None:
        rest = (case for case in labelled if case not in chosen)
        found.update(*(_label_values(case) for case in rest))
    return Fingerprint(
        name=taken.name,
        modalities=taken.modalities,
        labels=_labels(taken, found),
        n_cases=len(labelled),
        n_read=len(cases),
        shape_vox=_across([case.shape for case in cases]),
        spacing_mm=_across([case.spacing_mm for case in cases]),
        fine_spacing_mm=_across([case.spacing_mm for case in cases], percentile=10),
        field_mm=_across([_times(case.shape, case.spacing_mm) for case in cases]),
        extent_mm=_across([case.extent_mm for case in cases if case.extent_mm] or [(0.0, 0.0, 0.0)]),
        intensities={name: _intensities(cases, name) for name in taken.modalities},
    )


def _read_case(case: CaseFiles, modalities: Sequence[str]) -> _Case:
    volumes = {path: read_volume(path) for path in case.scans}
    first = volumes[case.scans[0]]
    label = _label_of(case)
    inside = label != 0
    channels = {name: _channel(volumes[case.images[name]], number) for number, name in enumerate(modalities)}
    if any(array.shape != label.shape for array in channels.values()):
        msg = (
            f"{case.case_id}: label {case.label} has shape {label.shape}, the scan {first.shape[:3]}. Mend or drop it."
        )
        raise DataError(msg)
    spacing = spacing_from_affine(first.affine_ras_mm)
    order = [_WORLD_AXES[code] for code in axis_codes(first.affine_ras_mm)]
    return _Case(
        shape=_in_world(label.shape, order),
        spacing_mm=_in_world(spacing, order),
        extent_mm=_in_world(np.multiply(_extent(inside), spacing), order) if inside.any() else None,
        samples={name: _sample(array[inside] if inside.any() else array) for name, array in channels.items()},
        lowest={name: float(array.min()) for name, array in channels.items()},
        zero_share={name: float(np.mean(array == 0)) for name, array in channels.items()},
        values=frozenset(_values_of(label, case)),
    )


def _channel(volume: Volume, number: int) -> npt.NDArray[Any]:
    return volume.array[..., number] if volume.array.ndim == 4 else volume.array


def _label_of(case: CaseFiles) -> npt.NDArray[Any]:
    array = read_volume(case.label).array if case.label is not None else np.zeros(0)
    return array[..., 0] if array.ndim == 4 else array


def _label_values(case: CaseFiles) -> set[int]:
    return _values_of(_label_of(case), case)


def _values_of(label: npt.NDArray[Any], case: CaseFiles) -> set[int]:
    values = whole_values(label)
    if values is None:
        msg = f"{case.case_id}: {case.label} holds values that are no labels. Is it an image, not a label?"
        raise DataError(msg)
    return {int(value) for value in values.tolist() if value > 0}


def _extent(inside: npt.NDArray[np.bool_]) -> list[int]:
    sides = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return [int(side[-1] - side[0] + 1) for side in sides]


def _in_world(values: Sequence[float] | npt.NDArray[Any], order: Sequence[int]) -> Triple:
    placed = [0.0, 0.0, 0.0]
    for axis, value in zip(order, values, strict=True):
        placed[axis] = float(value)
    return (placed[0], placed[1], placed[2])


def _sample(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    flat = values.ravel()
    kept = flat[:: max(1, flat.size // _MOST_VOXELS)].astype(np.float32)
    return kept[np.isfinite(kept)]


def _across(triples: Sequence[Triple], *, percentile: float = 50) -> Triple:
    x, y, z = np.percentile(np.asarray(triples), percentile, axis=0).tolist()
    return (x, y, z)


def _times(shape: Triple, spacing_mm: Triple) -> Triple:
    x, y, z = (size * width for size, width in zip(shape, spacing_mm, strict=True))
    return (x, y, z)


def _intensities(cases: Sequence[_Case], name: str) -> Intensities:
    low, middle, high = np.percentile(np.concatenate([case.samples[name] for case in cases]), _PERCENTILES).tolist()
    return Intensities(
        low=low,
        middle=middle,
        high=high,
        lowest=min(case.lowest[name] for case in cases),
        zero_share=float(np.median([case.zero_share[name] for case in cases])),
    )


def _labels(taken: Inventory, found: set[int]) -> dict[int, str]:
    declared = {value: name for value, name in (taken.labels or {}).items() if value > 0}
    return dict(sorted({**{value: f"label_{value}" for value in found}, **declared}.items()))
