import pytest
import torch

from medseg.inference.candidates import Candidates
from medseg.kernels.anchors import AnchorLevel, anchors_with_shapes

CELLS = (4, 3, 6)
LEVEL = AnchorLevel((4, 4, 2), anchors_with_shapes([[6, 8, 4], [4, 4, 4]], (1,)).boxes[0], CELLS)
SIZE = (16, 12, 12)


def collected(logits, offsets, *, parts, **options):
    found = Candidates(CELLS, per_cell=2, **{"threshold": 0.5, "most": 1000} | options)
    for first in range(0, CELLS[2], CELLS[2] // parts):
        part = slice(first, first + CELLS[2] // parts)
        found.add(logits[..., part], offsets[..., part], first=(0, 0, first))
    return found.boxes(LEVEL, SIZE)


def maps(classes=1, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2 * classes, *CELLS, generator=draw), 0.1 * torch.randn(12, *CELLS, generator=draw)


def test_an_unmoved_candidate_is_its_anchor():
    logits = torch.full((2, *CELLS), -5.0)
    logits[1, 2, 1, 3] = 2.0
    boxes, scores, labels = collected(logits, torch.zeros(12, *CELLS), parts=1)
    assert boxes.tolist() == [[8, 4, 5, 12, 8, 9]]  # a 4 x 4 x 4 anchor around (10, 6, 7)
    assert scores.tolist() == pytest.approx([0.8808], abs=1e-4)
    assert labels.tolist() == [0]


@pytest.mark.parametrize("options", [{}, {"most": 7}, {"threshold": 0.0, "most": 50}, {"threshold": 1.0}])
def test_the_parts_make_no_difference(options):
    logits, offsets = maps(classes=3)
    whole = collected(logits, offsets, parts=1, **options)
    for found in (collected(logits, offsets, parts=parts, **options) for parts in (2, 3, 6)):
        assert all(torch.allclose(a, b) for a, b in zip(found, whole, strict=True))


def test_only_scores_above_the_threshold_count_best_first_and_no_more_than_asked():
    logits, offsets = maps()
    scores = torch.sigmoid(logits).flatten()
    found = collected(logits, offsets, parts=3, threshold=0.6)[1]
    assert torch.allclose(found, scores[scores > 0.6].sort(descending=True).values)
    assert torch.allclose(collected(logits, offsets, parts=3, threshold=0.6, most=5)[1], found[:5])


def test_of_equal_scores_the_lowest_numbers_stay():
    boxes, _, labels = collected(torch.ones(4, *CELLS), torch.zeros(12, *CELLS), parts=2, most=4)
    assert labels.tolist() == [0, 1, 0, 1]
    assert boxes[:, 2].tolist() == [-1, -1, -1, -1]


def test_nothing_found_is_empty():
    boxes, scores, labels = collected(torch.full((2, *CELLS), -9.0), torch.zeros(12, *CELLS), parts=2)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 6), (0,), (0,))
