import pytest

from medseg.datasets.layouts import take_inventory
from medseg.datasets.lidc import read_readings
from medseg.datasets.registry import DATASETS
from medseg.datasets.splits import datalist_of, split_cases
from medseg.datasets.verify import verify_dataset
from medseg.errors import DataError

NODULE = """
<unblindedReadNodule><noduleID>{name}</noduleID>
  <characteristics><subtlety>5</subtlety><malignancy>4</malignancy><texture></texture></characteristics>
  <roi><imageZposition>-125.5</imageZposition><imageSOP_UID>1.2.3</imageSOP_UID><inclusion>TRUE</inclusion>
    <edgeMap><xCoord>312</xCoord><yCoord>355</yCoord></edgeMap><edgeMap><xCoord>313</xCoord><yCoord>356</yCoord></edgeMap>
  </roi>
  <roi><imageZposition>-125.5</imageZposition><imageSOP_UID>1.2.3</imageSOP_UID><inclusion>FALSE</inclusion>
    <edgeMap><xCoord>1</xCoord><yCoord>2</yCoord></edgeMap></roi>
</unblindedReadNodule>"""
SMALL = """
<unblindedReadNodule><noduleID>tiny</noduleID>
  <roi><imageZposition>-90</imageZposition><imageSOP_UID>1.2.4</imageSOP_UID><inclusion>TRUE</inclusion>
    <edgeMap><xCoord>7</xCoord><yCoord>8</yCoord></edgeMap></roi>
</unblindedReadNodule>"""


def xml(series, *sessions, root="LidcReadMessage", uid="SeriesInstanceUid"):
    body = "".join(f"<readingSession>{session}</readingSession>" for session in sessions)
    header = f"<ResponseHeader><StudyInstanceUID>1.9</StudyInstanceUID><{uid}>{series}</{uid}></ResponseHeader>"
    return f'<?xml version="1.0"?><{root} xmlns="http://www.nih.gov">{header}{body}</{root}>'


@pytest.fixture
def folder(tmp_path):
    """As the archive has it: readings of two CTs and of a chest X-ray."""
    for number in ("157", "185"):
        (tmp_path / "tcia-lidc-xml" / number).mkdir(parents=True)
    place = tmp_path / "tcia-lidc-xml"
    one = [NODULE.format(name=f"Nodule 00{i}") for i in range(2)]
    (place / "157/158.xml").write_text(xml("1.3.6.1", one[0] + SMALL, "<nonNodule/>" + one[1], "", "<nonNodule/>"))
    (place / "157/159.xml").write_text(xml("1.3.6.2", "", "", "", "", uid="SeriesInstanceUID"))
    (place / "185/068.xml").write_text(xml("1.3.6.3", root="IdriReadMessage"))
    return tmp_path


def test_readings_hold_what_each_radiologist_marked(folder):
    told = read_readings(folder / "tcia-lidc-xml/157/158.xml")
    assert (told.series_uid, told.study_uid) == ("1.3.6.1", "1.9")
    assert [len(reader) for reader in told.nodules] == [2, 1, 0, 0]
    assert told.non_nodules == (0, 1, 0, 1)
    large, small = told.nodules[0]
    assert large.ratings == {"subtlety": 5, "malignancy": 4}
    assert large.outlines[0].points_vox == ((312, 355), (313, 356))
    assert large.outlines[0].z_lps_mm == -125.5
    assert [outline.inside for outline in large.outlines] == [True, False]
    assert (small.ratings, small.outlines[0].points_vox) == ({}, ((7, 8),))


def test_cases_are_the_ct_scans(folder):
    cases = DATASETS["lidc_idri_annotations"].cases(folder)
    assert [case.case_id for case in cases] == ["1.3.6.1", "1.3.6.2"]
    assert cases[0].facts == {"readers": 4, "nodules": [2, 1, 0, 0]}
    result = verify_dataset(folder)
    assert (result.n_cases, result.n_files, result.findings) == (2, 2, ())


def test_folds_can_be_dealt(folder):
    taken = take_inventory(folder)
    content = datalist_of(taken, split_cases(taken, folds=2))
    assert content["training"][0]["readings"] == "tcia-lidc-xml/157/158.xml"
    assert sorted(entry["fold"] for entry in content["training"]) == [0, 1]


def test_faults_are_found(folder):
    place = folder / "tcia-lidc-xml/185"
    (place / "a.xml").write_text(xml("1.3.6.2"))
    (place / "b.xml").write_text(xml("1.3.6.9")[:-20])
    (place / "c.xml").write_text(xml("", SMALL))
    (place / "d.xml").write_text(xml("1.3.6.8", SMALL.replace("-90", "high")))
    (place / "e.xml").write_text('<!DOCTYPE x [<!ENTITY a "aaaa">]>' + xml("1.3.6.7")[21:])
    found = sorted((one.check, one.case_id.rpartition("/")[2]) for one in verify_dataset(folder).errors)
    damaged = [("readable", f"{name}.xml") for name in "bcde"]
    assert found == [("case-id", "1.3.6.2"), *damaged]


def test_a_folder_without_readings_is_told(tmp_path):
    with pytest.raises(DataError, match="no XML of LIDC-IDRI here"):
        DATASETS["lidc_idri_annotations"].cases(tmp_path)


def test_readings_beside_scans_do_not_hide_them(folder, touch_volumes):
    touch_volumes("c1/c1_ct.nii.gz", "c1/c1_seg.nii.gz", root=folder)
    assert [case.case_id for case in take_inventory(folder).cases] == ["c1"]
