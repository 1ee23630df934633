import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import ConfigError
from medseg.transforms import DropSmallComponentsd


@pytest.fixture
def regions():
    """Inner region 0 inside outer region 1: a block of 64 voxels, one of 8, and a single voxel with an inner one."""
    masks = torch.zeros(2, 12, 12, 12)
    masks[1, 0:4, 0:4, 0:4] = 1
    masks[1, 6:8, 6:8, 6:8] = 1
    masks[:, 11, 11, 11] = 1
    return masks


@pytest.mark.parametrize(("share", "kept"), [(0.0, 73), (0.1, 72), (0.125, 72), (0.2, 64), (1.0, 64)])
def test_components_below_the_share_of_the_largest_go(regions, share, kept):
    cleaned = DropSmallComponentsd("pred", share, outer=1)({"pred": regions})["pred"]
    assert cleaned[1].sum() == kept


def test_an_inner_region_goes_with_its_speck(regions):
    assert regions[0].sum() == 1
    assert DropSmallComponentsd("pred", 0.1, outer=1)({"pred": regions})["pred"][0].sum() == 0


def test_voxels_that_touch_at_a_corner_are_one_component():
    masks = torch.zeros(1, 4, 4, 4)
    masks[0, 0, 0, 0] = masks[0, 1, 1, 1] = masks[0, 2, 2, 2] = 1
    assert torch.equal(DropSmallComponentsd("pred", 1.0)({"pred": masks})["pred"], masks)


def test_an_empty_mask_stays_empty():
    assert not DropSmallComponentsd("pred", 0.5)({"pred": torch.zeros(1, 2, 2, 2)})["pred"].any()


@given(st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_it_only_removes_and_a_second_pass_changes_nothing(share, seed):
    masks = torch.from_numpy(np.random.default_rng(seed).random((1, 5, 5, 5)) < 0.2).float()
    clean = DropSmallComponentsd("pred", share)
    once = clean({"pred": masks})["pred"]
    assert (once <= masks).all()
    assert torch.equal(clean({"pred": once})["pred"], once)


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ConfigError, match="outside 0 to 1"):
        DropSmallComponentsd("pred", 1.5)
