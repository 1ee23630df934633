"""Whole-volume inference: sliding windows, test-time augmentation, and boxes in whole scans."""

from medseg.inference.channel_norm import to_channels_last
from medseg.inference.detector import BoxDetector
from medseg.inference.label_detector import LabelDetector
from medseg.inference.lung import LungField
from medseg.inference.native_grid import NativeGrid
from medseg.inference.sliding_window import SlidingWindow
from medseg.inference.streaming import Prediction

__all__ = [
    "BoxDetector",
    "LabelDetector",
    "LungField",
    "NativeGrid",
    "Prediction",
    "SlidingWindow",
    "to_channels_last",
]
