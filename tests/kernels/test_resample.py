import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medseg.errors import DataError
from medseg.kernels.resample import resample, resample_at, resampled_shape

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9)
SPACINGS = st.tuples(*[st.floats(0.3, 5.0)] * 3)
FLIPS = st.tuples(*[st.booleans()] * 3)


def plainly(volume, spacing_mm, *, new_spacing_mm, shape, flips):
    """Interpolates in float64, one axis after the other."""
    volume = np.flip(volume.astype(np.float64), [axis for axis in range(3) if flips[axis]])
    for axis in range(3):
        places = np.arange(shape[axis]) * (new_spacing_mm[axis] / spacing_mm[axis])
        voxels = np.arange(volume.shape[axis])
        volume = np.apply_along_axis(lambda line, p=places, v=voxels: np.interp(p, v, line), axis, volume)
    return volume


@settings(max_examples=80, deadline=None)
@given(
    SHAPES,
    SPACINGS,
    SPACINGS,
    FLIPS,
    st.sampled_from([np.int16, np.float64]),
    st.permutations(range(3)),
    st.integers(0, 2**31),
)
def test_equals_plain_interpolation_in_any_memory_order(shape, old, new, flips, dtype, order, seed):
    stored = np.random.default_rng(seed).integers(-1024, 3000, size=shape).astype(dtype)
    volume = stored.transpose(order)
    got = resample(volume, old, new_spacing_mm=new, flips=flips)
    assert got.dtype == np.float32
    assert got.shape == resampled_shape(volume.shape, old, new_spacing_mm=new)
    want = plainly(volume, old, new_spacing_mm=new, shape=got.shape, flips=flips)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-3)


@settings(max_examples=60, deadline=None)
@given(SHAPES, SPACINGS, SPACINGS, FLIPS, st.permutations(range(3)), st.integers(0, 2**31))
def test_cubic_equals_scipy_between_the_voxels(shape, old, new, flips, order, seed):
    volume = np.random.default_rng(seed).integers(-1024, 3000, size=shape).astype(np.int16).transpose(order)
    got = resample(volume, old, new_spacing_mm=new, flips=flips, order=3)
    want = np.flip(volume.astype(np.float64), [axis for axis in range(3) if flips[axis]])
    places = [
        np.minimum(np.arange(count) * new[axis] / old[axis], volume.shape[axis] - 1.0)
        for axis, count in enumerate(got.shape)
    ]
    want = ndimage.map_coordinates(want, np.meshgrid(*places, indexing="ij"), order=3, mode="nearest")
    # scipy repeats 12 edge voxels, not all; its pole to the 12th is 1e-7.
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SPACINGS, SPACINGS, FLIPS, st.integers(-(2**15), 2**15 - 1))
def test_cubic_keeps_a_constant(shape, old, new, flips, value):
    got = resample(np.full(shape, value, dtype=np.int16), old, new_spacing_mm=new, flips=flips, order=3)
    np.testing.assert_allclose(got, value, rtol=2e-6)


def test_cubic_keeps_a_cubic_away_from_the_edges():
    x = np.arange(40.0)
    line = ((x - 20) ** 3 - 50 * x).reshape(40, 1, 1)
    got = resample(line, (1, 1, 1), new_spacing_mm=(0.3, 1, 1), order=3).ravel()
    x = np.arange(got.size) * 0.3
    want = (x - 20) ** 3 - 50 * x
    inside = (x > 14) & (x < 26)
    np.testing.assert_allclose(got[inside], want[inside], atol=1e-4 * np.abs(line).max())


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int16, SHAPES), SPACINGS)
def test_cubic_goes_through_the_voxels(volume, spacing_mm):
    got = resample(volume, spacing_mm, new_spacing_mm=spacing_mm, order=3)
    np.testing.assert_allclose(got, volume, atol=4e-6 * 2**15)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SPACINGS, SPACINGS, FLIPS, st.integers(-(2**15), 2**15 - 1))
def test_a_constant_stays_that_constant_exactly(shape, old, new, flips, value):
    got = resample(np.full(shape, value, dtype=np.int16), old, new_spacing_mm=new, flips=flips)
    assert (got == value).all()


@settings(max_examples=40, deadline=None)
@given(SHAPES, SPACINGS, SPACINGS, st.tuples(*[st.floats(-20, 20)] * 3))
def test_a_ramp_stays_the_same_ramp_in_millimetres(shape, old, new, slope_per_mm):
    def ramp(counts, spacing_mm):
        grid = np.indices(counts).transpose(1, 2, 3, 0) * spacing_mm
        ends = (np.array(shape) - 1) * old  # beyond the last voxel's centre the ramp is level
        return np.minimum(grid, ends) @ np.array(slope_per_mm)

    got = resample(ramp(shape, old), old, new_spacing_mm=new)
    want = ramp(got.shape, new)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max()))


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.int16, SHAPES), SPACINGS, FLIPS)
def test_at_the_same_spacing_nothing_changes(volume, spacing_mm, flips):
    got = resample(volume, spacing_mm, new_spacing_mm=spacing_mm, flips=flips)
    np.testing.assert_array_equal(got, np.flip(volume, [axis for axis in range(3) if flips[axis]]))


VOLUME = np.arange(4 * 6 * 5, dtype=np.int16).reshape(4, 6, 5) % 17
VIEWS = {
    "Fortran order": lambda v: np.asfortranarray(v),
    "transposed": lambda v: v.transpose(2, 0, 1),
    "reversed": lambda v: v[::-1, :, ::-1],
    "with gaps": lambda v: v[:, ::2, 1::2],
    "reversed with gaps": lambda v: v[::-2],
    "one slice": lambda v: v[:, :, 2:3],
    "broadcast": lambda v: np.broadcast_to(v[:, :, :1], v.shape),
    "big-endian": lambda v: v.astype(">i2"),
    "half precision": lambda v: v.astype(np.float16),
    "mask": lambda v: v > 8,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_views_and_dtypes_give_what_a_plain_copy_gives(view):
    volume = view(VOLUME)
    spacings = {"spacing_mm": (1.0, 0.8, 3.0), "new_spacing_mm": (0.7, 1.1, 1.25), "flips": (True, False, False)}
    want = resample(np.array(volume, dtype=np.int16, order="C"), **spacings)
    volume.flags.writeable = False
    np.testing.assert_allclose(resample(volume, **spacings), want, rtol=1e-6)  # another order of axes rounds elsewhere


def test_the_result_lies_in_memory_as_the_volume_does():
    got = resample(np.asfortranarray(VOLUME), (1, 1, 1), new_spacing_mm=(0.5, 0.5, 0.5))
    assert got.flags.f_contiguous
    assert resample(VOLUME, (1, 1, 1), new_spacing_mm=(0.5, 0.5, 0.5)).flags.c_contiguous


def test_the_window_is_laid_over_the_interpolated_intensities():
    line = np.array([-2000, 0, 300, 3000], dtype=np.int16).reshape(4, 1, 1)
    got = resample(line, (2, 1, 1), new_spacing_mm=(1, 1, 1), window=(-1024, 300)).ravel()
    want = np.clip((np.array([-2000, -1000, 0, 150, 300, 1650, 3000]) + 1024) / 1324, 0, 1)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("order", [1, 3])
def test_threads_change_no_voxel(order):
    volume = np.random.default_rng(0).integers(-1024, 3000, size=(7, 9, 31)).astype(np.int16)
    options = {"new_spacing_mm": (0.9, 1.3, 1.25), "window": (-1024, 300), "order": order}
    alone = resample(volume, (1, 1, 3), **options)
    for threads in (2, 3, 99):
        shared = resample(volume, (1, 1, 3), **options, threads=threads)
        np.testing.assert_array_equal(shared, alone)


def test_a_wanted_shape_goes_on_with_the_last_voxel():
    line = np.array([0, 10], dtype=np.int16).reshape(1, 1, 2)
    got = resample(line, (1, 1, 1), new_spacing_mm=(1, 1, 0.5), new_shape=(2, 1, 5))
    assert got.tolist() == [[[0, 5, 10, 10, 10]]] * 2


def test_nan_reaches_only_the_voxels_that_it_has_a_weight_in():
    line = np.array([0, np.nan, 4, 6], dtype=np.float32).reshape(1, 1, 4)
    got = resample(line, (1, 1, 1), new_spacing_mm=(1, 1, 0.5), window=(0, 6)).ravel()
    assert np.isnan(got).tolist() == [False, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("volume", "options", "message"),
    [
        (VOLUME[0], {}, r"int16 array of shape \(6, 5\) is not a 3-D volume"),
        (VOLUME[:0], {}, "is not a 3-D volume"),
        (VOLUME.astype(complex), {}, "complex128 array .* of real numbers"),
        (VOLUME, {"spacing_mm": (1, 0, 1)}, r"spacing \(1, 0, 1\) is not three positive voxel sizes"),
        (VOLUME, {"new_spacing_mm": (1, float("nan"), 1)}, "new spacing .* is not three positive"),
        (VOLUME, {"new_spacing_mm": (1, 1)}, "new spacing .* is not three positive"),
        (VOLUME, {"new_shape": (3, 0, 3)}, r"new shape \(3, 0, 3\)"),
        (VOLUME, {"order": 2}, "order 2 is neither 1"),
        (VOLUME, {"window": (300, -1024)}, r"window \(300, -1024\) .* the lower first"),
    ],
)
def test_what_cannot_be_resampled_is_refused(volume, options, message):
    with pytest.raises(DataError, match=message):
        resample(volume, **{"spacing_mm": (1, 1, 1), "new_spacing_mm": (2, 2, 2), **options})


@pytest.mark.slow
@pytest.mark.parametrize("align_corners", [False, True])
def test_equals_monai_spacing_after_orientation(align_corners):
    import torch
    from monai.data import MetaTensor
    from monai.transforms import Orientation, Spacing

    volume = np.random.default_rng(0).integers(-1024, 3000, size=(23, 31, 17)).astype(np.int16)
    affine = np.diag([-0.6, -0.7, 3.0, 1.0])  # LPS on disk: x and y run the other way
    oriented = Orientation("RAS", labels=(("L", "R"), ("P", "A"), ("I", "S")))(
        MetaTensor(torch.from_numpy(volume)[None], affine=torch.from_numpy(affine))
    )
    want = Spacing((0.703125, 0.703125, 1.25), align_corners=align_corners)(oriented)[0].numpy()
    got = resample(
        volume, (0.6, 0.7, 3.0), new_spacing_mm=(0.703125, 0.703125, 1.25), flips=(True, True, False), threads=2
    )
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(SHAPES, SPACINGS, SPACINGS, FLIPS, st.sampled_from([np.int16, np.uint8, np.float32]), st.integers(0, 2**31))
def test_int16_is_the_float_result_rounded(shape, old, new, flips, dtype, seed):
    volume = np.random.default_rng(seed).integers(0, 250, size=shape).astype(dtype)
    got = resample(volume, old, new_spacing_mm=new, flips=flips, dtype=np.int16)
    assert got.dtype == np.int16
    np.testing.assert_array_equal(got, np.rint(resample(volume, old, new_spacing_mm=new, flips=flips)))


def test_int16_ends_where_the_type_does():
    volume = np.array([-40000.0, 40000.0, -32768.4]).reshape(1, 1, 3)
    same = {"new_spacing_mm": (1, 1, 1), "dtype": np.int16}
    assert resample(volume, (1, 1, 1), **same).ravel().tolist() == [-32768, 32767, -32768]


@pytest.mark.parametrize(("dtype", "order"), [(np.int32, 1), (np.float64, 1), (np.int16, 3)])
def test_other_dtypes_are_refused(dtype, order):
    with pytest.raises(DataError, match=r"neither float32 nor, with order 1, int16"):
        resample(np.zeros((2, 2, 2)), (1, 1, 1), new_spacing_mm=(1, 1, 1), dtype=dtype, order=order)


@settings(max_examples=20, deadline=None)
@given(SHAPES, st.permutations(range(3)), st.sampled_from([0, 1]), st.integers(0, 2**31))
def test_any_places_are_looked_up(shape, order, degree, seed):
    rng = np.random.default_rng(seed)
    volume = rng.integers(-1024, 3000, size=shape).astype(np.int16).transpose(order)
    places = [rng.uniform(-2, count + 1, size=4) for count in volume.shape]
    inside = [np.clip(at, 0, count - 1) for at, count in zip(places, volume.shape, strict=True)]
    wide = volume.astype(np.float64)
    want = ndimage.map_coordinates(wide, np.meshgrid(*inside, indexing="ij"), order=degree, mode="nearest")
    out = np.empty((4, 4, 4), np.float32)
    assert resample_at(volume, places, order=degree, out=out) is out
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=2e-3)
    np.testing.assert_array_equal(resample_at(volume, places, order=degree), out)


def test_places_and_room_must_fit():
    with pytest.raises(DataError, match="do not fit"):
        resample_at(np.zeros((2, 2, 2)), [np.zeros(1)] * 3, out=np.empty((2, 1, 1), np.float32))
    with pytest.raises(DataError, match="not three counts"):
        resample_at(np.zeros((2, 2, 2)), [np.zeros(0)] * 3)
