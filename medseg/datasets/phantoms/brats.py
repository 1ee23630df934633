"""BraTS-like phantoms: four co-registered sequences and a label map, the same voxels from a seed on every machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medseg.datasets.datalist import with_folds
from medseg.datasets.phantoms.anatomy import Grid, make_brain
from medseg.datasets.phantoms.fields import Draws
from medseg.datasets.phantoms.recipe import Recipe, is_made_by, make_recipe, write_json
from medseg.datasets.phantoms.scanner import SEQUENCES, scan
from medseg.datasets.phantoms.tumour import Tumour, make_tumour
from medseg.errors import ConfigError
from medseg.labels import LabelConvention, get_convention
from medseg.volumes import Affine, Volume, write_label_map, write_volume

DEFAULT_SHAPE = (96, 112, 80)
DEFAULT_SPACING_MM = 1.75
_VERSION = 2  # raised when the same seed gives other voxels


@dataclass(frozen=True, eq=False)
class Phantom:
    """One case.

    Attributes:
        case_id: Its name, made of seed and number.
        images: int16 voxels of each sequence, 0 outside the brain.
        labels: uint8 values of the convention.
        affine_ras_mm: Axes run to the left, to the back and up, as in BraTS.
    """

    case_id: str
    images: dict[str, npt.NDArray[np.int16]]
    labels: npt.NDArray[np.uint8]
    affine_ras_mm: Affine


def make_brats_phantom(
    number: int,
    *,
    seed: int,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    label_convention: str = "brats2017",
) -> Phantom:
    """The phantom of that number: it depends on nothing but these arguments.

    Args:
        number: Which of the seed's phantoms.
        seed: Another seed gives other heads and tumours.
        shape: Voxels along each axis, 24 to 1024. A head too large for the field of view is made smaller.
        spacing_mm: Size of the cubic voxels.
        label_convention: Which values the labels have.

    Raises:
        ConfigError: When an argument is out of range.
    """
    recipe = make_recipe("brats", _VERSION, cases=number + 1, seed=seed, shape=shape, spacing_mm=spacing_mm)
    x, y, z = recipe["shape"]
    grid = Grid.fitted((x, y, z), recipe["spacing_mm"])
    convention = get_convention(label_convention)
    brain = make_brain(grid, Draws(seed, number, 0))
    tumour = make_tumour(brain, Draws(seed, number, 1))
    images = scan(brain, tumour, Draws(seed, number, 2))
    affine = np.diag([-grid.spacing_mm, -grid.spacing_mm, grid.spacing_mm, 1.0])
    affine[1, 3] = (grid.shape[1] - 1) * grid.spacing_mm
    return Phantom(case_name(seed, number), images, _labels(tumour, convention), affine)


def write_brats_phantoms(
    out_dir: str | Path,
    *,
    cases: int,
    seed: int = 0,
    shape: Sequence[int] = DEFAULT_SHAPE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    label_convention: str = "brats2017",
    force: bool = False,
    on_case: Callable[[str], None] | None = None,
) -> Path:
    """Write phantoms as a folder per case, and a `datalist.json` with five folds.

    A folder that already holds these very phantoms is completed where a file is missing and else left alone.

    Args:
        out_dir: The dataset's folder.
        cases: How many.
        seed: Of the heads, the tumours and the folds.
        shape: As in `make_brats_phantom`.
        spacing_mm: As in `make_brats_phantom`.
        label_convention: As in `make_brats_phantom`.
        force: Write into a folder that holds something else, over files of the same name.
        on_case: Called with the id of each case when it is there.

    Returns:
        The datalist's path.

    Raises:
        ConfigError: When an argument is out of range.
        DataError: When the folder holds something else, or the disk refuses.
    """
    folder = Path(out_dir)
    recipe = make_recipe("brats", _VERSION, cases=cases, seed=seed, shape=shape, spacing_mm=spacing_mm)
    recipe |= {"label_convention": label_convention}
    convention = get_convention(label_convention)
    datalist = folder / "datalist.json"
    known = is_made_by(datalist, recipe, force=force)
    write_json(datalist, _description(folder, recipe, convention))
    for number in range(cases):
        missing = [path for path in case_files(folder, case_name(seed, number)).values() if not path.is_file()]
        if missing or not known:
            phantom = make_brats_phantom(
                number, seed=seed, shape=shape, spacing_mm=spacing_mm, label_convention=label_convention
            )
            _write_case(folder, phantom)
        if on_case:
            on_case(case_name(seed, number))
    return datalist


def case_name(seed: int, number: int) -> str:
    """The id of a phantom."""
    return f"phantom_s{seed}_{number:03d}"


def case_files(folder: Path, case_id: str) -> dict[str, Path]:
    """The files of a case: its sequences and `seg`."""
    return {name: folder / case_id / f"{case_id}_{name}.nii.gz" for name in (*SEQUENCES, "seg")}


def _write_case(folder: Path, phantom: Phantom) -> None:
    files = case_files(folder, phantom.case_id)
    like = Volume(array=phantom.labels, affine_ras_mm=phantom.affine_ras_mm, path=files["seg"])
    for name, image in phantom.images.items():
        write_volume(files[name], image, like)
    write_label_map(files["seg"], phantom.labels, like)


def _description(folder: Path, recipe: Recipe, convention: LabelConvention) -> Recipe:
    entries = []
    for number in range(recipe["cases"]):
        case_id = case_name(recipe["seed"], number)
        files = {name: path.relative_to(folder).as_posix() for name, path in case_files(folder, case_id).items()}
        label = files.pop("seg")
        entries.append({"case_id": case_id, "image": list(files.values()), "label": label})
    return {
        "name": "BraTS-like phantoms",
        "description": "Made by medseg from a seed. No patient, no clinical meaning.",
        "modality": {str(channel): name for channel, name in enumerate(SEQUENCES)},
        "labels": {"0": "background", **{str(value): meaning for value, meaning in convention.values.items()}},
        "label_convention": recipe["label_convention"],
        "phantom": recipe,
        "training": with_folds(entries, folds=5, seed=recipe["seed"]),
        "testing": [],
    }


def _labels(tumour: Tumour, convention: LabelConvention) -> npt.NDArray[np.uint8]:
    labels = np.zeros(tumour.oedema.shape, dtype=np.uint8)
    labels[tumour.oedema] = _value(convention, "oedema")
    labels[tumour.solid] = _value(convention, "non-enhancing")
    # A convention without necrosis counts it with the non-enhancing tumour.
    labels[tumour.necrosis] = _value(convention, "necro", "non-enhancing")
    labels[tumour.enhancing] = _value(convention, "enhancing tumour")
    return labels


def _value(convention: LabelConvention, *words: str) -> int:
    """The value whose meaning starts with, or else holds, the first word that any does."""
    for word in words:
        for matches in (str.startswith, str.__contains__):
            for value, meaning in convention.values.items():
                if matches(meaning, word):
                    return value
    msg = f"label_convention: phantoms need a value for {' or '.join(words)}; known: {dict(convention.values)}."
    raise ConfigError(msg)
