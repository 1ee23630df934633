"""Networks that MONAI lacks, or needs torchvision for."""

from medseg.networks.feature_pyramid import FeaturePyramid, light_feature_pyramid, resnet_feature_pyramid
from medseg.networks.retinanet import RetinaNet

__all__ = ["FeaturePyramid", "RetinaNet", "light_feature_pyramid", "resnet_feature_pyramid"]
