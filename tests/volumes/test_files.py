from pathlib import Path

import pytest

from medseg.volumes.files import atomic_path, volume_stem, volume_suffix


@pytest.mark.parametrize(
    ("name", "suffix", "stem"),
    [
        ("a.nii.gz", ".nii.gz", "a"),
        ("a.NII", ".nii", "a"),
        ("VSD.Brain.XX.O.MR_T1c.54513.mha", ".mha", "VSD.Brain.XX.O.MR_T1c.54513"),
        ("a.mhd", ".mhd", "a"),
        ("b.nrrd", ".nrrd", "b"),
        ("notes.txt", None, "notes"),
        (".nii.gz", None, ".nii"),
        ("table.csv.gz", None, "table.csv"),
    ],
)
def test_suffix_and_stem(name, suffix, stem):
    assert volume_suffix(Path("x") / name) == suffix
    assert volume_stem(Path("x") / name) == stem


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "a.nii"
    target.write_text("old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise OSError(28, "full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_finished_write_replaces_the_file_and_makes_the_folder(tmp_path):
    target = tmp_path / "new" / "a.nii"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]
