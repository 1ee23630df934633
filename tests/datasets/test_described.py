import re
from pathlib import Path

import pytest

from medseg.datasets import training_items
from medseg.datasets.described import read_description
from medseg.datasets.layouts import take_inventory
from medseg.datasets.splits import datalist_of, split_cases, write_datalist
from medseg.datasets.verify import verify_dataset
from medseg.errors import ConfigError, DataError

DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def _describe(root, *lines):
    (root / "dataset.yaml").write_text("\n".join(lines))
    return root


def test_the_example_of_the_documentation_works_to_the_last_step(touch_volumes):
    example = re.search(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]
    assert len(example.splitlines()) <= 12
    root = touch_volumes(
        *(f"P{p:02d}_visit{v}/P{p:02d}_visit{v}_{k}.nii.gz" for p in range(6) for v in (1, 2) for k in ("gd", "fl")),
        *(f"P{p:02d}_visit{v}/tumour.nii.gz" for p in range(6) for v in (1, 2)),
        "P03_visit1/P03_visit1_gd_bias.nii.gz",
    )
    _describe(root, example)
    inventory = take_inventory(root)
    assert (inventory.name, inventory.modalities, inventory.label_convention) == (
        "our_gliomas",
        ("t1c", "flair"),
        "brats2023",
    )
    assert len(inventory.cases) == 11  # one of twelve is excluded
    assert {found.level for found in verify_dataset(root).findings} == {"note"}
    split = split_cases(inventory)
    assert split.rule == "patients"
    write_datalist(root / "datalist.json", datalist_of(inventory, split))
    items = training_items(dataset_dir=root, modalities=["flair", "t1c"], section="validation")
    patients = {item["case_id"][:3] for item in items}
    assert items[0]["image"][0].endswith("_fl.nii.gz")
    assert not patients & {i["case_id"][:3] for i in training_items(dataset_dir=root, modalities=["t1c"])}
    # The folds of the datalist count when the folder is verified again.
    assert all(case.fold == split.fold_of[case.case_id] for case in take_inventory(root).cases)


def test_patterns_bind_case_and_patient_and_cross_folders(touch_volumes):
    root = touch_volumes(
        "HGG/7/a/7_a_x1.nii.gz", "HGG/7/a/mask.nii.gz", "LGG/8/a/8_a_x1.nii.gz", "LGG/8/a/mask.nii.gz", "8/b/7_b_x1.nii"
    )
    _describe(
        root,
        "images: {t1: '**/{patient}/{case}/{patient}_{case}_x*.nii.gz'}",
        "label: '**/{patient}/{case}/mask.nii.gz'",
    )
    cases = take_inventory(root).cases
    assert [(case.case_id, case.patient, case.label.parts[-4]) for case in cases] == [
        ("7_a", "7", "HGG"),
        ("8_a", "8", "LGG"),
    ]


def test_faults_of_matching_are_findings(touch_volumes):
    root = touch_volumes("c1/t1.nii.gz", "c1/t1.nii", "c1/m.nii.gz", "c2/m.nii.gz", "c3/t1.nii.gz")
    _describe(root, "images: {t1: '{case}/t1.*'}", "label: '{case}/m.nii.gz'", "labels: {1: lesion}")
    found = [(one.check, one.case_id) for one in take_inventory(root).findings]
    assert found == [("modality", "c1"), ("orphan-label", "c2"), ("image-without-label", "c3")]


def test_a_datalist_that_names_cases_the_patterns_miss(touch_volumes):
    root = touch_volumes("c1/t1.nii.gz", "c1/m.nii.gz", "c2/t1.nii.gz", "c2/m.nii.gz")
    _describe(root, "images: {t1: '{case}/t1.nii.gz'}", "label: '{case}/m.nii.gz'", "labels: {1: lesion}")
    inventory = take_inventory(root)
    write_datalist(root / "datalist.json", datalist_of(inventory, split_cases(inventory, folds=2)))
    _describe(root, "images: {t1: '{case}/t1.nii.gz'}", "label: '{case}/m.nii.gz'", "exclude: [c2]")
    (found,) = take_inventory(root).findings
    assert (found.check, found.case_id) == ("readable", "c2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: {t1: '{case}_t1.nii.gz'}\nlable: x", "unknown key 'lable'. Did you mean label?"),
        ("name: x", '"images" is missing'),
        ("- a", 'no "key: value" lines'),
        ("images: [", "not readable YAML"),
        ("images: {t1: t1.nii.gz}", "images: t1: 't1.nii.gz' lacks {case}"),
        ("images: {t1: '{case}_{visit}.nii.gz'}", "has {visit}. Wanted only {case}, {patient} and *"),
        ("images: {t1: '../{case}.nii.gz'}", "leaves the dataset's folder"),
        ("images: {t1: '{case}.nii.gz'}\nlabel: seg.nii.gz", "label: 'seg.nii.gz' lacks {case}"),
        ("images: {t1: '{case}.nii.gz'}\nlabels: {a: b}", "labels: no value is a whole number"),
        ("images: {t1: '{case}.nii.gz'}\npatient: 'P*'", "patient: 'P*' lacks {patient}"),
        ("images: {t1: '{case}.nii.gz'}\nexclude: P05", "exclude: 'P05' is no list. Wanted case ids, such as [P05]"),
        ("images: {t1: '{case}.nii.gz'}\nexclude: 5", "exclude: 5 is no list"),
        ("images: {t1: '{case}.nii.gz'}\nname: [a, b]", "name: ['a', 'b'] is no text"),
        ("images: {t1: '{case}_a.nii.gz', T1: '{case}_b.nii.gz'}", "T1 is t1, which has a pattern already"),
        ("[" * 5000, "not readable YAML"),
    ],
)
def test_a_description_that_cannot_be_used_is_one_line(tmp_path, text, message):
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=re.escape(message)):
        read_description(tmp_path / "dataset.yaml")


def test_unknown_conventions_and_patterns_without_a_match(touch_volumes):
    root = touch_volumes("a_t1.nii.gz")
    _describe(root, "images: {t1: '{case}_t1.nii.gz'}", "label_convention: brats2032")
    with pytest.raises(ConfigError, match="label_convention: no convention is named 'brats2032'"):
        take_inventory(root)
    _describe(root, "images: {t1: '{case}_T1.nii.gz'}")
    with pytest.raises(DataError, match=r"none of 1 volumes in .* matches '\{case\}_T1.nii.gz'"):
        take_inventory(root)
    with pytest.raises(DataError, match="no pattern for flair; it has t1"):
        take_inventory(root, modalities=["flair"])


def test_a_pattern_of_patients_that_groups_nothing_is_refused(touch_volumes):
    root = touch_volumes("P1_visit1.nii.gz", "P1_visit2.nii.gz")
    _describe(root, "images: {ct: '{case}.nii.gz'}", "patient: '{patient}-visit*'")
    with pytest.raises(DataError, match=r"patient: '\{patient\}-visit\*' matches no case id, such as P1_visit1"):
        take_inventory(root)
    _describe(root, "images: {ct: '{case}.nii.gz'}", "patient: '{patient}_visit*'")
    assert {case.patient for case in take_inventory(root).cases} == {"P1"}


def test_an_excluded_case_that_is_not_there_is_noted(touch_volumes):
    root = touch_volumes("P1.nii.gz", "P2.nii.gz")
    _describe(root, "images: {ct: '{case}.nii.gz'}", "exclude: [P2, P22]")
    inventory = take_inventory(root)
    assert [case.case_id for case in inventory.cases] == ["P1"]
    assert [(found.check, found.level, found.case_id) for found in inventory.findings] == [("absent", "note", "P22")]
