"""Detections of any tool against reference boxes or nodules: LUNA16's rules, or COCO's in 3D. No torch."""

from medseg.evaluation.detection.coco3d import Coco3dSummary, evaluate_coco3d
from medseg.evaluation.detection.luna16 import Luna16Summary, evaluate_luna16

__all__ = ["Coco3dSummary", "Luna16Summary", "evaluate_coco3d", "evaluate_luna16"]
