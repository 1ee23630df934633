"""Plans against published ones and against examples worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.bundle.compose import compose
from medseg.bundle.find import find_bundle, list_suites
from medseg.bundle.plan import make_plan
from medseg.bundle.plan_grid import (
    choose_channels,
    choose_levels,
    choose_patch,
    coarse_axis,
    crops_in_a_step,
    first_patch,
    memory_gb,
    target_spacing,
)
from medseg.bundle.plan_text import plan_values, plan_yaml, reasons
from medseg.datasets.fingerprint import Fingerprint, Intensities
from medseg.errors import ConfigError

MR = Intensities(low=10, middle=100, high=500, lowest=0, zero_share=0.0)
CT = Intensities(low=-41, middle=100, high=176, lowest=-1024, zero_share=0.0)


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
        field_mm=(120, 160, 120),
        extent_mm=(50, 50, 50),
        intensities={"mr": MR},
    )
    return dataclasses.replace(plain, **changes)


# MSD Task09: 41 CT, half of them in slices of 5 mm, a tenth in slices of 1.6 mm or less.
SPLEEN = fingerprint(
    modalities=("ct",),
    labels={1: "spleen"},
    n_cases=41,
    shape_vox=(512, 512, 90),
    spacing_mm=(0.79, 0.79, 5.0),
    fine_spacing_mm=(0.7, 0.7, 1.6),
    field_mm=(404.5, 404.5, 299.2),
    intensities={"ct": CT},
)


def test_spleen_gets_the_published_plan() -> None:
    """Grid, patch, batch and window: MONAI's tutorials, modules/dynunet_pipeline/task_params.py, after nnU-Net."""
    plan = make_plan(SPLEEN, budget_gb=8, first_channels=32)
    assert plan.spacing_mm == [0.79, 0.79, 1.6]
    assert plan.roi_size == [160, 192, 64]
    assert plan.batch_size == 2
    assert (plan.intensity, plan.window) == ("ct", (-41, 176))
    # By hand: 1.6 mm is over twice 0.79, so the first step leaves z; 160 and 192 halve five times to 5 and 6, 64 four
    # times to 4.
    assert plan.strides == [[2, 2, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert plan.kernels == [[3, 3, 1], *[[3, 3, 3]] * 5]
    assert plan.channels == [32, 64, 128, 256, 320, 320]


@pytest.mark.parametrize(
    ("shape", "spacing", "outputs", "published"),
    [
        pytest.param((35, 50, 36), (1, 1, 1), 3, (40, 56, 40), id="hippocampus"),
        pytest.param((320, 319, 20), (0.62, 0.62, 3.6), 3, (320, 256, 20), id="prostate"),
        pytest.param((138, 169, 138), (1, 1, 1), 4, (128, 128, 128), id="brain tumour"),
        pytest.param((320, 232, 115), (1.25, 1.25, 1.37), 2, (160, 192, 80), id="heart"),
        pytest.param((512, 512, 482), (0.77, 0.77, 1.0), 3, (128, 128, 128), id="liver"),
        pytest.param((512, 512, 96), (0.8, 0.8, 2.5), 3, (224, 224, 40), id="pancreas"),
    ],
)
def test_patches_of_the_decathlon_are_the_published_ones(
    shape: tuple[int, ...], spacing: tuple[float, ...], outputs: int, published: tuple[int, ...]
) -> None:
    """nnU-Net's, in MONAI's task_params.py; which of two like axes is the longer one, says nobody."""

    def used(patch: Any) -> float:
        levels = choose_levels(patch, spacing)
        return memory_gb(patch, levels, channels=choose_channels(levels, first=32), outputs=outputs)

    patch = choose_patch(shape, spacing, units=lambda p: choose_levels(p, spacing).units, fits=lambda p: used(p) <= 8.0)
    assert sorted(patch) == sorted(published)


def test_prostate_stays_flat() -> None:
    """By hand: x and y double twice before 2.48 mm is within a factor of two of 3.6 mm; then z, 20 to 10 to 5."""
    levels = choose_levels([320, 256, 20], [0.62, 0.62, 3.6])
    assert levels.strides == ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1), (2, 2, 1))
    assert levels.units == (64, 64, 4)
    assert levels.kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert make_plan(
        fingerprint(
            shape_vox=(320, 319, 20),
            spacing_mm=(0.62, 0.62, 3.6),
            fine_spacing_mm=(0.6, 0.6, 3),
            field_mm=(198, 198, 72),
        )
    ).rotation_rad == [0, 0, 0.52]


def test_hippocampus_is_one_window_and_nine_of_them_a_step() -> None:
    found = fingerprint(
        n_cases=260, shape_vox=(35, 50, 36), field_mm=(35, 50, 36), labels={1: "Anterior", 2: "Posterior"}
    )
    plan = make_plan(found, budget_gb=8, first_channels=32)
    assert plan.roi_size == [40, 56, 40]
    assert plan.batch_size == 9, "5 % of the voxels of 260 cases, as published"
    assert plan.strides == [[2, 2, 2]] * 3


def test_thick_slices_are_resampled_to_the_thinner_ones_but_never_finer_than_the_others() -> None:
    thick = {"spacing_mm": (0.7, 0.8, 5.0), "shape_vox": (512, 512, 90)}
    assert target_spacing(**thick, fine_spacing_mm=(0.6, 0.6, 2.5)) == [0.7, 0.8, 2.5]
    assert target_spacing(**thick, fine_spacing_mm=(0.6, 0.6, 0.5)) == [0.7, 0.8, 0.8]
    many = {"spacing_mm": (0.7, 0.8, 5.0), "shape_vox": (512, 512, 300)}
    assert target_spacing(**many, fine_spacing_mm=(0.6, 0.6, 2.5)) == [0.7, 0.8, 5.0], "as many slices as rows"
    assert coarse_axis((0.7, 0.8, 2.3), shape_vox=(512, 512, 90)) is None, "under three times"


def test_the_first_patch_is_a_cube_in_mm_and_no_longer_than_the_scan() -> None:
    assert first_patch((9999, 9999, 9999), (1, 1, 1)) == [256, 256, 256]
    assert first_patch((9999, 9999, 9999), (1, 1, 8)) == [512, 512, 64]
    assert first_patch((40, 9999, 9999), (1, 1, 8)) == [40, 512, 64]


def test_memory_is_counted_over_all_feature_maps() -> None:
    levels = choose_levels([8, 8, 8], [1, 1, 1])
    assert levels.strides == ((2, 2, 2),)
    # 512 voxels: two convolutions down, one enlarged map, two up, 2 outputs; 64 below: two convolutions.
    values = 512 * (5 * 32 + 2) + 64 * 2 * 64
    assert memory_gb([8, 8, 8], levels, channels=[32, 64], outputs=2) == pytest.approx(values * 8 / 560e6)


def test_a_step_has_two_crops_at_least_and_no_more_than_the_memory_holds() -> None:
    small = {"patch": [40, 40, 40], "dataset_voxels": 1e9, "most": 12}
    assert crops_in_a_step(9.0, budget_gb=1.5, **small) == 2
    assert crops_in_a_step(0.75, budget_gb=1.5, **small) == 4
    assert crops_in_a_step(0.01, budget_gb=1.5, **small) == 12
    assert crops_in_a_step(0.01, budget_gb=1.5, **small | {"dataset_voxels": 64e3 * 60}) == 3


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(*[st.integers(1, 700)] * 3),
    st.tuples(*[st.floats(0.1, 12, allow_nan=False)] * 3),
    st.sampled_from([0.2, 1.5, 8.0]),
)
def test_every_patch_fits_its_network(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], budget: float
) -> None:
    field = tuple(n * width for n, width in zip(shape, spacing, strict=True))
    plan = make_plan(
        fingerprint(shape_vox=shape, spacing_mm=spacing, fine_spacing_mm=spacing, field_mm=field), budget_gb=budget
    )
    assert plan.memory_gb <= budget + 0.01
    for axis in range(3):
        unit = math.prod(stride[axis] for stride in plan.strides)
        assert plan.roi_size[axis] % unit == 0
        assert unit == 1 or plan.roi_size[axis] // unit < 12
    assert len(plan.channels) == len(plan.kernels) == len(plan.strides) + 1


def test_intensities_follow_the_modality() -> None:
    assert make_plan(fingerprint()).intensity == "mean"
    skull_stripped = dataclasses.replace(MR, zero_share=0.6)
    assert make_plan(fingerprint(intensities={"mr": skull_stripped})).intensity == "median"
    assert make_plan(fingerprint(intensities={"mr": skull_stripped})).crop
    ct = make_plan(fingerprint(modalities=("ct",), intensities={"ct": CT}))
    assert (ct.intensity, ct.window, ct.crop) == ("ct", (-41, 176), False)


def test_labels_that_tell_the_ends_of_an_axis_apart_forbid_mirroring_it() -> None:
    assert make_plan(fingerprint()).mirror_axes == (0, 1, 2)
    assert make_plan(fingerprint(labels={1: "kidney_left", 2: "kidney_right"})).mirror_axes == (1, 2)
    assert make_plan(fingerprint(labels={1: "Anterior", 2: "Posterior"})).mirror_axes == (0, 2)


def test_the_bundle_for_any_organ_holds_the_plan_for_spleen() -> None:
    values = plan_values(make_plan(SPLEEN, budget_gb=8, first_channels=32), SPLEEN, convention={"spleen": 1})
    config = compose("msd_organ_segmentation", "train").config
    assert {key: config[key] for key in values} == values


def test_a_plan_is_a_file_of_overrides(tmp_path: Any) -> None:
    found = fingerprint(labels={1: "Anterior", 2: "Posterior"})
    plan = make_plan(found)
    values = plan_values(plan, found, convention={"anterior": 1, "posterior": 2})
    file = tmp_path / "plan.yaml"
    file.write_text(plan_yaml(values, reasons(plan, found), title="toy"))
    assert yaml.safe_load(file.read_text()) == values
    config = compose("msd_organ_segmentation", "train", overrides=[f"@{file}", "batch_size=3"]).config
    assert config["roi_size"] == plan.roi_size
    assert config["label_convention"] == {"anterior": 1, "posterior": 2}
    assert config["batch_size"] == 3, "what comes later counts"
    assert "batch_size" not in compose("msd_organ_segmentation", "inference", overrides=[f"@{file}"]).config
    file.write_text("spacing_m: [1, 1, 1]\n")
    with pytest.raises(ConfigError, match="Did you mean 'spacing_mm'"):
        compose("msd_organ_segmentation", "train", overrides=[f"@{file}"])
    with pytest.raises(ConfigError, match="there is no file"):
        compose("msd_organ_segmentation", "train", overrides=["@nowhere.yaml"])


def test_a_plan_of_the_bundle_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = compose("lung_nodule_ct_detection", "train", overrides=["@light.yaml"]).config
    assert (config["network_def"], config["batch_size"]) == ("@light_fpn", 16)
    with pytest.raises(ConfigError, match=r"no file lite\.yaml.* The bundle's own: @light\.yaml\.$"):
        compose("lung_nodule_ct_detection", "train", overrides=["@lite.yaml"])
    (tmp_path / "light.yaml").write_text("batch_size: 3\n")  # a file of the user's comes first
    assert compose("lung_nodule_ct_detection", "train", overrides=["@light.yaml"]).config["batch_size"] == 3


def test_the_phantom_suite_trains_as_the_light_plan_says() -> None:
    plan = yaml.safe_load((find_bundle("lung_nodule_ct_detection") / "configs/plans/light.yaml").read_text())
    suite = yaml.safe_load(list_suites()["luna16_phantom"].read_text())
    assert all(suite["entries"][0]["overrides"][key] == value for key, value in plan.items())
