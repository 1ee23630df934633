"""DICOM series written from known voxels in known places come back as they were, or are refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.datasets import find_cases
from medseg.errors import ConfigError, DataError
from medseg.volumes import read_geometry, read_volume, write_label_map

pydicom = pytest.importorskip("pydicom", reason="reading DICOM needs the extra medseg[dicom]")

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "dicom"
# Rows and columns of pixels lie askew in the body; the slices are 2.5 mm apart.
ACROSS = np.array([0.8, 0.6, 0.0])
DOWN = np.array([-0.6 * 0.96, 0.8 * 0.96, -0.28])
THROUGH = np.cross(ACROSS, DOWN)
STEP_MM, BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM = 2.5, 0.75, 0.5
FIRST_LPS_MM = np.array([-40.0, 12.5, 101.25])
VOXELS = np.random.default_rng(0).integers(-1000, 2000, size=(5, 4, 6), dtype=np.int16)

Write = Callable[..., Path]


@pytest.fixture
def series(tmp_path: Path) -> Write:
    """A writer of slices: `numbers` are those written, in files whose names tell nothing."""

    def write(
        name: str = "scan", *, numbers: Sequence[int] = range(6), change: Callable[[int, Any], None] | None = None
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for number in numbers:
            one = a_slice(number)
            if change:
                change(number, one)
            one.save_as(folder / f"IM{(number * 5) % 7:04d}", enforce_file_format=True)
        return folder

    return write


def a_slice(number: int) -> Any:
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = f"1.2.3.{number + 1}"
    one.SeriesInstanceUID, one.Modality, one.InstanceNumber = "1.2.3", "MR", number + 1
    one.Rows, one.Columns, one.SamplesPerPixel, one.PhotometricInterpretation = 4, 5, 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 1
    one.PixelSpacing = [BETWEEN_ROWS_MM, BETWEEN_COLUMNS_MM]
    one.ImageOrientationPatient = [*map(float, ACROSS), *map(float, DOWN)]
    one.ImagePositionPatient = [round(float(v), 6) for v in FIRST_LPS_MM + number * STEP_MM * THROUGH]
    one.PixelData = np.ascontiguousarray(VOXELS[:, :, number].T).tobytes()
    return one


def test_voxels_and_places_are_those_that_were_written(series: Write) -> None:
    volume = read_volume(series())
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.spacing_mm == pytest.approx((BETWEEN_COLUMNS_MM, BETWEEN_ROWS_MM, STEP_MM))
    for x, y, z in [(0, 0, 0), (4, 0, 2), (1, 3, 5)]:
        lps = FIRST_LPS_MM + x * BETWEEN_COLUMNS_MM * ACROSS + y * BETWEEN_ROWS_MM * DOWN + z * STEP_MM * THROUGH
        ras = volume.affine_ras_mm @ [x, y, z, 1]
        np.testing.assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-4)
    shape, affine = read_geometry(series())
    assert shape == volume.shape
    np.testing.assert_array_equal(affine, volume.affine_ras_mm)


def test_rescaled_slices_come_in_float_each_by_its_own_slope(series: Write) -> None:
    def rescale(number: int, one: Any) -> None:
        one.RescaleSlope, one.RescaleIntercept = 1 + number, -1024

    volume = read_volume(series(change=rescale))
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, VOXELS * np.arange(1.0, 7.0) - 1024)


def test_a_label_map_is_written_where_the_scan_lies(series: Write, tmp_path: Path) -> None:
    scan = read_volume(series())
    path = write_label_map(tmp_path / "out.nii.gz", (VOXELS > 0).astype(np.uint8), like=scan)
    np.testing.assert_allclose(read_volume(path).affine_ras_mm, scan.affine_ras_mm, atol=1e-5)
    np.testing.assert_array_equal(read_volume(path).array, VOXELS > 0)


@pytest.mark.parametrize("gone", [1, 3, 4])
def test_a_series_with_a_missing_slice_is_refused(series: Write, gone: int) -> None:
    folder = series(numbers=[n for n in range(6) if n != gone])
    for read in (read_volume, read_geometry):
        with pytest.raises(
            DataError, match=r"scan: 1 slice missing: IM\d+ and IM\d+ are 5 mm apart, the others 2.5 mm"
        ):
            read(folder)


def test_slices_that_do_not_make_one_scan_are_refused(series: Write) -> None:
    def doubled(number: int, one: Any) -> None:
        if number == 3:
            one.ImagePositionPatient = a_slice(2).ImagePositionPatient

    def turned(number: int, one: Any) -> None:
        if number == 3:
            one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    def two_series(number: int, one: Any) -> None:
        one.SeriesInstanceUID, one.SeriesDescription = f"1.2.{number % 2}", f"echo {number % 2}"

    def uneven(number: int, one: Any) -> None:
        if number == 3:
            one.ImagePositionPatient = [float(v) for v in FIRST_LPS_MM + 3.3 * STEP_MM * THROUGH]

    def small(number: int, one: Any) -> None:
        if number == 3:
            one.Rows, one.PixelData = 3, one.PixelData[:30]

    def colour(_: int, one: Any) -> None:
        one.SamplesPerPixel = 3

    def placeless(_: int, one: Any) -> None:
        del one.ImagePositionPatient

    def enhanced(_: int, one: Any) -> None:
        one.NumberOfFrames = 7

    for change, words in [
        (doubled, "lie in the same place"),
        (turned, "ImageOrientationPatient of IM0001 differs"),
        (two_series, r"2 DICOM series in one folder: echo 0 \(3\), echo 1 \(3\)"),
        (uneven, "slices are unevenly spaced"),
        (small, "Rows is"),
        (colour, "a colour picture"),
        (placeless, r"does not say where it lies \(no ImagePositionPatient\)"),
        (enhanced, "an enhanced DICOM file with 7 frames"),
    ]:
        with pytest.raises(DataError, match=words) as refused:
            read_volume(series(change.__name__, change=change))
        assert "\n" not in str(refused.value)


def test_one_slice_is_no_volume(series: Write) -> None:
    with pytest.raises(DataError, match="has one slice"):
        read_volume(series(numbers=[0]))


def test_what_is_no_picture_is_passed_over(series: Write) -> None:
    folder = series()
    report = a_slice(0)
    report.Modality = "SR"
    report.save_as(folder / "report", enforce_file_format=True)
    (folder / "notes.txt").write_text("x")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert read_volume(folder).shape == VOXELS.shape


def test_damaged_and_unreadable_pixels_are_told_in_one_line(series: Write) -> None:
    def cut(number: int, one: Any) -> None:
        one.PixelData = one.PixelData[: 40 if number else 20]

    with pytest.raises(DataError, match=r"cut: IM0000: the pixels could not be read \(Explicit VR Little Endian"):
        read_volume(series("cut", change=cut))
    folder = series("damaged")
    (folder / "IM0000").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    with pytest.raises(DataError, match="IM0000: a damaged DICOM file"):
        read_volume(folder)


def test_without_pydicom_the_command_that_installs_it_is_told(series: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = series()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ConfigError, match=r"pip install 'medseg\[dicom\]'"):
        read_volume(folder)


def test_folders_of_series_are_cases_beside_files(series: Write, tmp_path: Path) -> None:
    first, second = series("1.2.840.7"), series("1.2.840.8")
    write_label_map(tmp_path / "third.nii.gz", np.zeros(VOXELS.shape, np.uint8), like=read_volume(first))
    found = find_cases(tmp_path, modalities=["mr"])
    assert [(item["case_id"], item["image"]) for item in found] == [
        ("1.2.840.7", [str(first)]),
        ("1.2.840.8", [str(second)]),
        ("third", [str(tmp_path / "third.nii.gz")]),
    ]
    assert [item["case_id"] for item in find_cases(first, modalities=["mr"])] == ["1.2.840.7"]
    with pytest.raises(DataError, match="one file of a DICOM series. Give the folder"):
        find_cases(next(first.iterdir()), modalities=["mr"])


def real(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip("real DICOM series are not on this machine (../shared/data/dicom)")
    return DATA / name


def test_a_real_series_reads_as_itk_reads_it() -> None:
    folder = real("prostatex_t2w")
    itk = pytest.importorskip("itk", reason="itk-io is a development dependency")
    names = itk.GDCMSeriesFileNames.New(Directory=str(folder))
    image = itk.imread(list(names.GetInputFileNames()), itk.SS)
    wanted = itk.array_from_image(image).T
    volume = read_volume(folder)
    flipped = not np.array_equal(volume.array, wanted)
    np.testing.assert_array_equal(volume.array[:, :, ::-1] if flipped else volume.array, wanted)
    origin = volume.affine_ras_mm @ [0, 0, volume.shape[2] - 1 if flipped else 0, 1]
    np.testing.assert_allclose(origin[:3] * [-1, -1, 1], np.array(image.GetOrigin()), atol=1e-3)
    np.testing.assert_allclose(volume.spacing_mm, np.array(image.GetSpacing()), atol=1e-3)


def test_a_real_series_without_one_of_its_slices_is_refused() -> None:
    with pytest.raises(DataError, match="1 slice missing: 1-07.dcm and 1-05.dcm are 6 mm apart, the others 3 mm"):
        find_cases(real("prostatex_missing_slice"), modalities=["mr"])
