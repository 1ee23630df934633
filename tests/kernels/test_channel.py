import numpy as np
import pytest

from medseg.kernels.channel import copy_to_c_order


@pytest.mark.parametrize("dtype", ["int16", ">i2", "uint8", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 5), (65, 3, 130), (64, 2, 64)])
def test_any_type_and_memory_order(shape, dtype):
    volume = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 200, shape).astype(dtype)
    middle_first = np.ascontiguousarray(volume.transpose(1, 2, 0)).transpose(2, 0, 1)
    for stored in (volume, np.asfortranarray(volume), middle_first, np.asfortranarray(volume)[::-1, :, ::-1]):
        out = np.full(shape, 255, dtype=np.float32)
        copy_to_c_order(stored, out)
        np.testing.assert_array_equal(out, stored.astype(np.float32))


def test_memory_maps_and_other_targets(tmp_path):
    volume = np.asfortranarray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    path = tmp_path / "volume"
    path.write_bytes(volume.tobytes(order="F"))
    mapped = np.memmap(path, dtype=np.int16, mode="r", shape=volume.shape, order="F")
    out = np.zeros(volume.shape, dtype=np.uint8)
    copy_to_c_order(mapped, out)
    np.testing.assert_array_equal(out, volume)
