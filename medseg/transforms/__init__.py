"""MONAI dictionary transforms that MONAI lacks, or on faster kernels: reading, grids, label conventions, writing."""

from medseg.transforms.box_affine import RandAffineBoxesd
from medseg.transforms.box_crop import ClipBoxesd, RandCropBoxesd
from medseg.transforms.box_flip import RandFlipBoxesd, RandRotate90Boxesd
from medseg.transforms.box_frames import BoxesToVoxeld, BoxesToWorldd, WarnIfMirroredd
from medseg.transforms.box_masks import BoxesToMaskd, MaskToBoxesd
from medseg.transforms.components import DropSmallComponentsd
from medseg.transforms.crop_foreground import CropForegroundd
from medseg.transforms.fluid import RandFluidPocketsd
from medseg.transforms.intensity import NormalizeIntensityd, ScaleIntensityRanged
from medseg.transforms.load import LoadCased
from medseg.transforms.normalize import NormalizeByMediand
from medseg.transforms.one_pass import InOnePassd
from medseg.transforms.orientation import Orientationd
from medseg.transforms.per_channel import RandPerChanneld
from medseg.transforms.rand_affine import RandAffined
from medseg.transforms.regions import LabelsToRegionsd, RegionsToLabelsd, SettleRegionsd
from medseg.transforms.save import SaveCased
from medseg.transforms.save_detections import SaveDetectionsd
from medseg.transforms.spacing import Spacingd

__all__ = [
    "BoxesToMaskd",
    "BoxesToVoxeld",
    "BoxesToWorldd",
    "ClipBoxesd",
    "CropForegroundd",
    "DropSmallComponentsd",
    "InOnePassd",
    "LabelsToRegionsd",
    "LoadCased",
    "MaskToBoxesd",
    "NormalizeByMediand",
    "NormalizeIntensityd",
    "Orientationd",
    "RandAffineBoxesd",
    "RandAffined",
    "RandCropBoxesd",
    "RandFlipBoxesd",
    "RandFluidPocketsd",
    "RandPerChanneld",
    "RandRotate90Boxesd",
    "RegionsToLabelsd",
    "SaveCased",
    "SaveDetectionsd",
    "ScaleIntensityRanged",
    "SettleRegionsd",
    "Spacingd",
    "WarnIfMirroredd",
]
