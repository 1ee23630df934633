import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medseg.kernels.confusion import label_confusion, labels_present

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)
# Many zeros, as in a scan, so that whole words of background are skipped.
VALUES = st.sampled_from([0, 0, 0, 0, 1, 2, 7, 255])


@st.composite
def label_pairs(draw):
    shape = draw(SHAPES)
    return tuple(draw(hnp.arrays(np.uint8, shape, elements=VALUES)) for _ in range(2))


@settings(max_examples=60, deadline=None)
@given(label_pairs())
def test_counts_and_boxes_equal_plain_numpy(pair):
    reference, prediction = pair
    counts, boxes = label_confusion(reference, prediction)
    assert counts.sum() == reference.size
    for a in (0, 1, 2, 7, 255):
        for b in (0, 1, 2, 7, 255):
            assert counts[a, b] == ((reference == a) & (prediction == b)).sum()
        inside = np.argwhere((reference == a) | (prediction == a))
        if a and len(inside):
            assert boxes[a].tolist() == [*inside.min(axis=0), *(inside.max(axis=0) + 1)]
        elif a:
            assert boxes[a, 0] > boxes[a, 3]


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, SHAPES, elements=VALUES), st.sampled_from("CF"))
def test_labels_present_in_either_memory_order(labels, order):
    assert labels_present(np.asarray(labels, order=order)) == set(np.unique(labels).tolist()) - {0}


def test_read_only_maps_and_an_empty_map():
    labels = np.ones((2, 2, 2), dtype=np.uint8)
    labels.flags.writeable = False
    assert label_confusion(labels, labels)[0][1, 1] == 8
    empty = np.zeros((0, 3, 3), dtype=np.uint8)
    counts, boxes = label_confusion(empty, empty)
    assert counts.sum() == 0
    assert boxes[1, 0] > boxes[1, 3]
    assert labels_present(empty) == set()


@pytest.mark.parametrize("voxels", [1, 7, 8, 9, 23])
def test_the_voxels_after_the_last_whole_word_count(voxels):
    labels = np.zeros((1, 1, voxels), dtype=np.uint8)
    labels[0, 0, -1] = 5
    counts, boxes = label_confusion(labels, labels)
    assert counts[5, 5] == 1
    assert boxes[5].tolist() == [0, 0, voxels - 1, 1, 1, voxels]
