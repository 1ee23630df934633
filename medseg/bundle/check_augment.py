"""What a training does to images and labels: moves that only one of them makes, values of classes changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.chains import keys_at, transforms_in
from medseg.bundle.compose import Composition
from medseg.bundle.constants import UnknownError, constant
from medseg.bundle.findings import Found
from medseg.bundle.known_networks import class_of

# Of monai.transforms.intensity.dictionary, those that cannot keep a class's number.
_VALUES = re.compile(
    r"(Rand)?(Gaussian(Noise|Smooth|Sharpen)|RicianNoise|(Std)?ShiftIntensity|ScaleIntensity(FixedMean)?|AdjustContrast"
    r"|BiasField|GibbsNoise|KSpaceSpikeNoise|HistogramShift|SimulateLowResolution|NormalizeIntensity"
    r"|ScaleIntensityRange(Percentiles)?|NormalizeByMedian)(d|D|Dict)"
)
_MOVES = re.compile(
    r"Rand(Flip|AxisFlip|Rotate|Rotate90|Zoom|Affine|[23]DElastic|GridDistortion|SpatialCrop(Samples)?|ScaleCrop"
    r"|WeightedCrop|CropByPosNegLabel|CropByLabelClasses)(d|D|Dict)"
)
# Parts that take labels for classes; in a denoising or a regression they are images like others.
_CLASSES = re.compile(
    r"LabelsToRegionsd?|ConvertToMultiChannelBasedOnBratsClassesd?|(Masked|Generalized)?Dice\w*|MeanDice|FgBgToIndicesd"
    r"|RandCropBy(PosNegLabel|LabelClasses)(d|D|Dict)"
)


def augmentations(composition: Composition) -> Found:
    """Transforms of a training that move image or label alone, or change the values of labels."""
    config = composition.config
    parts = (v for _, v in ids.walk(config) if ids.is_component(v) and isinstance(v["_target_"], str))
    if composition.workflow != "train" or not any(_CLASSES.fullmatch(class_of(part)) for part in parts):
        return
    for chain in ("train::preprocessing", "validate::preprocessing"):
        yield from _chain(config, chain)


def _shares(config: dict[str, Any], id_: str) -> Found:
    """Crops around nothing: neither foreground nor background has a share."""
    try:
        shares = [constant(config, f"{id_}{ids.SEP}{name}") for name in ("pos", "neg")]
    except UnknownError:
        return
    if shares == [0, 0]:
        yield f"{id_}{ids.SEP}neg", "neither pos nor neg has a share, and MONAI refuses both as 0.", "error"


def _chain(config: dict[str, Any], chain: str) -> Found:
    known = list(_named(config, chain))
    both = any({"image", "label"} <= set(keys) for _, _, keys in known)
    for number, (id_, name, keys) in enumerate(known):
        made = any(before.startswith("FgBgToIndices") for _, before, _ in known[:number])
        if name.startswith("RandCropByPosNegLabel") and not made and ids.get_at(config, id_).get("fg_indices_key"):
            message = "no step before it makes these indices. Put FgBgToIndicesd there, or take the key out."
            yield f"{id_}{ids.SEP}fg_indices_key", message, "error"
        if name.startswith("RandCropByPosNegLabel"):
            yield from _shares(config, id_)
        if "label" in keys and _VALUES.fullmatch(name):
            yield f"{id_}::keys", "changes the values of 'label', which are classes. Name the image alone.", "warning"
        one = {"image", "label"} & set(keys)
        if both and len(one) == 1 and _MOVES.fullmatch(name):
            (moved,) = one
            other = "label" if moved == "image" else "image"
            message = f"moves {moved!r} and leaves {other!r} where it was, so that they fit no longer. Name both."
            yield f"{id_}::keys", message, "warning"


def _named(config: dict[str, Any], chain: str) -> Iterator[tuple[str, str, list[str]]]:
    """Id, class and keys of the transforms of a chain."""
    for id_, part in transforms_in(config, chain):
        yield id_, class_of(part), [key for key in keys_at(config, id_) if isinstance(key, str)]
