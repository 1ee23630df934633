import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.errors import ConfigError, DataError
from medseg.labels import CONVENTIONS, get_convention, labels_to_regions, regions_to_labels

# The values of each region, read off the challenges' own descriptions, not off the table under test.
PUBLISHED = {
    "brats2015": {"TC": {1, 3, 4}, "WT": {1, 2, 3, 4}, "ET": {4}},
    "brats2017": {"TC": {1, 4}, "WT": {1, 2, 4}, "ET": {4}},
    "brats2021": {"TC": {1, 4}, "WT": {1, 2, 4}, "ET": {4}},
    "brats2023": {"TC": {1, 3}, "WT": {1, 2, 3}, "ET": {3}},
    "brats2024": {"TC": {1, 3}, "WT": {1, 2, 3}, "ET": {3}},
    "msd_task01": {"TC": {2, 3}, "WT": {1, 2, 3}, "ET": {3}},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_value_belongs_to_the_published_regions(name):
    convention = get_convention(name)
    for value in convention.values:
        masks = labels_to_regions(np.full((1, 1, 1), value), convention)
        found = {region for region, mask in zip(convention.regions, masks, strict=True) if mask.all()}
        assert found == {region for region, values in PUBLISHED[name].items() if value in values}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_channels_come_in_the_order_tc_wt_et(name):
    assert list(get_convention(name).regions) == ["TC", "WT", "ET"]


@pytest.mark.parametrize("name", CONVENTIONS)
@given(data=st.data())
def test_regions_survive_the_way_to_labels_and_back(name, data):
    convention = get_convention(name)
    values = st.sampled_from([0, *convention.values])
    labels = data.draw(hnp.arrays(np.uint8, (3, 4, 2), elements=values))
    regions = labels_to_regions(labels, convention)
    painted = regions_to_labels(regions, convention)
    assert np.array_equal(labels_to_regions(painted, convention), regions)
    told_apart = name not in ("brats2015", "brats2024")  # 2015: values 1 and 3 share their regions; 2024: 4 has none
    assert not told_apart or np.array_equal(painted, labels)


def test_a_value_outside_the_convention_is_refused_by_name():
    with pytest.raises(DataError, match=r"case7: label values \[3\] are outside the convention"):
        labels_to_regions(np.array([[[0, 3]]]), get_convention("brats2017"), where="case7")


def test_an_unknown_convention_names_the_known_ones():
    with pytest.raises(ConfigError, match="Known: brats2015"):
        get_convention("brats1999")


def test_an_inner_region_outside_its_outer_keeps_its_label():
    convention = get_convention("brats2017")
    only_enhancing = np.array([False, False, True]).reshape(3, 1, 1, 1)
    assert regions_to_labels(only_enhancing, convention).item() == 4


@pytest.mark.parametrize("page", ["docs/data.md", "bundles/brats_mri_segmentation/docs/README.md"])
def test_the_documented_tables_are_this_one(page):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith(("| `brats20", "| `msd_"))]
    told = {name: cells for names, *cells in rows for name in re.findall(r"`(\w+)`", names)}
    assert set(told) == set(CONVENTIONS)
    for name, (values, *regions) in told.items():
        convention = get_convention(name)
        assert {int(number) for number in re.findall(r"\d", values)} == set(convention.values)
        assert [tuple(map(int, cell.split())) for cell in regions] == [
            convention.regions[r] for r in ("TC", "WT", "ET")
        ]
