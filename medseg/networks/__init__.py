"""Networks that MONAI lacks, or needs torchvision for."""

from medseg.kernels.anchors import anchors_with_ratios, anchors_with_shapes
from medseg.networks.feature_pyramid import FeaturePyramid, light_feature_pyramid, resnet_feature_pyramid
from medseg.networks.retinanet import RetinaNet

__all__ = [
    "FeaturePyramid",
    "RetinaNet",
    "anchors_with_ratios",
    "anchors_with_shapes",
    "light_feature_pyramid",
    "resnet_feature_pyramid",
]
