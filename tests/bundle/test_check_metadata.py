"""Slips of people in metadata.json, licence, model card and large_files.yml: found at their line in a copy of ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.check import check_bundle
from medseg.bundle.find import find_bundle

HIPPO, BRATS = "hippocampus_mri_segmentation", "brats_mri_segmentation"
META, LARGE, CARD = "configs/metadata.json", "large_files.yml", "docs/README.md"
_NAMES = '"channel_def": { "0": "Anterior hippocampus", "1": "Posterior hippocampus" }'
_SWAPPED = '"channel_def": { "0": "Posterior hippocampus", "1": "Anterior hippocampus" }'
_METRICS = '"eval_metrics": { "mean_dice": 0.889, "dice_anterior": 0.898, "dice_posterior": 0.881 }'

FAULTS = [
    # --- network_data_format -------------------------------------------------------------------------------------
    (HIPPO, META, '"modality": "MR"', '"modalty": "MR"', "Did you mean 'modality'"),
    (HIPPO, META, '"is_patch_data": true,', '"is_patch": true,', "Did you mean 'is_patch_data'"),
    (HIPPO, META, '"value_range": []', '"value_rnage": []', "Did you mean 'value_range'"),
    (HIPPO, META, '"channel_def": { "0": "T1" }', '"channel_defs": { "0": "T1" }', "Did you mean 'channel_def'"),
    (HIPPO, META, '"num_channels": 1', '"num_chanels": 1', "Did you mean 'num_channels'"),
    (HIPPO, META, '"inputs": {', '"input": {', "Did you mean 'inputs'"),
    (HIPPO, META, '"type": "image"', '"type": "imgae"', "Did you mean 'image'"),
    (HIPPO, META, '"format": "segmentation"', '"format": "segmentaton"', "Did you mean 'segmentation'"),
    (HIPPO, META, '"format": "magnitude"', '"format": "hounsfeld"', "Did you mean 'hounsfield'"),
    (HIPPO, META, '"value_range": []', '"value_range": [1, 0]', "is no range"),
    (HIPPO, META, '"spatial_shape": [40, 56, 40]', '"spatial_shape": [40, 56]', "has 2 axes, but dyn_unet has 3"),
    (HIPPO, META, '"spatial_shape": [40, 56, 40]', '"spatial_shape": "40x56x40"', "array is wanted"),
    (HIPPO, META, '"num_channels": 1', '"num_channels": "1"', "integer is wanted"),
    (HIPPO, META, '"dtype": "float32"', '"dtype": "torch.float32"', "a type such as float32"),
    (HIPPO, META, '"is_patch_data": true', '"is_patch_data": "true"', "boolean is wanted"),
    # --- labels --------------------------------------------------------------------------------------------------
    (HIPPO, META, _NAMES, _SWAPPED, "'anterior' comes before 'posterior' in configs/common.yaml"),
    (
        HIPPO,
        META,
        _NAMES,
        '"channel_def": { "1": "posterior hippocampus", "2": "anterior hippocampus" }',
        "'anterior' comes before 'posterior' in configs/common.yaml",
    ),
    (HIPPO, META, _NAMES, '"channel_def": { "anterior": 0, "posterior": 1 }', "is no number of a channel"),
    (HIPPO, META, _NAMES, '"channel_def": { "1": "Anterior", "2": "Posterior" }', "numbered from 0, these from 1"),
    (HIPPO, META, _NAMES, '"channel_def": { "0": "Anterior", "1": "anterior" }', "comes twice"),
    (HIPPO, META, _NAMES, '"channel_def": { "0": "Anterior", "1": null }', "is no name of a channel"),
    (HIPPO, META, _NAMES, '"channel_def": ["Anterior", "Posterior"]', "object is wanted"),
    # --- other fields --------------------------------------------------------------------------------------------
    (HIPPO, META, _METRICS, '"eval_metrics": "mean Dice 0.889"', "object is wanted"),
    (HIPPO, META, _METRICS, '"eval_metrics": { "mean_dice": "0.889" }', "number or object or array is wanted"),
    (HIPPO, META, _METRICS, '"eval_metrics": { "mean_dice": 88.9 }', "no share from 0 to 1"),
    (HIPPO, META, _METRICS, '"eval_metrics": { "mean_dice": NaN }', "no number in JSON"),
    (HIPPO, META, '"intended_use"', '"intented_use"', "Did you mean 'intended_use'"),
    (HIPPO, META, '"description"', '"desciption"', "Did you mean 'description'"),
    (HIPPO, META, '"pytorch_version"', '"torch_version"', "Did you mean 'pytorch_version'"),
    (HIPPO, META, '"version": "0.1.0"', '"version": 0.1', "string is wanted"),
    (HIPPO, META, '"monai_version": "1.6.1"', '"monai_version": ">=1.6"', "a version such as 1.2.3"),
    (HIPPO, META, '    "0.1.0": "small', '    "0.2.0": "new",\n    "0.1.0": "small', "the newest entry is 0.2.0"),
    (HIPPO, META, '"authors": "The medseg authors"', '"authors": "Your Name Here"', "left to be filled in"),
    (HIPPO, META, '"supported_apps": {}', '"supported_apps": []', "object is wanted"),
    (HIPPO, META, '"data_type": "nibabel"', '"data_type": ["nibabel"]', "string is wanted"),
    (HIPPO, META, '"nibabel": "5.4.2"', '"nibabel": 5.4', "string is wanted"),
    # --- large_files.yml -----------------------------------------------------------------------------------------
    (BRATS, LARGE, "    hash_val:", "    hash_value:", "Did you mean 'hash_val'"),
    (BRATS, LARGE, "  - path:", "  - paht:", "Did you mean 'path'"),
    (
        BRATS,
        LARGE,
        "https://developer.download.nvidia.com",
        "https://github.com/a/b/blob/main",
        "is the page that shows",
    ),
    (
        BRATS,
        LARGE,
        "https://developer.download.nvidia.com",
        "https://drive.google.com/file/d",
        "is the page that shows",
    ),
    (BRATS, LARGE, "https://developer.download.nvidia.com", "s3://developer", "no https:// address"),
    # --- papers --------------------------------------------------------------------------------------------------
    ("*", CARD, "", "\n[weights](weights/best.pt)\n", "leads nowhere"),
    ("*", CARD, "", "\nTODO: say how it was trained\n", "left to be filled in"),
    ("*", "LICENSE", "", "\nSelect a license and place its terms here\n", "left to be filled in"),
    ("*", "docs/data_license.txt", None, "none\n", "says next to nothing"),
]


@pytest.mark.parametrize(("bundle", "file", "old", "new", "says"), FAULTS)
def test_a_slip_is_found_at_its_line(
    tmp_path: Path, bundle: str, file: str, old: str | None, new: str, says: str
) -> None:
    name = HIPPO if bundle == "*" else bundle
    root = shutil.copytree(find_bundle(name), tmp_path / name, ignore=shutil.ignore_patterns("runs"))
    before = (root / file).read_text()
    if old:
        assert old in before, "the bundle has changed; plant the fault anew"
    text = before.replace(old, new, 1) if old else (before if old == "" else "") + new
    (root / file).write_text(text)
    line = text.count("\n", 0, text.index(new.strip("\n").splitlines()[0].strip(), len(before) if old == "" else 0)) + 1
    findings = [f for f in check_bundle(root, presets=[]) if f.level != "note"]
    said = [str(f) for f in findings if f.where.split(": ")[0] == f"{file}:{line}"]
    assert any(says in text for text in said), "\n".join(map(str, findings))
    assert len(said) == 1 or "channel_def" in str(old)  # where a slip can be two


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("LICENSE", "LICENSE.md"),
        ("LICENSE", "docs/license.txt"),
        ("docs/README.md", "docs/readme.md"),
        ("configs/metadata.json", "configs/metadata.yaml"),
        ("docs/data_license.txt", "docs/data_licence.txt"),
        ("large_files.yml", "large_file.yml"),
        ("large_files.yml", "large_files.yaml"),
    ],
)
def test_a_paper_under_another_name_is_found(make_bundle: Callable[..., Path], right: str, wrong: str) -> None:
    root = make_bundle()
    if not (root / right).is_file():
        (root / right).write_text("large_files: []\n" if right.endswith("yml") else "The data are free for research.\n")
    (root / right).rename(root / wrong)
    said = "\n".join(map(str, check_bundle(root, presets=[])))
    assert f"Rename {wrong}." in said or f"{wrong}:1: nobody looks for this file. Rename it to {right}" in said


def test_without_metadata_the_rest_is_still_checked(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train="small::numerator: '@nothing'\n")
    (root / "configs" / "metadata.json").unlink()
    (root / "LICENSE").unlink()
    said = [str(f) for f in check_bundle(root, presets=[])]
    assert "configs/metadata.json: the file is missing, so no program takes the folder for a bundle." in said
    assert any("'@nothing' refers to a key" in text for text in said)
    assert any(text.startswith("LICENSE: the file is missing") for text in said)
    assert len(said) == 3


def test_one_path_listed_twice_and_a_link_out_are_found(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root = make_bundle()
    entry = {"path": "models/a.pt", "url": "https://example.org/a", "hash_type": "sha256", "hash_val": "0" * 64}
    (root / "large_files.yml").write_text(json.dumps({"large_files": [entry, entry]}))
    (root / "docs" / "more.md").symlink_to(tmp_path / "elsewhere.md")
    said = "\n".join(map(str, check_bundle(root, presets=[])))
    assert "large_files::1::path: 'models/a.pt' is listed twice" in said
    assert "docs/more.md: the link leads out of the bundle" in said


# What the model zoo's bundles say (Project-MONAI/model-zoo, 2022 to 2026), though some of it is in no document.
ZOO = [
    {"type": "png", "format": "RGB", "modality": "regular", "channel_def": {"0": "R", "1": "G", "2": "B"}},
    {"type": "noise", "format": "image", "value_range": [0, 1]},
    {"type": "timesteps", "format": "timesteps", "dtype": "long", "spatial_shape": []},
    {"type": "feature", "format": "image", "channel_def": {"0": "image"}},
    {"type": "tuples", "format": "points", "spatial_shape": [2, 10]},
    {"type": "tuples", "format": "latent", "channel_def": {}},
    {"type": "probability", "format": "classification", "spatial_shape": ["164", "164"]},
    {"type": "probability", "format": "regression", "channel_def": {"0": "horizontal", "1": "vertical"}},
    {"type": "object", "format": "dict", "value_range": [-10000, 10000]},
    {"type": "image", "format": "segmentation", "value_range": [0, 1, 2]},
    {"type": "array", "value_range": ["head", "abdomen"]},
    {"type": "image", "format": "labels", "modality": "Mammogram", "channel_def": {"0": "A", "1": "B"}},
    {"type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "liver", "2": "right kidney"}},
]


@pytest.mark.parametrize("tensor", ZOO)
def test_what_the_zoo_writes_is_no_slip(make_bundle: Callable[..., Path], tensor: dict[str, object]) -> None:
    root = make_bundle()
    path = root / "configs" / "metadata.json"
    meta = json.loads(path.read_text())
    meta |= {
        "eval_metrics": {"Binary Dice": 0.8293, "PQ": 0.4936, "folds": [0.8, 0.9]},
        "optional_packages_version": {"mlflow": "2.14.3"},
        "autoencoder_data_format": {"inputs": {"body_region": {"type": "array", "value_range": ["head"]}}},
        "coordinate_values": {"0": 10},
        "supported_apps": {"vista3d-nim": ""},
    }
    meta["network_data_format"]["inputs"]["condition"] = tensor
    path.write_text(json.dumps(meta))
    assert [str(f) for f in check_bundle(root, presets=[])] == []
