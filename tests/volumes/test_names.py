from pathlib import Path

import pytest

from medseg.volumes.names import (
    LABEL_WORDS,
    MODALITY_SPELLINGS,
    PREDICTION_WORDS,
    canonical_modality,
    case_folder,
    fits_modality,
    modality_of,
    parse_name,
    pick_label_maps,
)


@pytest.mark.parametrize(
    ("name", "case_id", "modality"),
    [
        ("brats_2013_pat0003_1_t1c.nii.gz", "brats_2013_pat0003_1", "t1c"),
        ("Brats18_2013_0_1_t1ce.nii.gz", "Brats18_2013_0_1", "t1c"),
        ("BraTS2021_00000_flair.nii.gz", "BraTS2021_00000", "flair"),
        ("BraTS-GLI-00000-000-t1n.nii.gz", "BraTS-GLI-00000-000", "t1"),
        ("BraTS-GLI-00000-000-t2w.nii.gz", "BraTS-GLI-00000-000", "t2"),
        ("BraTS-GLI-00000-000-t2f.nii.gz", "BraTS-GLI-00000-000", "flair"),
        ("UPENN-GBM-00001_11_T1GD.nii.gz", "UPENN-GBM-00001_11", "t1c"),
        ("UCSF-PDGM-0004_T1c_bias.nii.gz", "UCSF-PDGM-0004", "t1c"),
        ("sub-01_ses-2_T1w.nii.gz", "sub-01_ses-2", "t1"),
        ("sub-01_ses-2_ce-gd_T1w.nii.gz", "sub-01_ses-2", "t1c"),
        ("sub-01_FLAIR.nii.gz", "sub-01", "flair"),
        ("fla.nii.gz", "", "flair"),
        ("patient7-t1-gd.nrrd", "patient7", "t1c"),
        ("patient7 T2 FLAIR.nii", "patient7", "flair"),
        ("T1_0042.nii.gz", "0042", "t1"),
        ("VSD.Brain.XX.O.MR_Flair.54512.mha", "VSD.Brain.XX.O.MR_54512", "flair"),
        ("example_ct.nii.gz", "example", "ct"),
        ("amos_ct_0001.nii.gz", "amos_ct_0001", None),
        ("hippocampus_001.nii.gz", "hippocampus_001", None),
        ("lung1_image.nrrd", "lung1", None),
        ("volume.nii.gz", "volume", None),
    ],
)
def test_images_are_named_by_the_fields_habits(name, case_id, modality):
    parsed = parse_name(name)
    assert (parsed.kind, parsed.case_id, parsed.modality) == ("image", case_id, modality)
    assert modality_of(name) == modality


@pytest.mark.parametrize(
    ("name", "case_id", "exact"),
    [
        ("brats_2013_pat0003_1_seg.nii.gz", "brats_2013_pat0003_1", True),
        ("BraTS-GLI-00000-000-seg.nii.gz", "BraTS-GLI-00000-000", True),
        ("seg.nii.gz", "", True),
        ("seg_isen-20.nii.gz", "isen-20", False),
        ("sub-spleen2_ct_seg-manual.nii.gz", "sub-spleen2", False),
        ("lung1_label.nrrd", "lung1", True),
        ("UPENN-GBM-00001_11_segm.nii.gz", "UPENN-GBM-00001_11", True),
        ("T1_0042_seg.nii.gz", "0042", True),
        ("case7-label.NII", "case7", True),
        ("case7.mask.mha", "case7", True),
        ("VSD.Brain_3more.XX.O.OT.54517.mha", "VSD.Brain_3more.XX.O_54517", False),
    ],
)
def test_label_maps_are_told_from_images(name, case_id, exact):
    parsed = parse_name(name)
    assert (parsed.kind, parsed.case_id, parsed.exact) == ("label", case_id, exact)


def test_a_label_word_before_the_modality_belongs_to_the_case():
    assert parse_name("seg_trial_9_t1.nii.gz").kind == "image"


def test_each_spelling_means_one_modality():
    spellings = [spelling for names in MODALITY_SPELLINGS.values() for spelling in names]
    assert len(spellings) == len(set(spellings))
    assert [canonical_modality(name) for name in MODALITY_SPELLINGS] == list(MODALITY_SPELLINGS)


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [("t1", "mr", True), ("mr", "t1", True), ("ct", "mr", False), ("t1", "t2", False), (None, "ct", True)],
)
def test_what_may_stand_for_the_only_modality(found, wanted, fits):
    assert fits_modality(found, wanted) is fits


@pytest.mark.parametrize(("name", "case_id"), [("case7_Seg_pred.nrrd", "case7"), ("pred_001.nii.gz", "001")])
def test_predictions_are_told_from_references(name, case_id):
    parsed = parse_name(name)
    assert (parsed.kind, parsed.case_id, parsed.owner_id) == ("prediction", case_id, case_id)


@pytest.mark.parametrize(
    ("name", "case_id", "owner_id", "exact"),
    [
        ("UCSF-PDGM-0004_tumor_segmentation.nii.gz", "UCSF-PDGM-0004_tumor", "UCSF-PDGM-0004", True),
        (
            "UCSF-PDGM-0004_brain_parenchyma_segmentation.nii.gz",
            "UCSF-PDGM-0004_brain_parenchyma",
            "UCSF-PDGM-0004",
            False,
        ),
        (
            "UPENN-GBM-00001_11_automated_approx_segm.nii.gz",
            "UPENN-GBM-00001_11_automated_approx",
            "UPENN-GBM-00001_11",
            False,
        ),
        ("brain_mask.nii.gz", "brain", "", False),
        ("c7_seg.nii.gz", "c7", "c7", True),
        ("preseg.nii.gz", "preseg", "", True),
    ],
)
def test_a_word_for_what_is_labelled_is_no_part_of_the_owner(name, case_id, owner_id, exact):
    parsed = parse_name(name)
    assert (parsed.case_id, parsed.owner_id, parsed.exact) == (case_id, owner_id, exact)


def test_the_maps_with_exact_names_are_picked():
    paths = [Path(f"c7_{word}.nii.gz") for word in ("brain_mask", "tumor_seg", "seg-manual")]
    assert pick_label_maps([(parse_name(path), path) for path in paths]) == [paths[1]]
    assert pick_label_maps([(parse_name(path), path) for path in paths[::2]]) == paths[::2]


@pytest.mark.parametrize(
    "path", ["d/c/x.nii", "d/c/imagesTr/x.nii", "d/c/masks/x.nii", "d/c/VSD.Brain.OT.1/VSD.Brain.OT.1.mha"]
)
def test_the_folder_of_a_case(path):
    assert case_folder(Path("/") / path) == Path("/d/c")


def test_the_documented_words_are_the_tables():
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name, spellings in MODALITY_SPELLINGS.items():
        assert f"| `{name}` | {' '.join(spellings)}" in text
    plain = " ".join(text.split())
    assert f"one of the words {' '.join(LABEL_WORDS)}," in plain
    assert f"named {', '.join(PREDICTION_WORDS[:2])} or {PREDICTION_WORDS[2]}" in plain
