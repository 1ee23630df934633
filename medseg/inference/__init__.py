"""Whole-volume inference: sliding windows and test-time augmentation."""

from medseg.inference.sliding_window import SlidingWindow

__all__ = ["SlidingWindow"]
