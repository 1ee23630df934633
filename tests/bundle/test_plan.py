from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from medseg.bundle.plan import MOST_VOXELS, choose_strides, fitted, largest_patch, make_plan, target_spacing
from medseg.datasets.fingerprint import Fingerprint, Intensities

MR = Intensities(low=10, middle=100, high=500, lowest=0, zero_share=0.0)
CT = Intensities(low=-60, middle=40, high=180, lowest=-1024, zero_share=0.0)


def fingerprint(**changes: Any) -> Fingerprint:
    plain = Fingerprint(
        name="toy",
        modalities=("mr",),
        labels={1: "organ"},
        n_cases=10,
        n_read=10,
        shape_vox=(120, 160, 120),
        spacing_mm=(1.0, 1.0, 1.0),
        fine_spacing_mm=(1.0, 1.0, 1.0),
        extent_mm=(50, 50, 50),
        intensities={"mr": MR},
    )
    return dataclasses.replace(plain, **changes)


def test_thick_slices_are_resampled_to_the_thinner_ones() -> None:
    thick = fingerprint(spacing_mm=(0.7, 0.7, 5.0), fine_spacing_mm=(0.6, 0.6, 2.5))
    assert target_spacing(thick) == [0.7, 0.7, 2.5]
    assert target_spacing(fingerprint(spacing_mm=(0.7, 0.7, 1.5))) == [0.7, 0.7, 1.5]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((35, 51, 35), (1.0, 1.0, 1.0)),
        ((512, 512, 90), (0.8, 0.8, 5.0)),
        ((7, 200, 200), (8.0, 1.0, 1.0)),
        ((240, 240, 155), (1.0, 1.0, 1.0)),
    ],
)
def test_every_window_is_divisible_by_its_strides_and_small_enough(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    plan = make_plan(fingerprint(shape_vox=shape, spacing_mm=spacing, fine_spacing_mm=spacing))
    for axis in range(3):
        unit = math.prod(stride[axis] for stride in plan.strides)
        assert plan.roi_size[axis] % unit == 0
        assert plan.roi_size[axis] // unit >= 1
    assert math.prod(plan.roi_size) < 2 * MOST_VOXELS
    assert len(plan.channels) == len(plan.strides) + 1


def test_a_coarse_axis_is_halved_later() -> None:
    assert choose_strides([128, 128, 32], [1.0, 1.0, 3.0])[0] == [2, 2, 1]


def test_a_small_image_is_one_window() -> None:
    shape = [35.0, 51.0, 35.0]
    assert fitted(largest_patch(shape, [1, 1, 1]), shape=shape, strides=[[2, 2, 2]] * 3) == [40, 56, 40]


def test_intensities_follow_the_modality() -> None:
    assert make_plan(fingerprint()).intensity == "mean"
    skull_stripped = dataclasses.replace(MR, zero_share=0.6)
    assert make_plan(fingerprint(intensities={"mr": skull_stripped})).intensity == "median"
    assert make_plan(fingerprint(intensities={"mr": skull_stripped})).crop
    ct = make_plan(fingerprint(modalities=("ct",), intensities={"ct": CT}))
    assert (ct.intensity, ct.window, ct.crop) == ("ct", (-60, 180), False)


def test_labels_that_tell_the_ends_of_an_axis_apart_forbid_mirroring_it() -> None:
    assert make_plan(fingerprint()).mirror_axes == (0, 1, 2)
    assert make_plan(fingerprint(labels={1: "kidney_left", 2: "kidney_right"})).mirror_axes == (1, 2)
    assert make_plan(fingerprint(labels={1: "Anterior", 2: "Posterior"})).mirror_axes == (0, 2)
