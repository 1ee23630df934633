"""Whole-volume inference: sliding windows, test-time augmentation, and boxes in whole scans."""

from medseg.inference.detector import BoxDetector
from medseg.inference.label_detector import LabelDetector
from medseg.inference.lung import LungField
from medseg.inference.sliding_window import SlidingWindow

__all__ = ["BoxDetector", "LabelDetector", "LungField", "SlidingWindow"]
