import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.inference import SlidingWindow
from medseg.inference.native_grid import NativeGrid
from medseg.inference.same_grid import SameGridLabels, best_class_on_device
from medseg.inference.tile_merge import TileMerge
from medseg.inference.tile_store import TileStore
from medseg.inference.tiling import Tiling


def network(classes):
    """Scores of whole numbers, so that many are alike and sums are exact in any order."""
    factors = torch.arange(1, classes + 1).reshape(1, -1, 1, 1, 1) * 7 % 5 - 2.0
    return lambda windows: windows * factors + windows[:, :, :1, :1, :1]


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(3, 20)] * 3),
    st.tuples(*[st.integers(4, 9)] * 3),
    st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    st.integers(1, 6),
    st.sampled_from(["none", "softmax"]),
    st.integers(0, 2**31),
)
def test_labels_equal_the_argmax_of_the_merged_scores(shape, roi, overlap, classes, activation, seed):
    image = torch.from_numpy(np.random.default_rng(seed).integers(-3, 4, (1, 1, *shape)).astype(np.float32))
    infer = SlidingWindow(roi, overlap=overlap, mode="constant")
    best = infer(image, network(classes))[0].argmax(0).numpy()
    grid = NativeGrid.same(shape).moved((1, -2, 0))  # a grid of which a part has no scores
    expected = np.zeros(shape, np.uint8)
    expected[1:, : shape[1] - 2] = best[:-1, 2:]
    found = infer.predict_labels(image, network(classes), grid=grid, activation=activation)
    assert np.array_equal(found.labels, expected)


@pytest.mark.parametrize("shape", [(16, 12, 10), (10, 12, 16)])
def test_the_torch_twin_equals_the_kernel(shape):
    generator = torch.Generator().manual_seed(0)
    tiling = Tiling.over(shape, (8, 8, 8), overlap=(0.5,) * 3)
    grid, weights = NativeGrid.same(shape), torch.rand(8, 8, 8, generator=generator) + 0.1
    inside = [(0, side) for side in shape]
    labels = SameGridLabels(grid, channels=5, inside=inside, threads=2)
    merge = TileMerge(tiling, TileStore(5, torch.device("cpu")), weights, margin=0, threads=1)
    seen = 0
    for number in range(len(tiling.windows)):
        for visit in merge.add(number, torch.randn(5, 8, 8, 8, generator=generator)):
            sums = None if visit.sums is None else visit.sums.clone()
            labels.write(visit)
            twin = best_class_on_device(visit._replace(sums=sums)).numpy()
            here = tuple(slice(a, a + n) for a, n in zip(visit.first, visit.size, strict=True))
            assert (twin == labels.labels[here]).mean() > 0.999  # addcmul may round once where the kernel rounds twice
            seen += twin.size
    assert seen == labels.labels.size
