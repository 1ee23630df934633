import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from medseg.inference.windows import importance, read_window, windows_over

sizes = st.tuples(*[st.integers(1, 12).map(lambda n: 16 * n)] * 3)


@settings(max_examples=50, deadline=None)
@given(image=sizes, window=sizes, overlap=st.sampled_from([0.0, 0.25, 0.5]))
def test_windows_lie_where_monai_puts_them(image, window, overlap):
    found = windows_over(image, window, overlap=overlap, divisible=(4, 4, 4))
    window = tuple(min(pair) for pair in zip(window, image, strict=True))
    interval = _get_scan_interval(image, window, 3, (overlap,) * 3)
    expected = {tuple(part.start for part in place) for place in dense_patch_slices(image, window, interval)}
    starts = [start for row in found.rows() for start in row]
    assert set(starts) == expected
    assert len(starts) == found.count == len(expected)
    assert all(len({start[found.axis] for start in row}) == 1 for row in found.rows())


def test_windows_start_where_cells_do_and_cover_the_padded_scan():
    found = windows_over((100, 50, 33), (48, 48, 48), overlap=0.3, divisible=(16, 16, 8))
    assert found.image_size == (112, 64, 40)
    assert found.size == (48, 48, 40)
    assert found.starts == ((0, 32, 64), (0, 16), (0,))


def test_a_window_of_the_mirrored_padded_scan():
    image = torch.randn(2, 10, 7, 5)
    whole = torch.nn.functional.pad(image.flip([1, 3]), [0, 3, 0, 1, 0, 2])
    for start in [(0, 0, 0), (8, 4, 4), (4, 0, 0)]:
        expected = whole[:, start[0] : start[0] + 4, start[1] : start[1] + 4, start[2] : start[2] + 4]
        assert torch.equal(read_window(image, start, (4, 4, 4), flips=(0, 2)), expected)


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
def test_weights_of_a_window_are_positive_and_largest_amid_it(blend):
    for weights in importance((16, 16, 8), [(8, 8, 8), (4, 4, 4)], blend=blend, device=torch.device("cpu")):
        assert (weights > 0).all()
        assert weights[0, 2, 2, 2] >= weights[0, 0, 0, 0]
