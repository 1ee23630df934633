"""Unpacking .nii.gz by isal: the same bytes as zlib, the same errors, and no need for it."""

from __future__ import annotations

import builtins
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.volumes import Volume, read_volume, write_volume
from medseg.volumes.nifti_files import _inflated


@pytest.fixture
def file(tmp_path: Path) -> Path:
    array = np.random.default_rng(0).integers(0, 9, (20, 21, 22), dtype=np.int16)
    path = tmp_path / "scan.nii.gz"
    write_volume(path, array, Volume(array=array, affine_ras_mm=np.eye(4), path=path, header=None))
    return path


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "isal":
        pytest.importorskip("isal", reason="the extra medseg[fast] is not installed")
        return "isal"
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "isal":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    return "zlib"


def test_the_bytes_are_those_of_zlib(file: Path, library: str) -> None:
    data = file.read_bytes()
    assert _inflated(data).tobytes() == gzip.decompress(data)
    assert _inflated(data + data).tobytes() == gzip.decompress(data + data)  # members one after the other


def test_the_voxels_may_be_written_to(file: Path, library: str) -> None:
    array = read_volume(file).array
    assert array.flags.f_contiguous
    array += 1


@pytest.mark.parametrize("offset", [352, 353, 416])
def test_the_voxels_begin_where_the_header_says(file: Path, library: str, offset: int) -> None:
    data = bytearray(gzip.decompress(file.read_bytes()))
    data[108:112] = np.float32(offset).tobytes()
    file.write_bytes(gzip.compress(bytes(data[:352]) + bytes(offset - 352) + bytes(data[352:])))
    array = read_volume(file).array
    assert array.tobytes(order="F") == bytes(data[352:])
    assert array.flags.aligned


@pytest.mark.parametrize("sides", [(-20, 21, 22), (-1, 21, 22), (21, 21, 22)])
def test_sides_that_the_file_does_not_have_are_refused(file: Path, library: str, sides: tuple[int, int, int]) -> None:
    data = bytearray(gzip.decompress(file.read_bytes()))
    data[42:48] = np.array(sides, np.int16).tobytes()
    file.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DataError, match=r"scan.nii.gz"):
        read_volume(file)


@pytest.mark.parametrize("damage", ["cut", "checksum", "inside", "not packed"])
def test_a_damaged_file_is_one_line(file: Path, library: str, damage: str) -> None:
    data = bytearray(file.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "checksum":
        data[-6] ^= 1
    elif damage == "inside":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"no gzip at all")
    file.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"scan.nii.gz: truncated or damaged gzip; copy or download it again"):
        read_volume(file)
