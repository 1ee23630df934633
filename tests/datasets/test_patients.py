import pytest

from medseg.datasets.patients import patient_of


@pytest.mark.parametrize(
    ("case_id", "patient"),
    [
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005"),
        ("BraTS-MET-00005-000", "BraTS-MET-00005"),
        ("brats_tcia_pat105_0283", "brats_tcia_pat105"),
        ("BraTS19_TCIA01_131_1", "BraTS19_TCIA01_131"),
        ("Brats18_2013_0_1", "Brats18_2013_0"),
        ("UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("sub-01_ses-2", "sub-01"),
        ("BraTS2021_00000", "BraTS2021_00000"),
        ("spleen_10", "spleen_10"),
    ],
)
def test_visits_belong_to_one_patient(case_id, patient):
    assert patient_of(case_id) == patient
