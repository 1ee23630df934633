import gzip
import zlib

import itk
import numpy as np
import pytest

from medseg.errors import DataError
from medseg.volumes import Volume, read_geometry, read_volume, voxels_to_world, write_volume
from medseg.volumes.metaimage_files import ELEMENT_TYPES

SHAPE = (4, 5, 6)
TURNED = "0 1 0 0.6 0 0.8 0.8 0 -0.6"
MATRICES = ("1 0 0 0 1 0 0 0 1", "-1 0 0 0 -1 0 0 0 1", "0 1 0 0 0 1 -1 0 0", TURNED)
UNWRAPPED = {"MET_CHAR", "MET_LONG_LONG", "MET_ULONG_LONG"}  # itk.imread has no template for them


def _voxels(dtype="<i2", shape=SHAPE):
    values = np.random.default_rng(3).integers(0, 120, shape)
    return values.astype(dtype)


def _write(folder, data, *, name="a.mhd", raw="a.raw", drop=(), **fields):
    """A file and its header; keyword arguments replace the header's lines."""
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": MATRICES[0],
        "Offset": "-10.5 20.25 -300",
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "RAI",
        "ElementSpacing": "0.7 0.8 2.5",
        "DimSize": "4 5 6",
        "ElementType": "MET_SHORT",
        **fields,
        "ElementDataFile": raw,
    }
    path = folder / name
    text = "".join(f"{key} = {value}\n" for key, value in header.items() if key not in drop).encode()
    if raw == "LOCAL":
        path.write_bytes(text + data)
    else:
        path.write_bytes(text)
        if data is not None:
            (folder / raw).write_bytes(data)
    return path


def _as_itk(path):
    """Voxels `(X, Y, Z)` and the RAS affine that ITK's image has at this path."""
    image = itk.imread(str(path))
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    points = [image.TransformIndexToPhysicalPoint([int(i) for i in corner]) for corner in corners]
    world = np.array([[-point[0], -point[1], point[2]] for point in points])
    affine = np.eye(4)
    affine[:3, 3], affine[:3, :3] = world[0], (world[1:] - world[0]).T
    return itk.array_from_image(image).transpose(2, 1, 0), affine


def _agrees_with_itk(path):
    volume = read_volume(path)
    array, affine = _as_itk(path)
    assert volume.array.dtype == array.dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine_ras_mm, affine, atol=1e-9)
    shape, header_affine = read_geometry(path)
    assert shape == volume.shape
    np.testing.assert_array_equal(header_affine, volume.affine_ras_mm)
    return volume


@pytest.mark.parametrize("matrix", MATRICES)
def test_voxels_and_place_are_itks_in_flipped_and_oblique_scans(tmp_path, matrix):
    _agrees_with_itk(_write(tmp_path, _voxels().tobytes(order="F"), TransformMatrix=matrix))


def test_the_world_is_ras(tmp_path):
    volume = read_volume(_write(tmp_path, _voxels().tobytes(order="F")))
    assert volume.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    np.testing.assert_allclose(voxels_to_world(volume.affine_ras_mm, [1, 2, 3])[0], [9.8, -21.85, -292.5])


@pytest.mark.parametrize("element", sorted(set(ELEMENT_TYPES) - UNWRAPPED))
@pytest.mark.parametrize("msb", ["False", "True"])
def test_every_element_type_in_both_byte_orders_is_itks(tmp_path, element, msb):
    data = _voxels(np.dtype(ELEMENT_TYPES[element]).newbyteorder(">" if msb == "True" else "<"))
    path = _write(tmp_path, data.tobytes(order="F"), ElementType=element, BinaryDataByteOrderMSB=msb)
    assert _agrees_with_itk(path).array.dtype.isnative


@pytest.mark.parametrize("element", sorted(UNWRAPPED))
def test_types_that_itks_python_has_no_image_for(tmp_path, element):
    data = _voxels(np.dtype(ELEMENT_TYPES[element]).newbyteorder("<"))
    volume = read_volume(_write(tmp_path, data.tobytes(order="F"), ElementType=element))
    assert volume.array.dtype == data.dtype
    np.testing.assert_array_equal(volume.array, data)


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
@pytest.mark.parametrize("raw", ["a.zraw", "LOCAL"])
def test_compressed_voxels_beside_and_behind_the_header(tmp_path, pack, raw):
    packed = pack(_voxels().tobytes(order="F"))
    _agrees_with_itk(_write(tmp_path, packed, raw=raw, CompressedData="True", CompressedDataSize=len(packed)))
    # Behind the header and without its size, ITK finds no stream and returns what lay in memory.
    volume = read_volume(_write(tmp_path, packed, raw=raw, CompressedData="True"))
    np.testing.assert_array_equal(volume.array, _voxels())


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_mha_and_other_spellings_of_a_header(tmp_path, ending):
    path = _write(tmp_path, _voxels().tobytes(order="F"), name="a.mha", raw="LOCAL")
    _agrees_with_itk(path)
    lines = "NDims=3|DimSize = 4 5 6|Position = 1 2 3|Rotation = -1 0 0 0 -1 0 0 0 1|ElementSize = 1 2 3"
    lines += "|ElementByteOrderMSB = False|ElementType = MET_SHORT|ElementDataFile = LOCAL"
    path.write_bytes(ending.join([*lines.split("|"), ""]).encode() + _voxels().tobytes(order="F"))
    _agrees_with_itk(path)


def test_a_header_size_and_voxels_at_the_end_of_the_file(tmp_path):
    data = b"seven__" + _voxels().tobytes(order="F")
    for size in ("7", "-1"):
        _agrees_with_itk(_write(tmp_path, data, HeaderSize=size))


def test_channels_are_last(tmp_path):
    data = _voxels("<f4", (*SHAPE, 3))
    stored = np.moveaxis(data, -1, 0).tobytes(order="F")
    path = _write(tmp_path, stored, ElementNumberOfChannels="3", ElementType="MET_FLOAT")
    np.testing.assert_array_equal(read_volume(path).array, data)
    assert read_geometry(path)[0] == (*SHAPE, 3)
    array = itk.array_from_image(itk.imread(str(path), itk.Vector[itk.F, 3]))
    np.testing.assert_array_equal(array.transpose(2, 1, 0, 3), data)


def test_what_is_changed_in_memory_stays_there(tmp_path):
    path = _write(tmp_path, _voxels().tobytes(order="F"))
    volume = read_volume(path)
    volume.array[:] = -1
    np.testing.assert_array_equal(read_volume(path).array, _voxels())


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, np.bool_])
def test_what_is_written_is_read_by_itk_in_the_same_place(tmp_path, dtype):
    affine = read_volume(_write(tmp_path, _voxels().tobytes(order="F"), TransformMatrix=TURNED)).affine_ras_mm
    source = Volume(array=_voxels(), affine_ras_mm=affine, path=tmp_path / "memory")
    written = _agrees_with_itk(write_volume(tmp_path / "b.mha", _voxels().astype(dtype), like=source))
    np.testing.assert_array_equal(written.array, _voxels().astype(dtype))
    np.testing.assert_allclose(written.affine_ras_mm, affine, atol=1e-12)
    maps = _voxels("<f4", (*SHAPE, 2))
    np.testing.assert_array_equal(read_volume(write_volume(tmp_path / "v.mha", maps, like=source)).array, maps)


def test_types_that_the_format_lacks_are_not_written(tmp_path):
    source = Volume(array=_voxels(), affine_ras_mm=np.eye(4), path=tmp_path / "memory")
    with pytest.raises(DataError, match=r"c\.mha: float16 voxels have no place in a MetaImage file"):
        write_volume(tmp_path / "c.mha", _voxels(np.float16), like=source)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"NDims": "2"}, r"a\.mhd: NDims is 2\. Wanted a 3D volume"),
        ({"drop": ("NDims",)}, r"NDims is missing"),
        ({"ElementType": "MET_HALF"}, r"ElementType MET_HALF is not one of MET_CHAR, .*MET_DOUBLE\. Convert it"),
        ({"drop": ("ElementType",)}, r"ElementType is missing is not one of"),
        ({"DimSize": "4 5"}, r"DimSize is '4 5'\. Wanted 3 positive whole numbers"),
        ({"DimSize": "4 5 0"}, r"DimSize is '4 5 0'"),
        ({"DimSize": "4 5 -6"}, r"DimSize is '4 5 -6'"),
        ({"drop": ("DimSize",)}, r"DimSize is missing"),
        ({"Offset": "1 2 x"}, r"Offset is '1 2 x'\. Wanted 3 numbers: mend the header"),
        ({"Offset": "1 2 nan"}, r"Offset is '1 2 nan'"),
        ({"TransformMatrix": "1 0 0 1"}, r"TransformMatrix is '1 0 0 1'\. Wanted 9 numbers"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, r"a\.mhd: the header's affine is singular"),
        ({"ElementSpacing": "1 0 1"}, r"ElementSpacing is 1\.0 0\.0 1\.0\. Wanted three positive sizes in mm"),
        ({"drop": ("ElementSpacing",)}, r"a\.mhd: no ElementSpacing\. Wanted three sizes in mm"),
        ({"ElementNumberOfChannels": "0"}, r"ElementNumberOfChannels is '0'\. Wanted 1 positive whole number:"),
        ({"BinaryData": "False"}, r"voxels written as text are not read"),
        ({"HeaderSize": "x"}, r"HeaderSize is 'x'"),
        ({"raw": "LIST"}, r"ElementDataFile is 'LIST': slices in several files are not read"),
        ({"raw": "s%03d.raw 1 9 1"}, r"slices in several files"),
        ({"drop": ("ElementDataFile",)}, r"a\.mhd: not a readable MetaImage file \(its header has no ElementDataFile"),
    ],
)
def test_a_header_that_cannot_be_is_one_line(tmp_path, fields, message):
    path = _write(tmp_path, _voxels().tobytes(order="F"), **fields)
    for read in (read_volume, read_geometry):
        with pytest.raises(DataError, match=message):
            read(path)


@pytest.mark.parametrize("content", [b"", b"nothing\n", b"\x00" * 100_000, b"ObjectType = Nothing"])
def test_what_is_no_header_is_one_line(tmp_path, content):
    (tmp_path / "a.mhd").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.mhd: not a readable MetaImage file"):
        read_volume(tmp_path / "a.mhd")


@pytest.mark.parametrize("by", [-7, 2])
@pytest.mark.parametrize("raw", ["a.raw", "LOCAL"])
def test_voxels_that_are_cut_or_too_many_are_one_line(tmp_path, by, raw):
    data = (_voxels().tobytes(order="F") + b"more")[: 240 + by]
    path = _write(tmp_path, data, raw=raw)
    name = "a.raw" if raw == "a.raw" else "a.mhd"
    with pytest.raises(DataError, match=rf"{name}: {240 + by} bytes of voxels; .* wants 240 \(4x5x6, int16\)\. Copy"):
        read_volume(path)
    assert read_geometry(path)[0] == SHAPE


def test_voxels_at_the_end_of_a_file_that_is_too_short(tmp_path):
    path = _write(tmp_path, b"short", HeaderSize="-1")
    with pytest.raises(DataError, match=r"a\.raw: 5 bytes of voxels"):
        read_volume(path)


def test_missing_voxels_are_one_line(tmp_path):
    with pytest.raises(DataError, match=r"a\.mhd: its voxels, a\.raw, are missing\. Copy that file beside the header"):
        read_volume(_write(tmp_path, None))
    with pytest.raises(DataError, match=r"its voxels, b\.zraw, are missing"):
        read_volume(_write(tmp_path, None, raw="b.zraw", CompressedData="True"))


def test_damaged_compression_is_one_line(tmp_path):
    plain = _voxels().tobytes(order="F")
    packed = zlib.compress(plain)
    cases = {
        r"damaged compression": b"\x78\x9c" + b"garbage" * 9,
        r"more than 240 bytes of voxels": zlib.compress(plain + b"more"),
        r"238 bytes of voxels": zlib.compress(plain[:-2]),
        r"(bytes of voxels|end too soon)": packed[:-10],
        r"end too soon": packed[:-2],
        r"damaged compression.*data check": packed[:-1] + bytes([packed[-1] ^ 1]),
    }
    for message, data in cases.items():
        path = _write(tmp_path, data, raw="a.zraw", CompressedData="True")
        with pytest.raises(DataError, match=message):
            read_volume(path)
