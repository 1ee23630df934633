"""The readings of LIDC-IDRI: what each radiologist marked in a chest CT, in the XML that TCIA hands out.

Four radiologists read every scan alone and then again with the others' marks before them; the XML holds the second
reading. A nodule of 3 mm and more has an outline on each slice and ratings; a smaller one, and a finding that is no
nodule, has a point. x and y are pixels of the slice, z is the slice position in mm of the DICOM (LPS).
Source: Armato et al. 2011, https://doi.org/10.1118/1.3528204, and the collection's page at TCIA.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medseg.datasets.findings import Finding
from medseg.datasets.inventory import CaseFiles, Inventory
from medseg.errors import DataError
from medseg.volumes import volume_suffix

_CT, _XRAY = "LidcReadMessage", "IdriReadMessage"  # the archive holds chest X-rays too
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Outline:
    """An outline, or the one point of a small nodule, on one slice.

    Attributes:
        z_lps_mm: Position of the slice.
        points_vox: Column and row of each point; they lie just outside the nodule.
        inside: False for a hole in the nodule.
        sop_instance_uid: The slice's.
    """

    z_lps_mm: float
    points_vox: tuple[tuple[int, int], ...]
    inside: bool
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Nodule:
    """A nodule as one radiologist saw it.

    Attributes:
        nodule_id: Theirs; the four do not share ids.
        outlines: Slice by slice; a single point for a nodule below 3 mm.
        ratings: Such as malignancy from 1 to 5; empty for a nodule below 3 mm.
    """

    nodule_id: str
    outlines: tuple[Outline, ...]
    ratings: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ScanReadings:
    """What the radiologists marked in one scan.

    Attributes:
        series_uid: The scan's SeriesInstanceUID.
        study_uid: Its StudyInstanceUID.
        nodules: The nodules of each radiologist.
        non_nodules: How many findings of 3 mm and more each radiologist held for no nodule.
    """

    series_uid: str
    study_uid: str
    nodules: tuple[tuple[Nodule, ...], ...]
    non_nodules: tuple[int, ...]


def read_readings(path: Path) -> ScanReadings | None:
    """The readings of one scan; None for those of a chest X-ray.

    Raises:
        DataError: When the file is no such XML, or names no series.
    """
    root = _parse(path)
    if root.tag != _CT:
        return None
    # The spelling of these two differs between the files.
    header = {element.tag.lower(): (element.text or "").strip() for element in root.iter()}
    series, study = header.get("seriesinstanceuid", ""), header.get("studyinstanceuid", "")
    if not re.fullmatch(r"[0-9.]+", series):
        msg = f"{path}: names no SeriesInstanceUid. Get the archive again."
        raise DataError(msg)
    sessions = root.findall("readingSession")
    try:
        nodules = tuple(tuple(_nodules(session)) for session in sessions)
    except ValueError as error:
        msg = f"{path}: a coordinate or a rating is no number ({error}). Get the archive again."
        raise DataError(msg) from error
    others = tuple(len(session.findall("nonNodule")) for session in sessions)
    return ScanReadings(series_uid=series, study_uid=study, nodules=nodules, non_nodules=others)


def xml_files(folder: Path) -> list[Path]:
    """The XML files of a folder, at any depth, hidden ones left out."""
    found = (path for path in sorted(folder.rglob("*.xml")) if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def is_lidc(folder: Path) -> bool:
    """Whether a folder holds the archive's content, as its first XML tells, and no scans."""
    first = next((path for path in folder.rglob("*.xml") if path.is_file() and path.name[0] != "."), None)
    try:
        told = first is not None and _parse(first).tag in (_CT, _XRAY)
    except DataError:
        return False
    return told and not any(volume_suffix(path) for path in folder.rglob("*"))


def inventory(folder: Path, *, name: str | None = None) -> Inventory:
    """A case for each scan that was read, under its SeriesInstanceUID; every file is parsed.

    The scans themselves are not in the archive, and the XML does not name patients.

    Raises:
        DataError: When the folder has no XML.
    """
    files = xml_files(folder)
    if not files:
        msg = f"{folder}: no XML of LIDC-IDRI here. Check the path, or fetch it: medseg data get lidc_idri_annotations."
        raise DataError(msg)
    cases: dict[str, CaseFiles] = {}
    findings = []
    for file in files:
        case, wrong = _case(file, folder)
        if case and case.case_id in cases:
            other = cases[case.case_id].readings
            wrong = [Finding(check="case-id", case_id=case.case_id, message=f"{file.name} and {other} read one scan")]
        elif case:
            cases[case.case_id] = case
        findings += wrong
    listed = tuple(cases[case_id] for case_id in sorted(cases))
    return Inventory(
        folder=folder, name=name or folder.resolve().name, modalities=(), cases=listed, findings=tuple(findings)
    )


def _case(file: Path, folder: Path) -> tuple[CaseFiles | None, list[Finding]]:
    try:
        told = read_readings(file)
    except DataError as error:
        where = file.relative_to(folder).as_posix()
        return None, [Finding(check="readable", case_id=where, message=str(error))]
    if told is None:
        return None, []
    facts = {"readers": len(told.nodules), "nodules": [len(reader) for reader in told.nodules]}
    case = CaseFiles(case_id=told.series_uid, patient=told.series_uid, images={}, readings=file, facts=facts)
    return case, []


def _parse(path: Path) -> ET.Element:
    """The root, names without their namespace."""
    try:
        content = path.read_bytes()
        if len(content) > _MOST_BYTES or b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            msg = f"{path}: too large, or with entities of its own: no reading of LIDC-IDRI. Get the archive again."
            raise DataError(msg)
        root = ET.fromstring(content)
    except (ET.ParseError, OSError, ValueError) as error:
        msg = f"{path}: not readable XML ({error}). Get the archive again."
        raise DataError(msg) from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _nodules(session: ET.Element) -> Iterator[Nodule]:
    for nodule in session.findall("unblindedReadNodule"):
        ratings = {
            one.tag: int(one.text or "") for one in nodule.findall("characteristics/*") if (one.text or "").strip()
        }
        outlines = tuple(_outline(roi) for roi in nodule.findall("roi"))
        yield Nodule(nodule_id=_text(nodule, "noduleID"), outlines=outlines, ratings=ratings)


def _outline(roi: ET.Element) -> Outline:
    points = tuple((int(_text(edge, "xCoord")), int(_text(edge, "yCoord"))) for edge in roi.findall("edgeMap"))
    return Outline(
        z_lps_mm=float(_text(roi, "imageZposition")),
        points_vox=points,
        inside=_text(roi, "inclusion").upper() != "FALSE",
        sop_instance_uid=_text(roi, "imageSOP_UID"),
    )


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
