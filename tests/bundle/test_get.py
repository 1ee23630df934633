from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.get import get_bundle, large_files
from medseg.errors import ConfigError, DataError

ENTRY = "large_files:\n- {{path: {path}, url: '{url}', hash_type: {kind}, hash_val: '{digest}'}}\n"


def listed(root: Path, **facts: str) -> Path:
    known = {"path": "models/model.pt", "url": "https://example.org/a.pt", "kind": "sha256", "digest": "0" * 64}
    (root / "large_files.yml").write_text(ENTRY.format(**{**known, **facts}))
    return root


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"path": "../../evil.pt"}, "leads out of the bundle"),
        ({"path": "models/../../evil.pt"}, "leads out of the bundle"),
        ({"path": "/etc/cron.d/evil"}, "no path inside the bundle"),
        ({"path": "C:/evil.pt"}, "no path inside the bundle"),
        ({"path": "'..\\evil.pt'"}, "leads out of the bundle"),
        ({"path": "~/evil.pt"}, "no path inside the bundle"),
        ({"digest": ""}, "has no sha256 or md5"),
        ({"kind": "crc32"}, "has no sha256 or md5"),
        ({"url": "http://example.org/a.pt"}, "is no https"),
        ({"url": "file:///etc/passwd"}, "is no https"),
    ],
)
def test_a_listed_file_that_must_not_be_fetched_is_not(
    make_bundle: Callable[..., Path], tmp_path: Path, facts: dict[str, str], match: str
) -> None:
    root = listed(make_bundle(), **facts)
    with pytest.raises(ConfigError, match=rf"large_files\.yml:2: .*{match}"):
        get_bundle(root)
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_does_not_lead_out(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = listed(make_bundle())
    (root / "models").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads out of the bundle by a link"):
        large_files(root)


def test_a_file_is_kept_when_its_hash_holds(make_bundle: Callable[..., Path]) -> None:
    said: list[str] = []
    root = listed(make_bundle(), digest=hashlib.sha256(b"weights").hexdigest())
    (root / "models").mkdir()
    (root / "models" / "model.pt").write_bytes(b"weights")
    assert get_bundle(root, says=said.append) == root
    assert "models/model.pt: is there" in said[0]


def test_a_zip_is_unpacked(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle()
    archive = shutil.make_archive(str(tmp_path / "toy_zip"), "zip", root.parent, root.name)
    got = get_bundle(archive)
    assert got == tmp_path / "toy_zip" / "toy"
    assert (got / "configs" / "train.yaml").read_text() == (root / "configs" / "train.yaml").read_text()
    with pytest.raises(ConfigError, match="is there already"):
        get_bundle(archive)


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
def test_a_zip_writes_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "in" / "bad.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("toy/configs/metadata.json", "{}")
        file.writestr(name, "evil")
    with pytest.raises(DataError):
        get_bundle(archive, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "in" / "out").exists()


def test_a_zip_without_a_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ConfigError, match="holds no bundle"):
        get_bundle(tmp_path / "a.zip")
