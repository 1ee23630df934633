import numpy as np
import pytest
import torch
from monai.apps.detection.utils.anchor_utils import AnchorGenerator, AnchorGeneratorWithAnchorShape

from medseg.errors import ConfigError, DataError
from medseg.kernels.anchors import anchor_boxes, anchors_with_ratios, anchors_with_shapes

SIZE, MAPS = (48, 32, 40), [(12, 8, 20), (6, 4, 10)]
SHAPES = [[6, 8, 4], [8, 6, 5], [10, 10, 6]]  # the model zoo's LUNA16 bundle
SIZES, RATIOS = [[5, 8], [11, 16]], [[(1, 1), (0.5, 1), (2, 3)]] * 2


def all_of_monai(generator):
    return generator(torch.zeros(1, 1, *SIZE), [torch.zeros(1, 1, *cells) for cells in MAPS])[0].numpy()


@pytest.mark.parametrize(
    ("ours", "monai"),
    [
        (anchors_with_shapes(SHAPES, (1, 2)), AnchorGeneratorWithAnchorShape((1, 2), SHAPES)),
        (anchors_with_shapes([[5, 7, 3]], (1, 1.5)), AnchorGeneratorWithAnchorShape((1, 1.5), [[5, 7, 3]])),
        (anchors_with_ratios(SIZES, RATIOS), AnchorGenerator(SIZES, RATIOS)),
    ],
)
def test_every_anchor_is_monais(ours, monai):
    expected = all_of_monai(monai)
    found = anchor_boxes(SIZE, ours.levels(SIZE, MAPS), np.arange(len(expected)))
    assert np.array_equal(found, expected)


def test_numbers_may_come_in_any_order():
    levels = anchors_with_shapes(SHAPES, (1, 2)).levels(SIZE, MAPS)
    numbers = np.array([6000, 3, 5760, 3])
    assert np.array_equal(anchor_boxes(SIZE, levels, numbers)[::-1], anchor_boxes(SIZE, levels, numbers[::-1]))


@pytest.mark.parametrize("number", [-1, 6480])
def test_a_number_beyond_the_anchors_is_refused(number):
    with pytest.raises(DataError, match="there are 6480 anchors"):
        anchor_boxes(SIZE, anchors_with_shapes(SHAPES, (1, 2)).levels(SIZE, MAPS), [number])


def test_maps_must_match_the_levels():
    anchors = anchors_with_shapes(SHAPES, (1, 2))
    with pytest.raises(DataError, match="2 levels for 1 feature maps"):
        anchors.levels(SIZE, MAPS[:1])
    with pytest.raises(DataError, match="does not fit"):
        anchors.levels((8, 8, 8), MAPS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: anchors_with_shapes([[6, 8]]), "triples"),
        (lambda: anchors_with_shapes(SHAPES, ()), "no scale"),
        (lambda: anchors_with_shapes([[1, 1, 1]]), "shorter than a voxel"),
        (lambda: anchors_with_ratios([[8]], []), "1 levels of sizes for 0"),
        (lambda: anchors_with_ratios([[8]], [[1, 1]]), "pairs"),
        (lambda: anchors_with_ratios([[8], [8, 16]], [[(1, 1)], [(1, 1)]]), "same number"),
    ],
)
def test_bad_anchors_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
