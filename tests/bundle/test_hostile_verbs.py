"""The hostile bundles again, by every verb that takes a bundle, and hostile files that lie around one."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.benchmark.heavy import Processes, StageError, Work
from medseg.bundle.export import export
from medseg.bundle.freeze import freeze
from medseg.bundle.get import get_bundle
from medseg.bundle.run import predict, train
from medseg.errors import ConfigError, DataError, MedsegError, TrustError, WeightsError
from tests.bundle.test_hostile import HOSTILE, Touch, pickled, scan

__all__ = ["scan"]

PLANTED = "import pathlib\npathlib.Path({canary!r}).touch()\nraise SystemExit('planted')\n"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("verb", ["predict", "export", "freeze"])
def test_no_verb_runs_a_hostile_config(
    make_bundle: Callable[..., Path], scan: Path, tmp_path: Path, canary: Path, verb: str
) -> None:
    wrong = []
    for number, (name, (yaml, _)) in enumerate(HOSTILE.items()):
        root = make_bundle(f"toy_{number}", inference=yaml.replace("CANARY", str(canary)) + "\n")
        (root / "configs" / "train.yaml").unlink()
        output = tmp_path / f"out_{number}"
        try:
            if verb == "predict":
                predict(root, [scan], output_dir=output)
            elif verb == "export":
                export(root, output, format_="onnx")
            else:
                freeze(root, output)  # writes what it reads, and looks at none of it
        except TrustError:
            pass
        except MedsegError as error:
            if verb != "freeze" or "\n" in str(error):
                wrong.append(f"{name}: {error}")
        else:
            if verb != "freeze":
                wrong.append(f"{name}: ran")
        if canary.exists():
            wrong.append(f"{name}: executed")
            canary.unlink()
    assert wrong == []


def test_a_suite_refuses_a_hostile_bundle_and_no_module_of_its_folder_is_imported(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_bundle(train=HOSTILE["os.system"][0].replace("CANARY", str(canary)) + "\n")
    for name in ("numpy", "torch", "yaml", "filelock", "json", "sitecustomize", "usercustomize", "conftest"):
        (root / f"{name}.py").write_text(PLANTED.format(canary=str(canary)))
    for name in ("monai", "scripts", "medseg"):
        (root / name).mkdir()
        (root / name / "__init__.py").write_text(PLANTED.format(canary=str(canary)))
    folder = tmp_path / "job"
    folder.mkdir()
    monkeypatch.chdir(root)
    with pytest.raises(StageError, match="the bundle can execute 1 thing not known to be harmless"):
        Processes().train(Work(verb="train", folder=str(folder), bundle=str(root)))
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        "label_convention: \"$__import__('os').system('touch CANARY')\"",
        "label_convention: !!python/object/apply:os.system [touch CANARY]",
        "label_convention: {liver: \"$__import__('os').system('touch CANARY')\"}",
    ],
)
def test_regions_of_a_hostile_bundle_are_text(tmp_path: Path, canary: Path, text: str) -> None:
    """`medseg evaluate --regions BUNDLE/configs/common.yaml`, which is all that it takes of a bundle."""
    from medseg.cli.regions import read_regions

    (tmp_path / "common.yaml").write_text(text.replace("CANARY", str(canary)) + "\n")
    with pytest.raises(ConfigError) as refused:
        read_regions(str(tmp_path / "common.yaml"))
    assert "\n" not in str(refused.value)
    assert not canary.exists()


def test_a_bundle_that_comes_as_a_zip_is_unpacked_and_no_more(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path
) -> None:
    root = make_bundle(train=HOSTILE["os.system"][0].replace("CANARY", str(canary)) + "\n")
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text(PLANTED.format(canary=str(canary)))
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(path, Path("toy") / path.relative_to(root))
    got = get_bundle(tmp_path / "toy.zip", tmp_path / "got", says=lambda _: None)
    assert not canary.exists()
    with pytest.raises(TrustError):
        train(got, run_dir=tmp_path / "run")
    assert not canary.exists()


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../x.pt", "url": "https://example.org/x"},
        {"path": "/tmp/x.pt", "url": "https://example.org/x"},
        {"path": "models/x.pt", "url": "file:///etc/passwd"},
        {"path": "models/x.pt", "url": "http://example.org/x"},
        {"path": "models/../../x.pt", "url": "https://example.org/x"},
        {"path": "~/x.pt", "url": "https://example.org/x"},
        {"path": "C:\\x.pt", "url": "https://example.org/x"},
        {"path": "out/x.pt", "url": "https://example.org/x"},
    ],
)
def test_a_listed_file_comes_from_the_network_into_the_bundle_only(
    make_bundle: Callable[..., Path], tmp_path: Path, entry: dict[str, str]
) -> None:
    root = make_bundle()
    (root / "out").symlink_to(tmp_path)
    listed = {"large_files": [{**entry, "hash_type": "sha256", "hash_val": "0" * 64}]}
    (root / "large_files.yml").write_text(json.dumps(listed))
    with pytest.raises(ConfigError, match=r"large_files\.yml:1: .*Nothing is fetched"):
        get_bundle(root)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
@pytest.mark.parametrize("kind", ["pickle", "torchscript", "pickle before a zip"])
def test_weights_that_are_something_else_are_not_loaded(
    make_bundle: Callable[..., Path], scan: Path, tmp_path: Path, canary: Path, name: str, kind: str
) -> None:
    from medseg.engines.weights import read_weights

    buffer = io.BytesIO()
    if kind == "torchscript":
        import torch

        torch.jit.save(torch.jit.script(torch.nn.ReLU()), buffer)
    else:
        buffer.write(pickled(canary))
    if kind == "pickle before a zip":
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({}))
    root = make_bundle()
    (root / "models").mkdir()
    (root / "models" / name).write_bytes(buffer.getvalue())
    if name == "model.pt" and kind != "torchscript":
        with pytest.raises(TrustError) as refused:
            predict(root, [scan], output_dir=tmp_path / "out")
        assert refused.value.items == ("models/model.pt: holds a pickle that calls posix.system",)
    with pytest.raises(WeightsError, match="not a weights file"):
        read_weights(root / "models" / name)
    assert not canary.exists()


def test_monai_unpickles_no_planted_cache_and_no_planted_scan(tmp_path: Path, canary: Path) -> None:
    """What lets `PersistentDataset` and `LoadImage` into the table."""
    import numpy as np
    from monai.data import PersistentDataset, pickle_hashing
    from monai.transforms import LoadImage

    item = {"image": "a.nii.gz"}
    (tmp_path / f"{pickle_hashing(item).decode()}.pt").write_bytes(pickled(canary))
    data = PersistentDataset([item], transform=str, cache_dir=tmp_path)
    assert data[0] == str(item)  # taken for a damaged file, and made anew
    np.save(tmp_path / "a.npy", np.array([Touch(canary)], dtype=object), allow_pickle=True)
    for reader in (None, "itkreader", "nibabelreader", "pilreader"):
        with pytest.raises(Exception, match="."):
            LoadImage(reader=reader)(tmp_path / "a.npy")
    assert not canary.exists()


def test_a_plan_and_a_preset_of_the_bundle_are_configs_too(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path
) -> None:
    root = make_bundle()
    text = f"device: \"$__import__('os').system('touch {canary}')\"\n"
    for folder in ("plans", "presets"):
        (root / "configs" / folder).mkdir()
        (root / "configs" / folder / "fast.yaml").write_text(text)
    with pytest.raises(TrustError, match="1 thing"):
        train(root, overrides=["@fast.yaml"], run_dir=tmp_path / "run")
    with pytest.raises(TrustError, match="1 thing"):
        train(root, presets=[str(root / "configs" / "presets" / "fast.yaml")], run_dir=tmp_path / "run")
    for token in ("small::_target_=os.abort", "large={_target_: os.abort}", "train::trainer::_mode_=debug"):
        with pytest.raises(TrustError, match="1 thing"):
            train(root, overrides=[token], run_dir=tmp_path / "run")
    assert not canary.exists()


@pytest.mark.parametrize("place", ["docs/notes.md", "LICENSE", "configs/logging.conf", "docs/more"])
def test_a_link_out_of_the_bundle_is_not_followed_into_what_is_handed_on(
    make_bundle: Callable[..., Path], tmp_path: Path, place: str
) -> None:
    root = make_bundle()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "id_rsa").write_text("secret")
    (root / place).unlink(missing_ok=True)
    (root / place).symlink_to(tmp_path / "mine" if place == "docs/more" else tmp_path / "mine" / "id_rsa")
    for write in (
        lambda: freeze(root, tmp_path / "frozen"),
        lambda: export(root, tmp_path / "exported", format_="onnx"),
    ):
        with pytest.raises(ConfigError, match=rf"{place} is a link that leads out of the bundle"):
            write()
    assert not (tmp_path / "frozen").exists()


@pytest.mark.parametrize("case_id", ["../../evil", "/tmp/evil", "..", "a/b", "a\\b"])
def test_a_datalist_cannot_name_a_result_outside_of_its_folder(tmp_path: Path, case_id: str) -> None:
    from medseg.datasets import training_items

    (tmp_path / "a.nii.gz").touch()
    content = {"training": [{"case_id": case_id, "image": "a.nii.gz", "label": "a.nii.gz", "fold": 0}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="cannot hold a path"):
        training_items(
            dataset_dir=tmp_path, datalist=tmp_path / "list.json", modalities=["ct"], fold=0, section="validation"
        )


def test_a_scan_whose_name_is_an_expression_is_only_a_name(
    make_bundle: Callable[..., Path], tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nibabel as nib
    import numpy as np

    monkeypatch.chdir(tmp_path)
    name = "$[eval(c) for c in ['1']] or open('canary', 'w')"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.int16), np.eye(4)), f"{name}.nii.gz")
    root = make_bundle()
    (root / "models").mkdir()
    (root / "models" / "model.pt").write_bytes(b"")
    written = predict(root, [Path(f"{name}.nii.gz")], output_dir=tmp_path / "out")
    assert [path.name for path in written] == [f"{name}.nii.gz"]
    assert not canary.exists()


def test_what_a_bundle_says_of_itself_hides_nothing_in_the_list(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from medseg.cli.main import app

    root = make_bundle()
    path = root / "configs" / "metadata.json"
    path.write_text(path.read_text().replace('"task": "toy"', '"task": "\\u001b[2K\\u202etoy"'))
    monkeypatch.setenv("MEDSEG_BUNDLES", str(root.parent))
    said = CliRunner().invoke(app, ["bundle", "list"]).output
    assert "\\x1b[2K" in said
    assert "\x1b" not in said
    assert os.linesep in said
