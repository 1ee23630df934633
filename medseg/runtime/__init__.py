"""Exported pipelines, from a scan to a label map, with numpy and onnxruntime or openvino: neither torch nor MONAI."""

from medseg.runtime.pipeline import Pipeline, load_pipeline

__all__ = ["Pipeline", "load_pipeline"]
