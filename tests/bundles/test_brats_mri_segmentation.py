"""The BraTS bundle from phantoms to scores, as a user types it, with a network that takes seconds."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from medseg.cli.main import main
from medseg.labels import get_convention

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "brats_mri_segmentation"
MODALITIES = ("t1", "t1c", "t2", "flair")
MSD_ORDER = {"FLAIR": "flair", "T1w": "t1", "t1gd": "t1c", "T2w": "t2"}
MSD_OF_BRATS2017 = np.array([0, 2, 1, 0, 3], dtype=np.uint8)
SPACING_MM = 4
TINY: dict[str, Any] = {"spacing_mm": [4.0, 4.0, 4.0], "residual_unet::channels": [8, 8, 8, 8], "device": "cpu"}


def medseg(*words: object) -> None:
    """The command line, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code, words


def overrides(**values: Any) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Journey:
    """The folders that the commands have left."""

    data: Path
    run: Path
    predictions: Path
    scores: Path
    odd_scans: Path
    odd_predictions: Path
    held_out: str


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Phantoms, a smoke training, one epoch more, predictions and scores; then the same head in other grids."""
    here = tmp_path_factory.mktemp("journey")
    data, run = here / "data", here / "run"
    shape = ("--shape", "48,56,40", "--spacing-mm", SPACING_MM)
    medseg("data", "phantom", "brats", "--out", data, "--cases", 5, "--seed", 3, *shape)
    tiny = overrides(**TINY)
    medseg("train", BUNDLE, "--preset", "smoke", "--run-dir", run, f"dataset_dir={data}", *tiny)
    medseg("train", "--resume", run, "epochs=3")
    weights = ("--weights", run, "--probabilities", "device=cpu")
    medseg("predict", BUNDLE, data, "-o", run / "predictions", *weights)
    regions = ("--regions", "brats2017")
    medseg("evaluate", "--pred", run / "predictions", "--ref", data, *regions, "-o", run / "evaluation")
    held_out = next(e["case_id"] for e in json.loads((data / "datalist.json").read_text())["training"] if not e["fold"])
    write_odd_scans(data / held_out, here / "odd")
    medseg("predict", BUNDLE, here / "odd", "-o", here / "odd_predictions", *weights)
    return Journey(
        data=data,
        run=run,
        predictions=run / "predictions",
        scores=run / "evaluation",
        odd_scans=here / "odd",
        odd_predictions=here / "odd_predictions",
        held_out=held_out,
    )


def write_odd_scans(case: Path, folder: Path) -> None:
    """One head four times: axes turned round, oblique and anisotropic, both, and as MSD's 4-D file."""
    for modality in MODALITIES:
        scan = nib.load(case / f"{case.name}_{modality}.nii.gz")
        save_as(folder / "turned" / f"turned_{modality}.nii.gz", turned(scan))
        save_as(folder / "oblique" / f"oblique_{modality}.nii.gz", oblique(scan))
        save_as(folder / "both" / f"both_{modality}.nii.gz", turned(oblique(scan)))
    write_msd([case], folder / "msd", section="Ts")


def save_as(path: Path, image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)


def turned(image: Any) -> Any:
    """The same world with the voxel axes in another order and one of them the other way round."""
    return image.as_reoriented(np.array([[2, 1], [0, -1], [1, 1]]))


def oblique(image: Any) -> Any:
    """The same voxels in a head that lies askew, 3 x 4 x 5 mm apart; sform and qform say so with codes of their own."""
    about_z, about_x = np.deg2rad(20), np.deg2rad(-12)
    z = np.array([[np.cos(about_z), -np.sin(about_z), 0], [np.sin(about_z), np.cos(about_z), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(about_x), -np.sin(about_x)], [0, np.sin(about_x), np.cos(about_x)]])
    affine = np.eye(4)
    affine[:3, :3] = z @ x @ np.diag([3.0, 4.0, 5.0])
    affine[:3, 3] = [-70.5, -90.25, 33.0]
    made = nib.Nifti1Image(np.asarray(image.dataobj), affine)
    made.set_sform(affine, code=2)
    made.set_qform(affine, code=1)
    made.header.set_xyzt_units("mm", "sec")
    return made


def write_msd(cases: list[Path], folder: Path, *, section: str = "Tr") -> Path:
    """The cases in MSD's layout: 4-D files, channels named in dataset.json, its own label values."""
    entries = []
    for number, case in enumerate(cases):
        scans = [nib.load(case / f"{case.name}_{modality}.nii.gz") for modality in MSD_ORDER.values()]
        voxels = np.stack([np.asarray(scan.dataobj) for scan in scans], axis=-1)
        entry = {
            "image": f"images{section}/BRATS_{number:03d}.nii.gz",
            "label": f"labels{section}/BRATS_{number:03d}.nii.gz",
        }
        save_as(folder / entry["image"], nib.Nifti1Image(voxels, scans[0].affine))
        if section == "Tr":
            labels = MSD_OF_BRATS2017[np.asarray(nib.load(case / f"{case.name}_seg.nii.gz").dataobj)]
            save_as(folder / entry["label"], nib.Nifti1Image(labels, scans[0].affine))
        entries.append(entry)
    content = {
        "modality": {str(channel): name for channel, name in enumerate(MSD_ORDER)},
        "training": entries if section == "Tr" else [],
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def voxels_of(path: Path) -> npt.NDArray[Any]:
    return np.asarray(nib.load(path).dataobj)


def in_ras(path: Path) -> npt.NDArray[Any]:
    """Voxels with the axes as near to right, anterior and superior as they can be."""
    return np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj)


def box(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    where = np.argwhere(mask)
    return np.stack([where.min(axis=0), where.max(axis=0)])


def test_a_run_leaves_everything_that_a_run_folder_holds(journey: Journey) -> None:
    names = (
        "config.yaml",
        "run.json",
        "metrics.csv",
        "train.log",
        "model.pt",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    )
    assert [name for name in names if not (journey.run / name).is_file()] == []
    assert list((journey.run / "tensorboard").glob("events.*"))
    record = json.loads((journey.run / "run.json").read_text())
    assert (record["verb"], record["status"], record["resumed"]) == ("train", "finished", 1)


def test_a_resume_adds_epochs_to_those_that_were_there(journey: Journey) -> None:
    with (journey.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("1", "4"), ("2", "8"), ("3", "12")]
    for row in rows:
        assert float(row["loss"]) > 0
        assert 0 <= float(row["val_mean_dice"]) <= 1


def test_every_case_is_predicted_and_scored(journey: Journey) -> None:
    summary = json.loads((journey.scores / "summary.json").read_text())
    assert summary["n_cases"] == 5
    assert summary["missing_predictions"] == []
    with (journey.scores / "cases.csv").open(newline="") as file:
        scored = {(row["case_id"], row["region"]) for row in csv.DictReader(file)}
    cases = sorted(path.name for path in journey.data.iterdir() if path.is_dir())
    assert scored == {(case, region) for case in cases for region in ("TC", "WT", "ET")}
    values = {0, *get_convention("brats2017").values}
    for case in cases:
        assert set(np.unique(voxels_of(journey.predictions / f"{case}.nii.gz"))) <= values


@pytest.mark.parametrize("scan", ["phantom", "turned", "oblique", "both"])
def test_label_map_and_probabilities_lie_in_the_scan_s_own_grid(journey: Journey, scan: str) -> None:
    if scan == "phantom":
        source, folder, case = journey.data, journey.predictions, journey.held_out
    else:
        source, folder, case = journey.odd_scans, journey.odd_predictions, scan
    image = nib.load(source / case / f"{case}_t1c.nii.gz")
    label_map, probabilities = (
        nib.load(folder / f"{case}.nii.gz"),
        nib.load(folder / "probabilities" / f"{case}.nii.gz"),
    )
    assert (label_map.shape, label_map.get_data_dtype()) == (image.shape, np.uint8)
    assert (probabilities.shape, probabilities.get_data_dtype()) == ((*image.shape, 3), np.float32)
    for result in (label_map, probabilities):
        np.testing.assert_array_equal(result.affine, image.affine)
        np.testing.assert_allclose(result.get_qform(), image.get_qform(), atol=1e-4)
        for key in ("sform_code", "qform_code"):
            assert int(result.header[key]) == int(image.header[key])
        assert result.header.get_xyzt_units()[0] == image.header.get_xyzt_units()[0]


@pytest.mark.parametrize(("scan", "same_as"), [("turned", "phantom"), ("both", "oblique"), ("BRATS_000", "phantom")])
def test_the_order_of_axes_and_channels_changes_nothing(journey: Journey, scan: str, same_as: str) -> None:
    odd = journey.odd_predictions / "probabilities"
    known = odd if same_as != "phantom" else journey.predictions / "probabilities"
    got = in_ras(odd / f"{scan}.nii.gz")
    wanted = in_ras(known / f"{journey.held_out if same_as == 'phantom' else same_as}.nii.gz")
    # What misplaced voxels would differ by; the rest is rounding, in bfloat16.
    assert wanted.max() > 0.1
    assert np.abs(got - wanted).max() < 0.05 * wanted.max()


@pytest.mark.parametrize("scan", ["oblique", "both"])
def test_what_the_network_saw_comes_back_to_where_the_head_is(journey: Journey, scan: str) -> None:
    # The network sees the box of the head and its sigmoids are never 0; outside the box nothing was computed.
    seen = voxels_of(journey.odd_predictions / "probabilities" / f"{scan}.nii.gz").max(axis=-1) > 0
    head = [voxels_of(journey.odd_scans / scan / f"{scan}_{modality}.nii.gz") > 0 for modality in MODALITIES]
    # Resampling to 4 mm and back widens the box by less than a voxel of either grid: 4 / 3 + 1 along the first axis.
    np.testing.assert_allclose(box(seen), box(np.any(head, axis=0)), atol=2)


@pytest.fixture
def stock(journey: Journey, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stock `monai.bundle run` in the bundle's folder, with the weights of the journey."""

    def run(workflow: str, output_dir: Path) -> None:
        from monai.bundle import run

        monkeypatch.chdir(BUNDLE)
        run(
            args_file=f"configs/args/{workflow}.yaml",
            bundle_root=str(BUNDLE),
            dataset_dir=str(journey.data),
            output_dir=str(output_dir),
            ckpt_path=str(journey.run / "model.pt"),
            roi_size=[32, 32, 32],
            **TINY,
        )

    return run


def test_stock_monai_scores_the_path_that_ships(journey: Journey, stock: Callable[..., None], tmp_path: Path) -> None:
    stock("evaluate", tmp_path)
    name = f"{journey.held_out}.nii.gz"
    assert [path.name for path in tmp_path.glob("*.nii.gz")] == [name]
    np.testing.assert_array_equal(voxels_of(tmp_path / name), voxels_of(journey.predictions / name))
    scores = []
    for folder in (tmp_path, journey.scores):
        with (folder / "cases.csv").open(newline="") as file:
            scores.append([row for row in csv.DictReader(file) if row["case_id"] == journey.held_out])
    assert len(scores[0]) == 3
    assert scores[0] == scores[1]
    assert json.loads((tmp_path / "summary.json").read_text())["n_cases"] == 1


def test_segresnet_trains_by_one_override_on_msd_s_layout(journey: Journey, tmp_path: Path) -> None:
    import torch

    cases = sorted(path for path in journey.data.iterdir() if path.is_dir())[:2]
    data = write_msd(cases, tmp_path / "msd")
    chosen = ("network_def=@segresnet", "label_convention=msd_task01", f"dataset_dir={data}")
    small = overrides(**TINY, epochs=1, samples_per_epoch=1, **{"segresnet::init_filters": 8})
    medseg("train", BUNDLE, "--preset", "smoke", "--run-dir", tmp_path / "run", *chosen, *small)
    weights = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    assert weights["convInit.conv.weight"].shape == (8, 4, 3, 3, 3)
    medseg("predict", BUNDLE, data, "-o", tmp_path / "out", "--weights", tmp_path / "run", "device=cpu")
    written = sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz"))
    assert written == ["BRATS_000.nii.gz", "BRATS_001.nii.gz"]


def test_segresnet_has_the_names_and_shapes_of_the_zoo_s_weights() -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "common.yaml"))
    parser["network_def"] = "@segresnet"
    state = parser.get_parsed_content("network_def").state_dict()
    lines = Path(__file__).with_name("zoo_brats_segresnet.txt").read_text().splitlines()
    zoo = {
        name: tuple(map(int, shape)) for name, *shape in (line.split() for line in lines if not line.startswith("#"))
    }
    assert {name: tuple(value.shape) for name, value in state.items()} == zoo
