import numpy as np
import pytest
import torch

from medseg.errors import DataError
from medseg.inference.foreground import foreground_box
from medseg.inference.native_grid import NativeGrid
from medseg.inference.native_labels import labels_on_device
from medseg.kernels.native_labels import resampled_argmax, resampled_threshold, taps_at


def test_labels_go_through_the_view_along_the_networks_axes():
    affine = np.array([[0, 0, 2.0, 5], [-0.8, 0, 0, 7], [0, 0.9, 0, -3], [0, 0, 0, 1]])
    grid = NativeGrid.of((4, 5, 6), affine, network_affine_ras_mm=np.eye(4), network_shape=(30, 30, 30))
    assert grid.axes == (2, 0, 1)
    assert grid.flips == (False, True, False)
    labels = grid.empty_labels(None, dtype=np.uint8)
    assert labels.shape == (4, 5, 6)
    view = grid.along_network(labels)
    assert view.flags.c_contiguous
    view[1, 0, 2] = 7  # second along x, first along y, third along z of the world
    assert np.argwhere(labels).tolist() == [[3, 2, 1]]
    assert grid.empty_labels(3, dtype=np.uint8, fill=1).min() == 1


def test_a_turned_grid_is_refused():
    angle = np.radians(5)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    with pytest.raises(DataError, match="turned against the network's"):
        NativeGrid.of((4, 4, 4), affine, network_affine_ras_mm=np.eye(4), network_shape=(4, 4, 4))


def test_parts_cover_every_voxel_once():
    grid = NativeGrid.of(
        (33, 1, 1), np.diag([0.7, 1, 1, 1]), network_affine_ras_mm=np.diag([1.5, 1, 1, 1]), network_shape=(16, 1, 1)
    )
    seen = np.zeros(33, int)
    for first, size in ((0, 5), (5, 1), (6, 10)):
        slices, taps = grid.part((first, 0, 0), (size, 1, 1), last=(first == 6, True, True))
        seen[slices[0]] += 1
        assert taps[0].high.max() <= size + (first == 6)
    assert (seen == 1).all()


@pytest.mark.parametrize("threshold", [None, 0.1])
def test_the_torch_twin_equals_the_kernel(threshold, monkeypatch):
    monkeypatch.setattr("medseg.inference.native_labels._AT_ONCE", 3000)  # several parts
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4, 6, 7, 8), np.float32)
    taps = tuple(taps_at(np.linspace(0, size - 1, 2 * size + 3)) for size in (6, 7, 8))
    shape = tuple(len(axis.low) for axis in taps)
    if threshold is None:
        out = np.zeros(shape, np.uint8)
        resampled_argmax(scores, taps, out)
    else:
        out = np.zeros((4, *shape), np.uint8)
        resampled_threshold(scores, taps, out, threshold=threshold)
    assert np.array_equal(labels_on_device(torch.from_numpy(scores), taps, threshold=threshold), out)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("max_memory_mb", [None, 40])
def test_labels_merged_on_a_gpu_equal_those_merged_on_the_cpu(max_memory_mb):
    from medseg.inference import SlidingWindow

    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 20, 3, padding=1).eval()
    image = torch.randn(1, 1, 90, 60, 60)
    expected = SlidingWindow((32, 32, 32)).predict_labels(image, network)
    infer = SlidingWindow((32, 32, 32), max_memory_mb=max_memory_mb)
    found = infer.predict_labels(image.cuda(), network.cuda())
    assert (found.labels != expected.labels).mean() < 1e-3  # TF32 and another order of sums


def test_the_foreground_box_grows_to_a_window_and_stays_inside():
    image = torch.zeros(2, 20, 10, 6)
    image[1, 18:, 4, 0] = -1
    assert foreground_box(image, least=(8, 4, 9)) == (slice(12, 20), slice(2, 6), slice(0, 6))
    image[0, 2] = 3
    assert foreground_box(image, least=(8, 4, 9)) == (slice(2, 20), slice(0, 10), slice(0, 6))
    assert foreground_box(image * 0, least=(8, 4, 9)) == (slice(0, 20), slice(0, 10), slice(0, 6))
