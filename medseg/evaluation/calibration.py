"""Calibration of saved probabilities against reference label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import DataError
from medseg.evaluation.label_files import read_labels
from medseg.labels import LabelConvention
from medseg.metrics.calibration import BINS, Reliability, bin_of, merge, reliability
from medseg.volumes import VOLUME_SUFFIXES, check_same_grid, read_volume

MARGIN_MM = 20.0

MEANING = (
    f"expected and maximum calibration error (15 bins of equal width) and Brier score of each region's probability, "
    f"over the voxels of all cases that lie within {MARGIN_MM:g} mm of the box around the reference's labels"
)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of a model over cases.

    Attributes:
        regions: By region, the reliability of all voxels of all cases.
        missing: Cases without a file of probabilities, which count nowhere.
    """

    regions: dict[str, Reliability]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """What stands in summary.json."""
        return {
            "meaning": MEANING,
            "regions": {
                name: {
                    "ece": found.ece,
                    "mce": found.mce,
                    "brier": found.brier,
                    "curve": [
                        {"probability": probability, "frequency": frequency, "voxels": voxels}
                        for probability, frequency, voxels in found.curve()
                    ],
                }
                for name, found in self.regions.items()
            },
            "missing": list(self.missing),
        }


def read_calibration(content: Mapping[str, Any]) -> Calibration:
    """A calibration from what `to_json` made of it, to be merged with others."""
    return Calibration(
        regions={name: _from_curve(found) for name, found in content["regions"].items()},
        missing=tuple(content["missing"]),
    )


def _from_curve(found: Mapping[str, Any]) -> Reliability:
    count, positive = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
    probability = np.zeros(BINS, np.float64)
    for row in found["curve"]:
        place = bin_of(np.array([row["probability"]]))[0]  # where the mean of a bin lies, in the bin itself
        count[place] += row["voxels"]
        probability[place] += row["probability"] * row["voxels"]
        positive[place] += round(row["frequency"] * row["voxels"])
    error = found["brier"] * int(count.sum())
    return Reliability(count=count, probability=probability, positive=positive, squared_error=error)


def measure_calibration(folder: Path, references: Mapping[str, Path], *, convention: LabelConvention) -> Calibration:
    """Compare `FOLDER/<case>.nii.gz`, one channel for each region in the convention's order, with the references.

    Raises:
        DataError: When no case has a file, or one has other channels, another grid or values outside 0 to 1.
    """
    files = {case: _file(folder, case) for case in references}
    parts = [_case(path, references[case], case_id=case, convention=convention) for case, path in files.items() if path]
    if not parts:
        some = ", ".join(list(references)[:3])
        msg = f"--probabilities: {folder} has no file for any of {len(references)} cases ({some}). Wanted CASE.nii.gz."
        raise DataError(msg)
    return Calibration(
        regions={name: merge([part[name] for part in parts]) for name in convention.regions},
        missing=tuple(case for case, path in files.items() if path is None),
    )


def _file(folder: Path, case: str) -> Path | None:
    return next((path for suffix in VOLUME_SUFFIXES if (path := folder / f"{case}{suffix}").is_file()), None)


def _case(path: Path, reference_path: Path, *, case_id: str, convention: LabelConvention) -> dict[str, Reliability]:
    reference, given = read_labels(reference_path, case_id=case_id), read_volume(path)
    where = f"{case_id}: probabilities {path}"
    check_same_grid(
        given.shape,
        given.affine_ras_mm,
        reference_shape=reference.shape,
        reference_affine=reference.affine_ras_mm,
        where=where,
    )
    channels = given.array[..., None] if given.array.ndim == 3 else given.array
    if channels.shape[-1] != len(convention.regions):
        msg = f"{where}: {channels.shape[-1]} channels. Wanted one for each region: {', '.join(convention.regions)}."
        raise DataError(msg)
    crop = _near(reference.array, reference.spacing_mm)
    labels = reference.array[crop]
    try:
        return {
            name: reliability(channels[..., index][crop], np.isin(labels, values))
            for index, (name, values) in enumerate(convention.regions.items())
        }
    except DataError as error:
        msg = f"{where}: {error}"
        raise DataError(msg) from error


def _near(labels: Any, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    """The box around the labels, widened; everything where there are none."""
    places = np.nonzero(labels)
    if not places[0].size:
        return (slice(None),) * 3
    margins = [int(np.ceil(MARGIN_MM / width)) for width in spacing_mm]
    return tuple(
        slice(max(0, int(where.min()) - margin), int(where.max()) + margin + 1)
        for where, margin in zip(places, margins, strict=True)
    )
