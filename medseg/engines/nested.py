"""Predictions and targets that are not one tensor: dictionaries and lists of tensors, as a detector's."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.transforms.inverse_batch_transform import Decollated


class Ragged(list):
    """A list with one entry for each item of a batch, which are not to be stacked: boxes, say."""


def map_tensors(value: Any, function: Callable[[torch.Tensor], Any]) -> Any:
    """The value with the function applied to every tensor in it.

    >>> map_tensors({"a": [torch.ones(2)], "b": 3}, len)
    {'a': [2], 'b': 3}
    """
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, function) for item in value)
    return value


def one_prediction(prediction: Any, index: int) -> Any:
    """A batch of one, of what a network gave for a batch: every tensor in it has the batch as its first axis."""
    return map_tensors(prediction, lambda tensor: tensor[index : index + 1])


def per_item(batch: Any) -> Any:
    """A batch as a list of items, as by MONAI; a `Ragged`, or a list of dictionaries, has one entry for each item."""
    decollate = Decollated(keys=None, detach=True)
    if not isinstance(batch, Mapping):
        return decollate(batch) if isinstance(batch, list) else batch
    ragged = {key: value for key, value in batch.items() if _is_ragged(value)}
    if not ragged:
        return decollate(batch)
    ragged = map_tensors(ragged, torch.Tensor.detach)
    rest = {key: value for key, value in batch.items() if key not in ragged}
    items = decollate(rest) if rest else [{} for _ in next(iter(ragged.values()))]
    return [{**item, **{key: value[i] for key, value in ragged.items()}} for i, item in enumerate(items)]


def _is_ragged(value: Any) -> bool:
    return isinstance(value, Ragged) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))
