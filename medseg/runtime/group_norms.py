"""OpenVINO's normalisation: group norms in the memory format of the convolutions around, instance norms more exact."""

from __future__ import annotations

from typing import Any

_SPACE = [2, 3, 4]


def spread_group_norms(original: Any) -> Any:
    """A copy of the model with group norms written as means and products of whole maps.

    A converted group norm is a reshape to its groups, MVN, and a reshape back, for which OpenVINO copies each map out
    of the channels-last memory of its convolutions and back again: a fifth of a SegResNet's time in bfloat16. Means
    over space, the squares of what differs from them, and a product need no copies. The mathematics is the same; the
    means are rounded to the precision that the model runs in, so this is for bfloat16.

    Args:
        original: With fixed shapes, of maps `(B, C, X, Y, Z)`. Norms over other maps stay as they are.
    """
    model = original.clone()
    for norm in model.get_ordered_ops():
        back = _reshape_after(norm)
        if back is None:
            continue
        source = norm.input_value(0).get_node()
        groups = int(source.get_output_shape(0)[1])
        output = _normalised(source.input_value(0), groups, eps=float(norm.get_attributes()["eps"]))
        for target in list(back.output(0).get_target_inputs()):
            target.replace_source_output(output)
    model.validate_nodes_and_infer_types()
    return model


def exact_instance_norms(original: Any) -> Any:
    """A copy of the model with instance norms whose means are taken along one axis after the other.

    OpenVINO's MVN adds up all voxels of a map in one float32 sum, which is off by 1e-5 where many are alike, such as
    padding; what follows makes 1e-4 of it in a U-Net's probabilities. Short sums are off by 1e-6, as PyTorch's are.
    The reshapes between them keep OpenVINO from merging them again.

    Args:
        original: Of maps `(B, C, X, Y, Z)`, of any shape. Norms over other maps stay as they are.
    """
    import openvino.opset13 as ov

    model = original.clone()
    for norm in model.get_ordered_ops():
        if not _is_instance_norm(norm):
            continue
        maps, eps = norm.input_value(0), float(norm.get_attributes()["eps"])
        centred = ov.subtract(maps, _mean_by_axis(maps))
        variance = _mean_by_axis(ov.multiply(centred, centred))
        output = ov.divide(centred, ov.sqrt(ov.add(variance, _scalar(eps)))).output(0)
        for target in list(norm.output(0).get_target_inputs()):
            target.replace_source_output(output)
    model.validate_nodes_and_infer_types()
    return model


def _is_instance_norm(norm: Any) -> bool:
    if norm.get_type_name() != "MVN" or not norm.get_attributes()["normalize_variance"]:
        return False
    axes, rank = norm.input_value(1).get_node(), norm.input_value(0).get_partial_shape().rank
    if axes.get_type_name() != "Constant" or rank.is_dynamic or rank.get_length() != len(_SPACE) + 2:
        return False
    inside = norm.get_attributes()["eps_mode"].lower() == "inside_sqrt"
    return inside and sorted(int(axis) % rank.get_length() for axis in axes.get_data().ravel()) == _SPACE


def _mean_by_axis(maps: Any) -> Any:
    """The node of each map's mean, `(B, C, 1, 1, 1)`."""
    import openvino.opset13 as ov

    rows = ov.reduce_mean(maps, ov.constant([4]), keep_dims=False)  # (B, C, X, Y)
    rows = ov.reshape(rows, ov.constant([0, 0, 0, -1, 1]), special_zero=True)
    planes = ov.reduce_mean(rows, ov.constant([3, 4]), keep_dims=False)  # (B, C, X)
    planes = ov.reshape(planes, ov.constant([0, 0, -1, 1, 1]), special_zero=True)
    return ov.reduce_mean(planes, ov.constant([2]), keep_dims=True)


def _reshape_after(norm: Any) -> Any:
    """The reshape that ends a group norm around this node; None where there is none."""
    if norm.get_type_name() != "MVN" or not norm.get_attributes()["normalize_variance"]:
        return None
    source, targets = norm.input_value(0).get_node(), list(norm.output(0).get_target_inputs())
    if source.get_type_name() != "Reshape" or len(targets) != 1:
        return None
    back, maps = targets[0].get_node(), source.input_value(0).get_partial_shape()
    if back.get_type_name() != "Reshape" or maps.is_dynamic or len(maps) != len(_SPACE) + 2:
        return None
    grouped = source.get_output_shape(0)
    fits = list(grouped[:1]) == [maps[0].get_length()] and maps[1].get_length() % grouped[1] == 0 and len(grouped) == 3
    return back if fits and back.get_output_partial_shape(0) == maps else None


def _normalised(maps: Any, groups: int, *, eps: float) -> Any:
    """The output of nodes that give each group of the maps mean 0 and variance 1."""
    import openvino.opset13 as ov

    mean = _mean_of_groups(maps, groups)
    variance = _mean_of_groups(ov.squared_difference(maps, mean).output(0), groups)
    root = ov.sqrt(ov.add(variance, _scalar(eps)))
    return ov.multiply(ov.subtract(maps, mean), ov.divide(_scalar(1.0), root)).output(0)


def _mean_of_groups(maps: Any, groups: int) -> Any:
    """The node of each channel's mean over its group, `(B, C, 1, 1, 1)`."""
    import openvino.opset13 as ov

    batch, channels = maps.get_shape()[0], maps.get_shape()[1]
    split = [batch, groups, channels // groups, 1, 1]
    alone = ov.reduce_mean(maps, ov.constant(_SPACE), keep_dims=True)
    together = ov.reduce_mean(
        ov.reshape(alone, ov.constant(split), special_zero=False), ov.constant([2]), keep_dims=True
    )
    spread = ov.broadcast(together, ov.constant(split))
    return ov.reshape(spread, ov.constant([batch, channels, 1, 1, 1]), special_zero=False)


def _scalar(value: float) -> Any:
    import numpy as np
    import openvino.opset13 as ov

    return ov.constant(np.float32(value))
