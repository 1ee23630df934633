from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.bundle.compose import LAYERS, compose
from medseg.bundle.find import list_presets
from medseg.bundle.run import predict, resume, train
from medseg.bundle.trust import bundle_powers, require_trust
from medseg.errors import ConfigError, TrustError

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.parent.parent for path in (ROOT / "bundles").glob("*/configs/metadata.json"))
# Harmless, but not known to be: the toy's own part, which only the settings let in.
STRANGE = "x: {_target_: toy_parts.unknown, _disabled_: true}\n"


@pytest.mark.parametrize("root", BUNDLES, ids=lambda root: root.name)
@pytest.mark.parametrize("preset", [None, *sorted(list_presets())])
def test_our_bundles_need_no_trust(root: Path, preset: str | None, settings: Path) -> None:
    (settings / "allowed.txt").unlink()
    for workflow in LAYERS:
        composition = compose(root, workflow, presets=[preset] if preset else [])
        assert bundle_powers(composition) == []
        assert not require_trust(composition)


@pytest.mark.parametrize(
    "token",
    [
        "network_def=@segresnet",
        "device=$torch.device('cpu')",
        'intensity_transforms=["@normalize_by_mean"]',
        "epochs=3",
    ],
)
def test_overrides_from_the_model_card_need_no_trust(token: str) -> None:
    assert bundle_powers(compose("brats_mri_segmentation", "train", overrides=[token])) == []


def test_a_copy_elsewhere_under_another_name_is_no_less_ours(tmp_path: Path) -> None:
    import shutil

    root = shutil.copytree(BUNDLES[0], tmp_path / "another_segmentation")
    assert bundle_powers(compose(root, "train")) == []


def test_trust_is_remembered_for_this_content(make_bundle: Callable[..., Path], settings: Path) -> None:
    root = make_bundle(train=STRANGE)
    with pytest.raises(TrustError, match=r"toy: the bundle can execute 1 thing .* add --trust"):
        require_trust(compose(root, "train"))
    assert not (settings / "trusted.json").exists()
    assert require_trust(compose(root, "train"), trust=True)
    assert require_trust(compose(root, "train"))
    assert [e["bundle"] for e in json.loads((settings / "trusted.json").read_text()).values()] == ["toy"]
    # The whole content counts: what looks like a number may be what a strange part is told to do.
    (root / "configs" / "train.yaml").write_text((root / "configs" / "train.yaml").read_text() + "y: 1\n")
    with pytest.raises(TrustError):
        require_trust(compose(root, "train"))


@pytest.mark.parametrize("name", ["scripts/net.py", "models/model.pt", "docs/README.md"])
def test_every_file_of_the_bundle_counts(make_bundle: Callable[..., Path], name: str) -> None:
    root = make_bundle(train=STRANGE)
    require_trust(compose(root, "train"), trust=True)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("changed")
    with pytest.raises(TrustError):
        require_trust(compose(root, "train"))


def test_what_runs_leave_in_the_bundle_does_not_count(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train=STRANGE)
    require_trust(compose(root, "train"), trust=True)
    (root / "runs").mkdir()
    (root / "runs" / "log.txt").write_text("1")
    assert require_trust(compose(root, "train"))
    (root / "runs" / "net.py").write_text("1")  # which a config could name
    with pytest.raises(TrustError):
        require_trust(compose(root, "train"))


def test_overrides_do_not_undo_trust_unless_they_can_execute_something(make_bundle: Callable[..., Path]) -> None:
    root = make_bundle(train=STRANGE)
    require_trust(compose(root, "train"), trust=True)
    assert require_trust(compose(root, "train", overrides=["epochs=9", "device=cuda"]))
    with pytest.raises(TrustError, match="2 things"):
        require_trust(compose(root, "train", overrides=["device=$open('a')"]))


def test_a_preset_counts_by_its_content(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    root, preset = make_bundle(train=STRANGE), tmp_path / "p.yaml"
    preset.write_text("epochs: 2\n")
    require_trust(compose(root, "train", presets=[str(preset)]), trust=True)
    assert require_trust(compose(root, "train", presets=[str(preset)]))
    preset.write_text("epochs: 3\n")
    with pytest.raises(TrustError):
        require_trust(compose(root, "train", presets=[str(preset)]))


def test_a_run_of_a_trusted_bundle_resumes_and_predicts(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    import nibabel as nib
    import numpy as np

    root, run = make_bundle(train=STRANGE, inference=STRANGE), tmp_path / "run"
    with pytest.raises(TrustError):
        train(root, run_dir=run)
    assert not run.exists()
    train(root, run_dir=run, trust=True)
    resume(run)
    resume(run, overrides=["epochs=9"])
    resume(run)
    (run / "model.pt").write_bytes(b"")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    assert predict(root, [tmp_path / "a.nii.gz"], output_dir=tmp_path / "out", weights=run)


def test_a_slip_in_a_name_is_a_slip_and_no_threat(make_bundle: Callable[..., Path]) -> None:
    slip = "x: {_target_: monai.losses.DiceLos}\n"
    with pytest.raises(ConfigError, match="Did you mean 'DiceLoss'"):
        require_trust(compose(make_bundle(train=slip), "train"))
    with pytest.raises(TrustError, match="2 things"):
        require_trust(compose(make_bundle("toy2", train=slip + "y: {_target_: os.abort}\n"), "train"))


def test_a_damaged_list_of_trusted_bundles_is_no_trust(make_bundle: Callable[..., Path], settings: Path) -> None:
    (settings / "trusted.json").write_text("{")
    with pytest.raises(ConfigError, match=r"trusted\.json: the list of trusted bundles cannot be read"):
        require_trust(compose(make_bundle(train=STRANGE), "train"))
