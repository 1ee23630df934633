"""MONAI dictionary transforms that MONAI lacks: checked reading, label conventions, writing in the native grid."""

from medseg.transforms.components import DropSmallComponentsd
from medseg.transforms.cyst import RandCystd
from medseg.transforms.load import LoadCased
from medseg.transforms.normalize import NormalizeByMediand
from medseg.transforms.per_channel import RandPerChanneld
from medseg.transforms.regions import LabelsToRegionsd, RegionsToLabelsd
from medseg.transforms.save import SaveCased

__all__ = [
    "DropSmallComponentsd",
    "LabelsToRegionsd",
    "LoadCased",
    "NormalizeByMediand",
    "RandCystd",
    "RandPerChanneld",
    "RegionsToLabelsd",
    "SaveCased",
]
