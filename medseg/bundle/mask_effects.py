"""What each setting of a prediction does to its masks or boxes: one table, held complete by a test.

Whatever is not `SAME` here is written into run.json, and `medseg predict --help` names what `CHANGES`.
"""

from __future__ import annotations

from typing import Any, Literal

from medseg.bundle import ids
from medseg.bundle.compose import Composition

Effect = Literal["same", "model", "changes"]
SAME: Effect = "same"
MODEL: Effect = "model"
CHANGES: Effect = "changes"

# SAME: the same masks, but for voxels within float32 rounding of the threshold where a comment says so.
# MODEL: what the model is. Another value is another model, so masks change with it.
# CHANGES: how the model is run; masks or boxes may change.
SETTINGS: dict[str, Effect] = {
    "amp": CHANGES,
    "amp_dtype": CHANGES,
    "annotation_transforms": SAME,  # of the references
    "annotations": SAME,
    "base_anchor_shapes": MODEL,
    "bundle_root": SAME,
    "channels": MODEL,
    "channels_last": SAME,  # within rounding in float32; bfloat16, which changes masks, adds PyTorch's group norm
    "ckpt_path": MODEL,
    "crop_background": CHANGES,
    "crops": SAME,
    "datalist": SAME,
    "dataset_dir": SAME,
    "detector_ops": SAME,
    "device": SAME,  # within rounding; amp says what it is rounded to
    "ensemble": CHANGES,
    "feature_map_scales": MODEL,
    "fold": SAME,
    "imports": SAME,
    "initialize": SAME,
    "intensity_range": MODEL,
    "intensity_transforms": MODEL,
    "kernel_sizes": MODEL,
    "key_metric": SAME,
    "label_convention": MODEL,
    "label_names": MODEL,
    "label_transforms": SAME,  # of the references
    "lung_only": CHANGES,
    "max_detections": CHANGES,
    "max_memory_mb": SAME,
    "min_component_share": CHANGES,
    "mirror_axes": CHANGES,
    "modalities": MODEL,
    "network": MODEL,
    "network_def": MODEL,
    "nms_iou": CHANGES,
    "num_channels": MODEL,
    "num_workers": SAME,
    "output_dir": SAME,
    "overlap": CHANGES,
    "placement": CHANGES,
    "regions": MODEL,
    "roi_size": CHANGES,
    "run": SAME,
    "runtime": CHANGES,
    "save_probabilities": CHANGES,  # step by step in place of a stream: 1e-6 of the voxels
    "score_threshold": CHANGES,
    "seed": SAME,
    "size_divisible": MODEL,
    "spacing_mm": CHANGES,
    "spatial_keys": SAME,
    "spatial_modes": MODEL,
    "streaming": CHANGES,  # 1e-6 of the voxels
    "strides": MODEL,
    "sw_batch_size": SAME,
    "tta": CHANGES,
    "window_hu": MODEL,
    "window_size": CHANGES,
}
_SECTIONS = ("inferer", "postprocessing")  # whose own values count as settings
_NAMES = ("_target_", "keys", "kind", "orig_keys", "to_tensor")  # which only say what a step works on


def mask_settings(composition: Composition) -> dict[str, Any]:
    """What of the config can change a mask or the boxes, for run.json: see `SETTINGS`.

    A value that no table knows, such as that of a bundle made elsewhere, is taken for one that can.
    """
    config = composition.config
    told = {key: value for key, value in config.items() if is_setting(value) and SETTINGS.get(key) != SAME}
    for section in _SECTIONS:
        for id_, value in ids.walk(config.get(section), section):
            if not is_reference(value) and not isinstance(value, dict | list) and _name(id_) not in _NAMES:
                told[id_] = value
    return told


def is_setting(value: Any) -> bool:
    """Whether a top-level value of a config is a setting: a text, a number, or a list or table of them.

    >>> is_setting([1, 2]), is_setting("@network_def"), is_setting([{"_target_": "monai.transforms.Flipd"}])
    (True, True, False)
    """
    if isinstance(value, dict):
        return "_target_" not in value and all(is_setting(each) for each in value.values())
    return all(is_setting(each) for each in value) if isinstance(value, list) else True


def is_reference(value: Any) -> bool:
    """Whether a value stands for another one."""
    return isinstance(value, str) and value[:1] in ("@", "$", "%")


def _name(id_: str) -> str:
    return id_.rpartition(ids.SEP)[2]
