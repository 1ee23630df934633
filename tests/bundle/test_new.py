from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from medseg.bundle.check import check_bundle
from medseg.bundle.compose import compose
from medseg.bundle.new import new_bundle
from medseg.bundle.powers import config_powers
from medseg.bundle.run import predict, train
from medseg.datasets.phantoms.luna16 import write_luna16_phantoms
from medseg.datasets.phantoms.msd import write_msd_phantoms
from medseg.errors import ConfigError
from medseg.evaluation import evaluate_folders

HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "msd_task04_hippocampus"
SMALL = (
    "dyn_unet::filters=[4, 8, 8]",
    "dyn_unet::kernel_size=[3, 3, 3]",
    "dyn_unet::strides=[1, 2, 2]",
    "dyn_unet::upsample_kernel_size=[2, 2]",
    "device=cpu",
    "amp=false",
    "num_workers=0",
)
SHORT = ("epochs=1", "val_interval=1", "samples_per_epoch=2", "batch_size=1")


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "organs"
    write_msd_phantoms(folder, cases=5, seed=0, shape=(40, 36, 24), spacing_mm=8.0)
    return folder


@pytest.fixture(scope="module")
def made(organs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundles") / "organs_ct_segmentation"
    return new_bundle(str(place), task="segmentation", dataset=organs).root


def errors(root: Path) -> list[str]:
    return [str(finding) for finding in check_bundle(root)]


def test_a_new_bundle_passes_every_check_and_needs_no_trust(made: Path) -> None:
    assert errors(made) == []
    for workflow in ("train", "inference", "evaluate"):
        assert config_powers(compose(made, workflow).config) == []


def test_its_config_is_what_the_data_asks_for(made: Path, organs: Path) -> None:
    common = yaml.safe_load((made / "configs" / "common.yaml").read_text())
    assert common["dataset_dir"] == str(organs)
    assert common["modalities"] == ["ct"]
    assert common["label_convention"] == {"liver": 1, "spleen": 2}
    assert common["regions"] == ["liver", "spleen"]
    assert common["normalize"]["_target_"] == "medseg.transforms.ScaleIntensityRanged"
    meta = json.loads((made / "configs" / "metadata.json").read_text())["network_data_format"]
    assert meta["outputs"]["pred"]["channel_def"] == {"0": "Liver", "1": "Spleen"}
    assert meta["inputs"]["image"]["modality"] == "CT"


def test_it_trains_predicts_and_is_scored_at_once(made: Path, organs: Path, tmp_path: Path) -> None:
    run = train(made, overrides=[*SMALL, *SHORT], run_dir=tmp_path / "run")
    written = predict(made, [organs / "imagesTr"], output_dir=tmp_path / "out", weights=run)
    assert len(written) == 5
    declared = compose(made, "inference").config["label_convention"]
    summary = evaluate_folders(tmp_path / "out", organs / "labelsTr", out_dir=tmp_path / "scores", regions=declared)
    assert list(summary.regions) == ["liver", "spleen"]
    assert len(summary.cases) == 5
    saved = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert saved["label_convention"] == {"liver": 1, "spleen": 2}


def test_stock_monai_trains_it(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from monai.bundle import run

    monkeypatch.chdir(made)
    overrides = {key: yaml.safe_load(text) for key, _, text in (token.partition("=") for token in (*SMALL, *SHORT))}
    run(args_file="configs/args/train.yaml", output_dir=str(tmp_path / "run"), **overrides)
    assert (tmp_path / "run" / "model.pt").is_file()


def test_the_network_takes_what_the_metadata_says(made: Path) -> None:
    from monai.bundle import verify_net_in_out

    configs = made / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=[str(configs / "common.yaml"), str(configs / "inference.yaml")],
        device="cpu",
        n=2,
    )


def test_thick_slices_get_strides_by_axis_that_the_network_takes(tmp_path: Path) -> None:
    import nibabel as nib
    import numpy as np

    for number in range(2):
        for place, dtype in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
            (tmp_path / "data" / place).mkdir(parents=True, exist_ok=True)
            array = np.random.default_rng(number).integers(0, 2, (48, 48, 10)).astype(dtype)
            nib.save(
                nib.Nifti1Image(array, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "data" / place / f"c{number}.nii.gz"
            )
    root = new_bundle(str(tmp_path / "thick_segmentation"), task="segmentation", dataset=tmp_path / "data").root
    test_the_network_takes_what_the_metadata_says(root)
    config = compose(root, "train").config
    assert config["dyn_unet"]["strides"][:2] == [[1, 1, 1], [2, 2, 1]]
    assert config["residual_unet"]["strides"].startswith("$[[2, 2, 1]")


def test_a_variant_keeps_the_network_and_takes_the_data(made: Path, organs: Path, tmp_path: Path) -> None:
    root = new_bundle(
        str(tmp_path / "variant_segmentation"), task="segmentation", dataset=organs, source=str(made)
    ).root
    assert errors(root) == []
    assert json.loads((root / "configs" / "metadata.json").read_text())["changelog"]["0.1.0"].startswith("a variant of")
    with pytest.raises(ConfigError, match="Leave --from out"):
        new_bundle(
            str(tmp_path / "wrong_segmentation"),
            task="segmentation",
            dataset=_relabelled(organs, tmp_path),
            source="brats_mri_segmentation",
        )
    assert not (tmp_path / "wrong_segmentation").exists()


def _relabelled(organs: Path, place: Path) -> Path:
    import nibabel as nib
    import numpy as np

    folder = place / "nine"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number, image in enumerate(sorted((organs / "imagesTr").glob("*.nii.gz"))[:2]):
        scan = nib.load(image)
        label = np.full(scan.shape, 9, dtype=np.uint8)
        nib.save(scan, folder / "imagesTr" / f"c{number}.nii.gz")
        nib.save(nib.Nifti1Image(label, scan.affine), folder / "labelsTr" / f"c{number}.nii.gz")
    return folder


def test_a_detection_is_fitted_to_its_findings(tmp_path: Path) -> None:
    write_luna16_phantoms(tmp_path / "lungs", cases=5, seed=0, shape=(64, 64, 48), spacing_mm=4.0)
    root = new_bundle(str(tmp_path / "nodules_detection"), task="detection", dataset=tmp_path / "lungs").root
    assert errors(root) == []
    config = compose(root, "train").config
    assert config["dataset_dir"] == str((tmp_path / "lungs").resolve())
    assert min(config["spacing_mm"]) > 1.25
    assert all(side <= 80 for side in config["roi_size"])
    assert all(width >= 2 for anchor in config["base_anchor_shapes"] for width in anchor)


@pytest.mark.parametrize(
    ("name", "match"), [("9lives", "no name for a bundle"), ("bundles_made", "exists already")], ids=["bad", "taken"]
)
def test_a_name_that_cannot_be_is_refused(
    name: str, match: str, organs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundles" / "bundles_made").mkdir(parents=True)
    with pytest.raises(ConfigError, match=match):
        new_bundle(name, task="segmentation", dataset=organs)


def test_a_name_without_the_task_gets_a_note(organs: Path, tmp_path: Path) -> None:
    (note,) = new_bundle(str(tmp_path / "organs"), task="segmentation", dataset=organs).notes
    assert "organs_segmentation" in note


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the hippocampus cases of MSD are not on this machine")
def test_real_cases_make_a_bundle(tmp_path: Path) -> None:
    words = ["bundle", "new", "hippocampus_segmentation", "--task", "segmentation", "--dataset", str(HIPPOCAMPUS)]
    subprocess.run([sys.executable, "-m", "medseg", *words], check=True, cwd=tmp_path, capture_output=True)
    config = compose(tmp_path / "bundles" / "hippocampus_segmentation", "train").config
    assert config["label_convention"] == {"anterior": 1, "posterior": 2}
    assert config["spacing_mm"] == [1.0, 1.0, 1.0]
