"""MONAI dictionary transforms that MONAI lacks: checked reading, label conventions, writing in the native grid."""

from medseg.transforms.box_affine import RandAffineBoxesd
from medseg.transforms.box_crop import ClipBoxesd, RandCropBoxesd
from medseg.transforms.box_flip import RandFlipBoxesd, RandRotate90Boxesd
from medseg.transforms.box_frames import BoxesToVoxeld, BoxesToWorldd, WarnIfMirroredd
from medseg.transforms.box_masks import BoxesToMaskd, MaskToBoxesd
from medseg.transforms.components import DropSmallComponentsd
from medseg.transforms.fluid import RandFluidPocketsd
from medseg.transforms.load import LoadCased
from medseg.transforms.normalize import NormalizeByMediand
from medseg.transforms.per_channel import RandPerChanneld
from medseg.transforms.regions import LabelsToRegionsd, RegionsToLabelsd, SettleRegionsd
from medseg.transforms.save import SaveCased
from medseg.transforms.save_detections import SaveDetectionsd

__all__ = [
    "BoxesToMaskd",
    "BoxesToVoxeld",
    "BoxesToWorldd",
    "ClipBoxesd",
    "DropSmallComponentsd",
    "LabelsToRegionsd",
    "LoadCased",
    "MaskToBoxesd",
    "NormalizeByMediand",
    "RandAffineBoxesd",
    "RandCropBoxesd",
    "RandFlipBoxesd",
    "RandFluidPocketsd",
    "RandPerChanneld",
    "RandRotate90Boxesd",
    "RegionsToLabelsd",
    "SaveCased",
    "SaveDetectionsd",
    "SettleRegionsd",
    "WarnIfMirroredd",
]
