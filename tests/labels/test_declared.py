from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medseg.errors import ConfigError
from medseg.labels import (
    CONVENTIONS,
    get_convention,
    labels_to_regions,
    parse_convention,
    regions_to_labels,
    settle_regions,
)


def test_each_label_is_a_region_and_comes_back_as_it_was() -> None:
    convention = get_convention({"anterior": 1, "posterior": 2})
    labels = np.array([[[0, 1, 2, 1]]], dtype=np.uint8)
    masks = labels_to_regions(labels, convention)
    assert masks.shape == (2, 1, 1, 4)
    assert np.array_equal(regions_to_labels(masks, convention), labels)


def test_nested_regions_come_back_as_they_were() -> None:
    convention = get_convention({"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3})
    labels = np.arange(4, dtype=np.uint8).reshape(1, 1, 4)
    assert np.array_equal(regions_to_labels(labels_to_regions(labels, convention), convention), labels)
    assert convention.values == {1: "whole", 2: "core", 3: "enhancing"}


def test_a_name_is_looked_up() -> None:
    assert get_convention("brats2021") is CONVENTIONS["brats2021"]


def test_of_labels_that_exclude_each_other_the_likeliest_wins() -> None:
    convention = get_convention({"a": 1, "b": 2})
    probabilities = np.array([0.9, 0.6, 0.4, 0.5, 0.8, 0.3]).reshape(2, 1, 1, 3)
    masks = settle_regions(probabilities, convention)
    assert regions_to_labels(masks, convention).ravel().tolist() == [1, 2, 0]


def test_regions_that_overlap_are_settled_one_by_one() -> None:
    convention = get_convention({"whole": [1, 2], "core": 2})
    probabilities = np.array([0.9, 0.6, 0.6, 0.7]).reshape(2, 1, 1, 2)
    assert settle_regions(probabilities, convention).all()


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ({}, "no region is declared"),
        ({"a": 0}, "a: 0 is no label value"),
        ({"a": True}, "True is no label value"),
        ({"a": 256}, "256 is no label value"),
        ({"a": []}, "None is no label value"),
        ({"core": 2, "whole": [2, 2]}, "every value of 'core' is also in a later region"),
    ],
)
def test_what_cannot_be_a_convention_is_refused(declared: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        get_convention(declared)


def test_pairs_on_the_command_line() -> None:
    assert parse_convention("liver=1, tumour=2+3") == {"liver": [1], "tumour": [2, 3]}
    assert parse_convention("brats2021") == "brats2021"
    with pytest.raises(ConfigError, match="not understood"):
        parse_convention("liver=one")
