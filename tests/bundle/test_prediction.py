from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medseg.bundle.compose import compose
from medseg.bundle.prediction import modalities_of, refuse_overwriting
from medseg.errors import ConfigError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "probabilities").mkdir(parents=True)
    for name in ("a.nii.gz", "a_seg.nii.gz", "probabilities/a.nii.gz"):
        (folder / name).touch()
    return folder


def item(*images: Path, **more: Any) -> dict[str, Any]:
    return {"case_id": "a", "image": [str(path) for path in images], **more}


def test_results_beside_other_names_are_fine(scans: Path, tmp_path: Path) -> None:
    refuse_overwriting([item(scans / "a.nii.gz")], tmp_path / "out")
    refuse_overwriting([item(scans / "a_seg.nii.gz")], scans)
    refuse_overwriting([item(scans / "a.nii.gz"), {"case_id": "b", "image": "b_4d.nii.gz"}], scans / "out")


@pytest.mark.parametrize("name", ["a.nii.gz", "probabilities/a.nii.gz"])
def test_a_result_may_not_replace_a_scan(scans: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}: is an input \(case a\) that a result would replace"):
        refuse_overwriting([item(scans / name)], scans)
    with pytest.raises(ConfigError, match="Give another folder with -o"):
        refuse_overwriting([item() | {"image": str(scans / name)}], scans)


def test_a_result_may_not_replace_a_label_or_another_case_s_scan(scans: Path) -> None:
    with pytest.raises(ConfigError, match="is an input"):
        refuse_overwriting([item(scans / "a_seg.nii.gz", label=str(scans / "a.nii.gz"))], scans)
    with pytest.raises(ConfigError, match=r"a\.nii\.gz: is an input \(case b\)"):
        refuse_overwriting([item(scans / "a_seg.nii.gz"), item(scans / "a.nii.gz") | {"case_id": "b"}], scans)


def test_other_ways_to_the_same_file_are_known(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(scans, target_is_directory=True)
    (tmp_path / "elsewhere.nii.gz").symlink_to(scans / "a.nii.gz")
    monkeypatch.chdir(tmp_path)
    for source, folder in (
        (Path("scans/a.nii.gz"), tmp_path / "link"),
        (tmp_path / "link" / "a.nii.gz", Path("scans")),
        (tmp_path / "elsewhere.nii.gz", scans),
        (scans / "probabilities" / ".." / "a.nii.gz", scans),
    ):
        with pytest.raises(ConfigError, match="is an input"):
            refuse_overwriting([item(source)], folder)
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.nii.gz").symlink_to(scans / "a.nii.gz")
    with pytest.raises(ConfigError, match="is an input"):
        refuse_overwriting([item(out / "a.nii.gz")], out)


def test_a_config_without_modalities_is_told_what_to_add(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle()
    path = root / "configs" / "common.yaml"
    path.write_text(path.read_text().replace("modalities: [ct]\n", ""))
    with pytest.raises(ConfigError, match=r"^toy: the config does not say which scan .* Add a key such as"):
        modalities_of(compose(root, "inference"))
