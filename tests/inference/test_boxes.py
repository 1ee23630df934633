import numpy as np
import pytest
import torch

from medseg.inference.boxes import box_iou, clip_boxes, flip_boxes, nms, nms_in_blocks
from medseg.kernels import boxes as box_kernel
from medseg.kernels import nms as nms_kernel

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def random_marks(count, *, seed):
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 80, (count, 3))
    boxes = np.concatenate([low, low + draw.uniform(0, 25, (count, 3))], axis=1).astype(np.float32)
    return boxes, draw.random(count).astype(np.float32).round(2), draw.integers(0, 2, count)


@pytest.mark.parametrize("device", DEVICES)
def test_overlaps_equal_the_kernels(device):
    a, b = random_marks(60, seed=0)[0], random_marks(40, seed=1)[0]
    found = box_iou(torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)).cpu()
    assert np.allclose(found, box_kernel.box_iou(a, b), atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("block", [7, 64, 1024])
@pytest.mark.parametrize("max_kept", [None, 5])
def test_suppression_in_blocks_equals_the_kernels(device, block, max_kept):
    marks = random_marks(300, seed=2)
    options = {"iou_threshold": 0.2, "max_kept": max_kept}
    tensors = [torch.from_numpy(part).to(device) for part in marks]
    found = nms_in_blocks(*tensors, **options, block=block).cpu()
    assert found.tolist() == nms_kernel.nms(*marks, **options).tolist() == nms(*tensors, **options).tolist()


def test_suppression_of_nothing():
    assert nms_in_blocks(torch.zeros(0, 6), torch.zeros(0), torch.zeros(0), iou_threshold=0.5).shape == (0,)


def test_clipping_and_mirroring_twice():
    boxes = torch.from_numpy(random_marks(50, seed=3)[0])
    clipped, wide = clip_boxes(boxes, (50, 60, 70))
    assert (clipped[wide][:, 3:] <= torch.tensor([50, 60, 70])).all()
    assert torch.allclose(flip_boxes(flip_boxes(boxes, (50, 60, 70), (0, 2)), (50, 60, 70), (0, 2)), boxes, atol=1e-5)
