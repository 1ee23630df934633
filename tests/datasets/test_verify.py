import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.verify import verify_dataset
from medseg.errors import ConfigError, DataError

CASES = [f"organ_{i:03d}" for i in range(6)]
SHAPE = (6, 7, 8)


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine), path)


def scan(seed):
    return np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)


def label(seed):
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


def write_listing(root, name="dataset.json", **more):
    training = [{"image": f"./imagesTr/{c}.nii.gz", "label": f"./labelsTr/{c}.nii.gz"} for c in CASES]
    labels = {"0": "background", "1": "head", "2": "tail"}
    content = {"name": "Organ", "modality": {"0": "CT"}, "labels": labels, "training": training, **more}
    (root / name).write_text(json.dumps(content))


@pytest.fixture
def msd(tmp_path):
    """Six small cases in MSD's layout, without faults."""
    for seed, case in enumerate(CASES):
        save(tmp_path / "imagesTr" / f"{case}.nii.gz", scan(seed))
        save(tmp_path / "labelsTr" / f"{case}.nii.gz", label(seed))
    write_listing(tmp_path)
    return tmp_path


def kinds(folder, **options):
    return [(found.level, found.check, found.case_id) for found in verify_dataset(folder, **options).findings]


def test_a_sound_dataset_has_no_findings(msd):
    seen, counts = [], []
    result = verify_dataset(msd, on_start=counts.append, on_case=seen.append)
    assert result.findings == ()
    assert (result.name, result.n_cases, result.n_files) == ("Organ", 6, 12)
    assert (sorted(seen), counts) == (CASES, [6])


def _orphan_label(root):
    save(root / "labelsTr" / "organ_900.nii.gz", label(900))


def _deleted_label(root):
    (root / "labelsTr" / "organ_002.nii.gz").unlink()


def _unlisted_image(root):
    save(root / "imagesTr" / "organ_901.nii.gz", scan(901))


def _unlisted_pair(root):
    save(root / "imagesTr" / "organ_902.nii.gz", scan(902))
    save(root / "labelsTr" / "organ_902.nii.gz", label(902))


def _shifted_label(root):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = 3.0
    save(root / "labelsTr" / "organ_001.nii.gz", label(1), affine)


def _other_spacing(root):
    save(root / "labelsTr" / "organ_001.nii.gz", label(1), np.diag([1.0, 1.0, 2.5, 1.0]))


def _other_shape(root):
    save(root / "labelsTr" / "organ_001.nii.gz", label(1)[:-1])


def _extra_value(root):
    values = label(3)
    values[0, 0, 0] = 7
    save(root / "labelsTr" / "organ_003.nii.gz", values)


def _fraction(root):
    values = label(3).astype(np.float32)
    values[0, 0, 0] = 0.5
    save(root / "labelsTr" / "organ_003.nii.gz", values)


def _negative(root):
    values = label(3).astype(np.int16)
    values[0, 0, 0] = -1
    save(root / "labelsTr" / "organ_003.nii.gz", values)


def _empty_label(root):
    save(root / "labelsTr" / "organ_003.nii.gz", np.zeros(SHAPE, np.uint8))


def _same_label(root):
    save(root / "labelsTr" / "organ_004.nii.gz", label(3))


def _nan(root):
    values = scan(4)
    values[1, 1, 1] = np.nan
    save(root / "imagesTr" / "organ_004.nii.gz", values)


def _infinite(root):
    values = scan(4)
    values[1, 1, 1] = np.inf
    save(root / "imagesTr" / "organ_004.nii.gz", values)


def _copy_in_another_type(root):
    save(root / "imagesTr" / "organ_005.nii.gz", scan(0).astype(np.float64))


def _constant(root):
    save(root / "imagesTr" / "organ_005.nii.gz", np.full(SHAPE, 3.0, np.float32))


def _truncated(root):
    path = root / "imagesTr" / "organ_000.nii.gz"
    path.write_bytes(path.read_bytes()[:200])


def _missing_image(root):
    (root / "imagesTr" / "organ_000.nii.gz").unlink()


def _second_channel(root):
    save(root / "imagesTr" / "organ_000.nii.gz", np.stack([scan(0), scan(50)], axis=-1))


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_orphan_label, [("error", "orphan-label", "organ_900")]),
        (_deleted_label, [("error", "image-without-label", "organ_002")]),
        (_unlisted_image, [("error", "image-without-label", "organ_901")]),
        (_unlisted_pair, [("note", "unlisted", "organ_902")]),
        (_shifted_label, [("error", "grid", "organ_001")]),
        (_other_spacing, [("error", "grid", "organ_001")]),
        (_other_shape, [("error", "grid", "organ_001")]),
        (_extra_value, [("error", "label-values", "organ_003")]),
        (_fraction, [("error", "label-values", "organ_003")]),
        (_negative, [("error", "label-values", "organ_003")]),
        (_empty_label, [("note", "empty-label", "organ_003")]),
        (_same_label, [("note", "same-label", "organ_004")]),
        (_nan, [("error", "not-finite", "organ_004")]),
        (_infinite, [("error", "not-finite", "organ_004")]),
        (_copy_in_another_type, [("error", "duplicate", "organ_005"), ("note", "dtypes", "")]),
        (_constant, [("note", "constant", "organ_005")]),
        (_truncated, [("error", "readable", "organ_000")]),
        (_missing_image, [("error", "readable", "organ_000")]),
        (_second_channel, [("error", "modality", "organ_000")]),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_each_planted_fault_is_found_and_nothing_else(msd, plant, found):
    plant(msd)
    wanted = [kind for kind in found if kind[1] != "orphan-label" or plant is _orphan_label]
    got = kinds(msd)
    # A case without its scan leaves its label map behind.
    assert got == wanted


def test_messages_name_files_and_what_was_wanted(msd):
    _extra_value(msd)
    _shifted_label(msd)
    grid, values = verify_dataset(msd).findings
    assert grid.message.startswith("labelsTr/organ_001.nii.gz against imagesTr/organ_001.nii.gz: same shape, but the")
    assert "3 mm" in grid.message
    assert values.message == "labelsTr/organ_003.nii.gz holds 7; wanted 0, 1, 2"


def test_a_patient_in_two_folds_leaks(msd):
    for number, case in enumerate(CASES[:2]):
        for kind in ("imagesTr", "labelsTr"):
            (msd / kind / f"{case}.nii.gz").rename(msd / kind / f"BraTS-GLI-00005-00{number}.nii.gz")
    names = ["BraTS-GLI-00005-000", "BraTS-GLI-00005-001", *CASES[2:]]
    training = [
        {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz", "fold": fold % 3}
        for fold, name in enumerate(names)
    ]
    write_listing(msd, "datalist.json", training=training)
    (found,) = verify_dataset(msd).findings
    assert (found.check, found.case_id) == ("leakage", "BraTS-GLI-00005")
    assert found.message == "fold 0: BraTS-GLI-00005-000; fold 1: BraTS-GLI-00005-001"


def test_the_same_entry_twice_and_a_scan_in_two_cases(msd):
    listed = json.loads((msd / "dataset.json").read_text())["training"]
    again = {**listed[0], "case_id": "another"}
    write_listing(msd, training=[*listed, listed[1], again])
    assert kinds(msd) == [("error", "case-id", "another"), ("error", "case-id", "organ_001")]


def test_changed_id_lists_are_found(msd):
    write_listing(msd, split={"ids_sha256": {"training": "0" * 64}})
    assert kinds(msd) == [("error", "ids", "")]


def test_convention_asked_for_against_declared_and_held(msd):
    assert kinds(msd, convention="brats2023") == [("note", "unused-value", "")]
    write_listing(msd, label_convention="brats2017")
    assert kinds(msd, convention="brats2023") == [("error", "convention", ""), ("note", "unused-value", "")]
    with pytest.raises(ConfigError, match="--convention: no convention is named 'mine'"):
        verify_dataset(msd, convention="mine")


def test_without_a_convention_the_values_are_told(msd):
    write_listing(msd, labels={})
    (found,) = verify_dataset(msd).findings
    assert (found.check, found.message[:27]) == ("no-convention", "the label maps hold 0, 1, 2")


def test_folders_per_case_without_any_description(tmp_path):
    for seed, case in enumerate(("a1", "a2", "a3", "a4")):
        for offset, modality in enumerate(("t1c", "flair")):
            save(tmp_path / case / f"{case}_{modality}.nii.gz", scan(10 * seed + offset))
        save(tmp_path / case / f"{case}_seg.nii.gz", label(seed))
    (tmp_path / "a2" / "a2_flair.nii.gz").unlink()
    (tmp_path / "a3" / "a3_seg.nii.gz").unlink()
    save(tmp_path / "a4" / "a4_label.nii.gz", label(4))
    shutil.copy(tmp_path / "a1" / "a1_t1c.nii.gz", tmp_path / "a4" / "a4_flair.nii.gz")
    assert kinds(tmp_path, convention="msd_task01") == [
        ("error", "modality", "a2"),
        ("error", "image-without-label", "a3"),
        ("error", "image-without-label", "a4"),
        ("error", "duplicate", "a4"),
        ("note", "unused-value", ""),
    ]


def test_scans_alone_are_a_note(tmp_path):
    for seed in range(2):
        save(tmp_path / f"s{seed}" / f"s{seed}_ct.nii.gz", scan(seed))
    assert kinds(tmp_path) == [("note", "no-labels", "")]


def test_what_is_no_dataset_is_one_error(tmp_path, msd):
    with pytest.raises(DataError, match="no such folder"):
        verify_dataset(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no case here"):
        verify_dataset(tmp_path / "empty")
    (msd / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="not a readable datalist"):
        verify_dataset(msd)


def test_the_real_hippocampus_is_clean(real_data):
    result = verify_dataset(real_data / "msd_task04_hippocampus")
    assert (result.n_cases, result.n_files, result.errors) == (200, 400, ())
    assert [found.check for found in result.findings] == ["dtypes"]


def test_faults_planted_in_real_cases_are_each_found(real_data, tmp_path):
    source = real_data / "msd_task04_hippocampus"
    content = json.loads((source / "dataset.json").read_text())
    content["training"] = content["training"][:12]
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for path in sorted((source / folder).iterdir())[:12]:
            shutil.copy(path, tmp_path / folder)
            (tmp_path / folder / path.name).chmod(0o644)
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert verify_dataset(tmp_path).errors == ()

    names = [path.name for path in sorted((tmp_path / "imagesTr").iterdir())]
    ids = [name.removesuffix(".nii.gz") for name in names]
    shutil.copy(tmp_path / "labelsTr" / names[0], tmp_path / "labelsTr" / "hippocampus_999.nii.gz")  # orphan label
    (tmp_path / "labelsTr" / names[1]).unlink()  # image without label
    image = nib.load(tmp_path / "labelsTr" / names[2])
    moved = image.affine.copy()
    moved[:3, 3] += 5
    save(tmp_path / "labelsTr" / names[2], np.asarray(image.dataobj), moved)  # wrong affine
    image = nib.load(tmp_path / "labelsTr" / names[3])
    values = np.asarray(image.dataobj).astype(np.uint8)
    values[0, 0, 0] = 3
    save(tmp_path / "labelsTr" / names[3], values, image.affine)  # extra label value
    for folder in ("imagesTr", "labelsTr"):
        shutil.copy(tmp_path / folder / names[4], tmp_path / folder / names[5])  # two copies of a scan
    image = nib.load(tmp_path / "imagesTr" / names[6])
    voxels = np.asarray(image.dataobj).astype(np.float32)
    voxels[3, 3, 3] = np.nan
    save(tmp_path / "imagesTr" / names[6], voxels, image.affine)  # NaN
    assert [(found.check, found.case_id) for found in verify_dataset(tmp_path).errors] == [
        ("image-without-label", ids[1]),
        ("orphan-label", "hippocampus_999"),
        ("grid", ids[2]),
        ("not-finite", ids[6]),
        ("label-values", ids[3]),
        ("duplicate", ids[5]),
    ]


def test_an_empty_list_is_nothing_to_verify(tmp_path):
    (tmp_path / "dataset.json").write_text('{"training": []}')
    with pytest.raises(DataError, match=r"dataset\.json: lists no case. Nothing to verify"):
        verify_dataset(tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [({"fold": "x"}, "organ_000: fold 'x' is no whole number"), ({"fold": [0]}, "is no whole number")],
)
def test_a_fold_that_is_no_number_is_one_line(msd, more, message):
    write_listing(msd, training=[{"image": "imagesTr/organ_000.nii.gz", "label": "labelsTr/organ_000.nii.gz", **more}])
    with pytest.raises(DataError, match=message):
        verify_dataset(msd)


def test_odd_values_in_a_datalist_do_not_stop_it(msd):
    entry = {"image": "imagesTr/organ_000.nii.gz", "label": "labelsTr/organ_000.nii.gz", "patient": ["p"]}
    write_listing(msd, training=[entry], split={"ids_sha256": [1]})
    assert ("note", "unlisted", "organ_001") in kinds(msd)
    (msd / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="not a readable datalist"):
        verify_dataset(msd)
