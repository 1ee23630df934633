"""What each label value means, which values make a region, and how regions are painted back into a label map.

Sources: BraTS 2015 (Menze et al. 2015, https://doi.org/10.1109/TMI.2014.2377694), BraTS 2017-2021
(Baid et al. 2021, https://arxiv.org/abs/2107.02314), BraTS 2023 (https://www.synapse.org/brats2023),
MSD Task01 (Antonelli et al. 2022, https://doi.org/10.1038/s41467-022-30695-9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medseg.errors import DataError

if TYPE_CHECKING:
    # `medseg bundle check` reads the table only, and numpy takes a tenth of its time.
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class LabelConvention:
    """The meaning of one dataset's label values.

    Attributes:
        values: Meaning of each non-zero label value; 0 is background.
        regions: Label values that make each region, in the order of the network's channels.
        paint: `(region, value)` pairs painted in this order when regions become a label map, later over earlier.
    """

    values: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]
    paint: tuple[tuple[str, int], ...]


_BRATS2017 = LabelConvention(
    values={1: "necrotic and non-enhancing core", 2: "oedema", 4: "enhancing tumour"},
    regions={"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)},
    paint=(("WT", 2), ("TC", 1), ("ET", 4)),
)
_BRATS2023 = LabelConvention(
    values={1: "necrotic and non-enhancing core", 2: "oedema", 3: "enhancing tumour"},
    regions={"TC": (1, 3), "WT": (1, 2, 3), "ET": (3,)},
    paint=(("WT", 2), ("TC", 1), ("ET", 3)),
)

CONVENTIONS: dict[str, LabelConvention] = {
    "brats2015": LabelConvention(
        values={1: "necrosis", 2: "oedema", 3: "non-enhancing tumour", 4: "enhancing tumour"},
        regions={"TC": (1, 3, 4), "WT": (1, 2, 3, 4), "ET": (4,)},
        # The regions cannot tell necrosis from non-enhancing tumour: both come back as 1.
        paint=(("WT", 2), ("TC", 1), ("ET", 4)),
    ),
    "brats2017": _BRATS2017,
    "brats2018": _BRATS2017,
    "brats2019": _BRATS2017,
    "brats2020": _BRATS2017,
    "brats2021": _BRATS2017,
    "brats2023": _BRATS2023,
    "brats2024": LabelConvention(
        # Adult glioma after treatment (de Verdier et al. 2024, https://arxiv.org/abs/2405.18368). The cavity is in no
        # region of these three.
        values={**_BRATS2023.values, 4: "resection cavity"},
        regions=_BRATS2023.regions,
        paint=_BRATS2023.paint,
    ),
    "msd_task01": LabelConvention(
        values={1: "oedema", 2: "non-enhancing tumour", 3: "enhancing tumour"},
        regions={"TC": (2, 3), "WT": (1, 2, 3), "ET": (3,)},
        paint=(("WT", 1), ("TC", 2), ("ET", 3)),
    ),
}


def labels_to_regions(
    labels: npt.NDArray[np.generic], convention: LabelConvention, *, where: str = "label"
) -> npt.NDArray[np.bool_]:
    """Masks of the regions, which may overlap.

    Args:
        labels: Label values of any shape `(X, Y, Z)`.
        convention: The meaning of the values.
        where: The case or file named in an error.

    Returns:
        Masks of shape `(R, X, Y, Z)` in the order of `convention.regions`.

    Raises:
        DataError: When a value lies outside the convention.
    """
    import numpy as np

    masks = np.zeros((len(convention.regions), *labels.shape), dtype=np.bool_)
    planes = np.flatnonzero(labels.any(axis=tuple(range(1, labels.ndim))))
    if not planes.size:
        return masks
    held = slice(planes[0], planes[-1] + 1)  # labels fill a part of most scans
    values = np.ascontiguousarray(labels[held])
    known = (0, *convention.values)
    if sum(int(np.count_nonzero(values == value)) for value in known) != values.size:
        found = [value for value in np.unique(values).tolist() if value not in known]
        stray = [int(value) if value == value // 1 else value for value in found]
        msg = (
            f"{where}: label values {stray} are outside the convention, which has {list(known)}. "
            f"Set label_convention to the dataset's own, or mend the label."
        )
        raise DataError(msg)
    for mask, members in zip(masks[:, held], convention.regions.values(), strict=True):
        for value in members:
            mask |= values == value
    return masks


def regions_to_labels(regions: npt.NDArray[np.bool_], convention: LabelConvention) -> npt.NDArray[np.uint8]:
    """The label map painted from region masks, inverse of `labels_to_regions` up to merged values.

    A voxel of an inner region that lies outside its outer region keeps the inner label.

    Args:
        regions: Masks of shape `(R, X, Y, Z)` in the order of `convention.regions`.
        convention: The meaning of the values.

    Returns:
        Label values of shape `(X, Y, Z)`.
    """
    import numpy as np

    order = list(convention.regions)
    labels = np.zeros(regions.shape[1:], dtype=np.uint8)
    for region, value in convention.paint:
        labels[np.asarray(regions[order.index(region)], dtype=bool)] = value
    return labels


def settle_regions(
    probabilities: npt.NDArray[np.floating], convention: LabelConvention, *, threshold: float = 0.5
) -> npt.NDArray[np.bool_]:
    """Masks of the regions: those at or above the threshold; of regions that exclude each other, only the likeliest.

    Args:
        probabilities: Of shape `(R, X, Y, Z)` in the order of `convention.regions`.
        convention: The meaning of the values; regions with a value in common may overlap, others may not.
        threshold: Least probability.

    Returns:
        Masks of shape `(R, X, Y, Z)`.
    """
    import numpy as np

    masks = np.asarray(probabilities >= threshold)
    if are_exclusive(convention) and len(masks) > 1:
        likeliest = probabilities.argmax(axis=0)
        masks &= likeliest == np.arange(len(masks)).reshape(-1, 1, 1, 1)
    return masks


def are_exclusive(convention: LabelConvention) -> bool:
    """Whether no label value is in two regions, so that a voxel is in one of them at most.

    >>> are_exclusive(CONVENTIONS["brats2017"])
    False
    """
    values = [value for region in convention.regions.values() for value in region]
    return len(values) == len(set(values))
