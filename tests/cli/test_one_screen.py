"""Forty faults through the command line: at most 15 lines that name cause, case, file, config key and way there."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.bundle.compose import compose
from medseg.bundle.screen import MAX_LINES
from medseg.cli.main import main

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "brats_mri_segmentation"
SIZE = 16
TINY = (
    "residual_unet::channels=[4, 8]",
    "residual_unet::strides=[2]",
    "residual_unet::num_res_units=0",
    f"roi_size=[{SIZE}, {SIZE}, {SIZE}]",
    "modalities=[t1, flair]",
    "device=cpu",
    "amp=false",
)
SHORT = ("epochs=1", "val_interval=1", "batch_size=1", "samples_per_epoch=1", "num_workers=0", "cache_cases=0")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a fault is put: three good cases, a copy of the bundle, and a folder for results."""

    data: Path
    bundle: Path
    out: Path

    def scan(self, case: str, kind: str) -> Path:
        return self.data / case / f"{case}_{kind}.nii.gz"

    def change(self, file: str, old: str, new: str) -> None:
        path = self.bundle / "configs" / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, and what the screen must say."""

    says: tuple[str, ...]
    verb: str = "train"
    words: tuple[str, ...] = ()
    spoil: Callable[[Place], object] = field(default=lambda place: None)
    code: int = 2


def write(path: Path, array: Any, *, spacing_mm: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])), path)


def voxels(*shape: int) -> Any:
    return np.random.default_rng(0).integers(1, 1000, shape or (SIZE, SIZE, SIZE)).astype(np.int16)


def labels(*values: int) -> Any:
    made = np.zeros((SIZE, SIZE, SIZE), dtype=np.uint8)
    for number, value in enumerate(values or (2, 1, 4)):
        made[4 + number : 12 - number, 4:12, 4:12] = value
    return made


def cut(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def twice(place: Place) -> None:
    content = json.loads((place.data / "datalist.json").read_text())
    content["training"].append(content["training"][1])
    (place.data / "datalist.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from monai.bundle import ConfigParser

    top = tmp_path_factory.mktemp("prepared")
    training = []
    for case in "ab":
        for kind in ("t1", "flair"):
            write(top / "data" / case / f"{case}_{kind}.nii.gz", voxels())
        write(top / "data" / case / f"{case}_seg.nii.gz", labels())
        image = [f"{case}/{case}_{kind}.nii.gz" for kind in ("t1", "flair")]
        training.append({"image": image, "label": f"{case}/{case}_seg.nii.gz", "fold": int(case != "a")})
    (top / "data" / "datalist.json").write_text(json.dumps({"name": "two", "training": training}))
    parser = ConfigParser(compose(BUNDLE, "inference", overrides=TINY).config)
    torch.save(parser.get_parsed_content("network_def").state_dict(), top / "weights.pt")
    return top


@pytest.fixture
def place(prepared: Path, tmp_path: Path) -> Place:
    shutil.copytree(prepared / "data", tmp_path / "data")
    shutil.copytree(BUNDLE, tmp_path / BUNDLE.name, ignore=shutil.ignore_patterns("models", "runs"))
    return Place(data=tmp_path / "data", bundle=tmp_path / BUNDLE.name, out=tmp_path / "out")


def run(fault: Fault, place: Place, weights: Path) -> int:
    """The exit code of the command with the fault, run in this process."""
    data = [] if any(word.startswith("dataset_dir=") for word in fault.words) else [f"dataset_dir={place.data}"]
    verbs: dict[str, list[object]] = {
        "train": ["train", place.bundle, "--run-dir", place.out, *data, *TINY, *SHORT],
        "predict": ["predict", place.bundle, place.data, "-o", place.out, *TINY],
        "evaluate": ["evaluate", "--pred", place.data, "--ref", place.data, "-o", place.out],
    }
    words = verbs[fault.verb] + [word.format(place=place) for word in fault.words]
    if fault.verb == "predict" and "--weights" not in words:
        words += ["--weights", weights]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["medseg", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


CONFIG = {
    "an unknown key": Fault(words=("epohcs=3",), says=("no key 'epohcs'. Did you mean 'epochs'?",)),
    "a value of the wrong kind": Fault(
        words=("epochs=many",), says=("epochs: 'many' is text, but a number is wanted",)
    ),
    "a number that is too small": Fault(words=("batch_size=0",), says=("batch_size: 0 is too small",)),
    "a target that does not exist": Fault(
        words=("--trust",),
        spoil=lambda place: place.change("common.yaml", "monai.networks.nets.UNet", "monai.networks.nets.UNett"),
        says=("configs/common.yaml:", "residual_unet::_target_", "'monai.networks.nets.UNett' does not exist"),
    ),
    "an argument that does not exist": Fault(
        spoil=lambda place: place.change("train.yaml", "betas:", "beta:"),
        says=("configs/train.yaml:", "optimizer::beta", "takes no argument 'beta'. Did you mean 'betas'?"),
    ),
    "a reference to nothing": Fault(
        spoil=lambda place: place.change("train.yaml", "lr: '@learning_rate'", "lr: '@learning_rat'"),
        says=("configs/train.yaml:", "optimizer::lr", "Did you mean '@learning_rate'?"),
    ),
    "references in a circle": Fault(
        spoil=lambda place: place.change("common.yaml", "network: $@network_def.to(@device)", "network: '@network'"),
        says=("configs/common.yaml:", "the references form a circle: network -> network"),
    ),
    "a name that no expression knows": Fault(
        words=("--trust",),
        spoil=lambda place: place.change("train.yaml", "$int(@warmup_share", "$math.floor(@warmup_share"),
        says=("configs/train.yaml:", "uses the unknown name 'math'"),
    ),
    "YAML that is none": Fault(
        spoil=lambda place: place.change("common.yaml", "roi_size: [128", "roi_size: [[128"),
        says=("common.yaml:", "not valid YAML"),
    ),
    "a key that comes twice": Fault(
        spoil=lambda place: place.change("common.yaml", "amp: true", "amp: true\namp: false"),
        says=("common.yaml:", "the key 'amp' comes twice"),
    ),
    "no bundle": Fault(verb="predict", words=("--preset", "gpuu"), says=("no preset is named 'gpuu'",)),
}
BUILD = {
    "strides that do not fit the channels": Fault(
        words=("residual_unet::channels=[4, 8, 16]",),
        says=("configs/common.yaml:", "residual_unet::strides: 1 strides for 3 levels of channels; 2 are wanted"),
    ),
    "a value that a layer cannot have": Fault(
        spoil=lambda place: place.change("common.yaml", "act: LEAKYRELU", "act: LEAKYRELU\n  dropout: 2.0"),
        says=("refuses its arguments", "dropout", "where: ", "residual_unet (monai.networks.nets.UNet)"),
    ),
    "an argument that a layer does not know": Fault(
        spoil=lambda place: place.change("common.yaml", "act: LEAKYRELU", "act: [SWISH, {slope: 0.1}]"),
        says=("unexpected keyword argument 'slope'", "where: ", "residual_unet (monai.networks.nets.UNet)"),
        code=1,
    ),
    "an expression that fails": Fault(
        spoil=lambda place: place.change("train.yaml", "$@regions.index('TC')", "$[r for r in @regions if r][7]"),
        says=(
            "IndexError: list index out of range",
            "where: configs/train.yaml:",
            "::inside",
            "chain: run::0 -> train::",
        ),
        code=1,
    ),
    "a division by zero": Fault(
        spoil=lambda place: place.change("train.yaml", "$int(@warmup_share *", "$int(@warmup_share / 0 *"),
        says=("ZeroDivisionError", "where: configs/train.yaml:", "lr_scheduler::warmup_steps", "chain: run::0"),
        code=1,
    ),
    "a learning rate below zero": Fault(
        spoil=lambda place: place.change("train.yaml", "lr: '@learning_rate'", "lr: $-1.0 * @learning_rate"),
        says=("refuses its arguments: Invalid learning rate: -", "where: configs/train.yaml:", "optimizer (torch"),
    ),
    "a crop of two sizes": Fault(
        words=("roi_size=[16, 16]",),
        says=("error: override: roi_size: [16, 16] has 2 axes, but residual_unet has 3",),
    ),
    "a schedule for no steps": Fault(
        words=("accumulation_steps=$1 - 1",),
        says=("error: ", "where: configs/train.yaml:", "total_steps (medseg.engines.optimizer_steps)", "next: "),
        code=1,
    ),
    "a decay that is none": Fault(
        spoil=lambda place: place.change("train.yaml", "decay: '@ema_decay'", "decay: $2 + @ema_decay"),
        says=("ema", "where: configs/train.yaml:", "ema (medseg.engines.Ema)", "chain: run::0"),
    ),
}
DATA = {
    "a scan that is cut": Fault(
        spoil=lambda place: cut(place.scan("b", "flair")),
        says=(
            "b_flair.nii.gz: truncated or damaged gzip",
            "case: b",
            "b_flair.nii.gz",
            "where: configs/train.yaml:",
            "load (medseg.transforms.LoadCased)",
            "chain: run::0 -> train::trainer",
        ),
    ),
    "a scan with NaN": Fault(
        verb="predict",
        spoil=lambda place: write(place.scan("b", "flair"), np.where(voxels() > 990, np.nan, 1.0).astype(np.float32)),
        says=("voxel(s) that are NaN", "case: b", "b_flair.nii.gz", "where: configs/inference.yaml:", "load (medseg"),
    ),
    "a scan of one value": Fault(
        verb="predict",
        spoil=lambda place: write(place.scan("b", "t1"), np.ones((SIZE, SIZE, SIZE), np.int16)),
        says=("every voxel of b_t1.nii.gz is 1", "case: b", "load (medseg.transforms.LoadCased)", "(1 of 2 cases"),
    ),
    "scans of two shapes": Fault(
        verb="predict",
        spoil=lambda place: write(place.scan("b", "flair"), voxels(SIZE, SIZE, 15)),
        says=(
            "shape 16x16x15 != 16x16x16",
            "case: b",
            "file: ",
            "b_flair.nii.gz",
            "chain: run::0 -> evaluator -> dataset",
        ),
    ),
    "scans of two places": Fault(
        spoil=lambda place: write(place.scan("b", "flair"), voxels(), spacing_mm=2.0),
        says=("same shape, but the affines differ", "case: b", "b_flair.nii.gz", "load (medseg"),
    ),
    "too many channels": Fault(
        spoil=lambda place: write(place.scan("b", "flair"), voxels(SIZE, SIZE, SIZE, 2)),
        says=("gives 3 channel(s), the network wants 2", "case: b", "where: "),
    ),
    "a label outside the convention": Fault(
        spoil=lambda place: write(place.scan("b", "seg"), labels(2, 9)),
        says=(
            "label values [9]",
            "case: b",
            "b_seg.nii.gz",
            "label_transforms::0 (medseg.transforms.LabelsToRegionsd)",
        ),
    ),
    "a label of fractions": Fault(
        spoil=lambda place: write(place.scan("b", "seg"), labels().astype(np.float32) / 3),
        says=("holds values that are no labels", "case: b", "b_seg.nii.gz", "load (medseg"),
    ),
    "a label on another grid": Fault(
        spoil=lambda place: write(place.scan("b", "seg"), labels()[:15]),
        says=("shape 15x16x16 != 16x16x16", "case: b", "file: ", "b_seg.nii.gz"),
    ),
    "a file that is not there": Fault(
        spoil=lambda place: place.scan("b", "t1").unlink(),
        says=("b_t1.nii.gz", "where: configs/train.yaml:", "train::dataset::data (medseg.datasets.training_items)"),
    ),
    "a datalist that is no JSON": Fault(
        spoil=lambda place: (place.data / "datalist.json").write_text("{"),
        says=("datalist.json: not a readable datalist", "where: configs/train.yaml:", "train::dataset::data"),
    ),
    "a fold that is not there": Fault(
        words=("fold=7",), says=("no case has fold 7. Folds in the datalist: 0, 1", "train::dataset::data")
    ),
    "no data": Fault(
        words=("dataset_dir=nowhere",), says=("dataset_dir: nowhere is no folder", "train::dataset::data")
    ),
    "two cases of one name": Fault(
        spoil=twice, says=("two cases are called 'b'", "train::dataset::data (medseg.datasets.training_items)")
    ),
    "labels by another convention": Fault(
        words=("label_convention=msd_task01",), says=("label values [4]", "LabelsToRegionsd", "case: b")
    ),
}
RUNTIME = {
    "a window that the strides do not divide": Fault(
        words=("roi_size=[15, 15, 15]",),
        says=("roi_size: [15, 15, 15] is not divisible by", "Choose multiples"),
    ),
    "a network of too few outputs": Fault(
        words=("regions=[TC, WT]",),
        says=("where: configs/train.yaml:", "chain: run::0 -> train::trainer -> loss", "next: The channels of"),
        code=1,
    ),
    "a transform without its key": Fault(
        spoil=lambda place: place.change("common.yaml", "source_key: image", "source_key: picture"),
        says=(
            "KeyError",
            "case: b",
            "configs/common.yaml:",
            "spatial_transforms::2 (",
            "transforms.CropForegroundd)",
        ),
    ),
    "a loader process that meets a bad case": Fault(
        spoil=lambda place: write(place.scan("b", "seg"), labels(2, 9)),
        words=("num_workers=1",),
        says=("label values [9]", "case: b", "b_seg.nii.gz", "label_transforms::0", "chain: run::0 ->"),
    ),
    "no GPU": Fault(words=("device=cuda:7",), says=("next: No GPU is usable here: set device=cpu.",), code=1),
    "a handler that cannot write": Fault(
        spoil=lambda place: (place.out.mkdir(), (place.out / "tensorboard").touch()),
        says=("where: configs/train.yaml:", "train::tensorboard (medseg.engines.TensorBoard)", "next: "),
        code=1,
    ),
    "a result that cannot be written": Fault(
        verb="predict",
        spoil=lambda place: (place.out / "a.nii.gz").mkdir(parents=True),
        says=("a.nii.gz", "case: a", "::6 (medseg.transforms.SaveCased)"),
    ),
    "weights of another network": Fault(
        verb="predict",
        words=("residual_unet::channels=[8, 16]",),
        says=(
            "weights for another network",
            "where: configs/inference.yaml:",
            "weights (medseg.engines.WeightsLoader)",
        ),
    ),
    "weights that are not there": Fault(
        verb="predict", words=("--weights", "none.pt"), says=("none.pt: no such file",)
    ),
}
SCORES = {
    "no folder of predictions": Fault(verb="evaluate", words=("--pred", "nowhere"), says=("nowhere",)),
    "a convention that is none": Fault(
        verb="evaluate", words=("--regions", "brats1999"), says=("--regions: no convention is named 'brats1999'",)
    ),
    "a tolerance below zero": Fault(verb="evaluate", words=("--tolerance-mm", "-1"), says=("--tolerance-mm: -1",)),
    "a prediction that is cut": Fault(
        verb="evaluate",
        spoil=lambda place: cut(place.scan("b", "seg")),
        says=("b_seg.nii.gz: truncated or damaged gzip",),
    ),
}
FAULTS = CONFIG | BUILD | DATA | RUNTIME | SCORES


def test_there_are_forty_faults() -> None:
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_fits_on_one_screen(
    name: str, place: Place, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = FAULTS[name]
    fault.spoil(place)
    assert run(fault, place, prepared / "weights.pt") == fault.code
    lines = capsys.readouterr().err.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    screen = lines[start:]
    assert len(screen) <= MAX_LINES
    assert not [line for line in lines if "Traceback" in line]
    for words in fault.says:
        assert words in "\n".join(screen)


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        message = "nobody thought of this"
        raise OSError(errno.EIO, message)

    monkeypatch.setattr("medseg.evaluation.evaluate_folders", fail)


@pytest.mark.usefixtures("bug")
def test_a_bug_is_one_screen_too_and_its_traceback_is_there_on_demand(
    place: Place, prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = Fault(verb="evaluate", says=(), code=1)
    assert run(fault, place, prepared) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: OSError: [Errno 5] nobody thought of this\ncode: ")
    assert "more: --traceback shows all of it" in shown
    assert "Traceback" not in shown
    assert run(Fault(verb="evaluate", words=("--traceback",), says=()), place, prepared) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert "error: OSError" in shown
