"""Cases on disk: the same samples as without, whole or not there, whoever writes and whoever dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, FgBgToIndicesd, NormalizeIntensityd, RandCropByPosNegLabeld, RandFlipd, Spacingd
from monai.utils import TraceKeys

from medseg.cache import CaseStore, fingerprint
from medseg.engines import CaseDataset, Draw, make_loader
from medseg.errors import ConfigError, DataError
from medseg.transforms import LoadCased
from medseg.volumes import Volume, write_volume


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    draws, found = np.random.default_rng(0), []
    for number in range(3):
        image = draws.random((20, 18, 14), dtype=np.float32) + 1
        label = np.zeros((20, 18, 14), np.uint8)
        label[5:12, 5:12, 5:10] = 1
        for name, array in (("image", image), ("label", label)):
            path = tmp_path / "data" / f"c{number}_{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            write_volume(path, array, Volume(array=array, affine_ras_mm=np.eye(4), path=path, header=None))
        paths = {name: str(tmp_path / "data" / f"c{number}_{name}.nii.gz") for name in ("image", "label")}
        found.append({"case_id": f"c{number}", **paths})
    return found


def fixed_steps() -> list[Any]:
    both = ["image", "label"]
    return [
        LoadCased(),
        Spacingd(both, (1.5, 1.5, 1.5), mode=["bilinear", "nearest"]),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        FgBgToIndicesd("label"),
    ]


def steps(*, crop: bool = True) -> Compose:
    both = ["image", "label"]
    kwargs = {"fg_indices_key": "label_fg_indices", "bg_indices_key": "label_bg_indices"}
    cropping = [RandCropByPosNegLabeld(both, "label", (6, 6, 6), num_samples=2, **kwargs)] if crop else []
    return Compose([*fixed_steps(), *cropping, RandFlipd(both, 0.5, 0)])


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, MetaTensor):
        return (
            torch.equal(one.as_tensor(), other.as_tensor())
            and same(one.meta, other.meta)
            and same(one.applied_operations, other.applied_operations)
        )
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, dict):
        # "id" is which object a step was, which Invertd does not ask for a case from disk
        return list(one) == list(other) and all(key == "id" or same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


@pytest.mark.parametrize("crop", [True, False], ids=["crops", "whole"])
def test_samples_are_the_same_as_without_to_the_last_bit(items: Any, tmp_path: Path, crop: bool) -> None:
    plain = CaseDataset(items, steps(crop=crop))
    for _ in ("written", "read"):
        kept = CaseDataset(items, steps(crop=crop), cache_dir=tmp_path / "cache")
        for draw in (Draw(0, 7), Draw(2, 8), Draw(0, 9)):
            assert same(plain[draw], kept[draw])
    assert len(list((tmp_path / "cache").glob("*/*/item.json"))) == 2


def test_what_is_kept_is_not_made_again_and_no_sample_writes_into_it(items: Any, tmp_path: Path) -> None:
    store = CaseStore(tmp_path / "cache", fixed_steps())
    made = Compose(fixed_steps())(items[0])
    assert same(store.get(0, items[0], lambda: made), made)
    again = CaseStore(tmp_path / "cache", fixed_steps())
    first = again.get(0, items[0], lambda: pytest.fail("made again"))
    first["image"] += 100
    assert same(again.get(0, items[0], lambda: pytest.fail("made again")), made)


def test_workers_share_what_any_of_them_wrote(items: Any, tmp_path: Path) -> None:
    dataset = CaseDataset(items, steps(), cache_dir=tmp_path / "cache")
    order = {"seed": 1, "shuffle": True, "draws_per_epoch": 4}
    plain, kept = make_loader(CaseDataset(items, steps()), **order), make_loader(dataset, num_workers=2, **order)
    for one, other in zip(islice(plain, 4), islice(kept, 4), strict=True):
        assert torch.equal(one["image"], other["image"])
    assert not dataset._cache  # nothing in memory


@pytest.mark.parametrize("change", ["transform", "file", "item"])
def test_another_transform_file_or_item_is_another_case(items: Any, tmp_path: Path, change: str) -> None:
    store = CaseStore(tmp_path / "cache", fixed_steps())
    before, other, item = store.key(items[0]), store, items[0]
    if change == "transform":
        changed = [*fixed_steps()[:-2], NormalizeIntensityd("image", nonzero=False), fixed_steps()[-1]]
        other = CaseStore(tmp_path / "cache", changed)
    elif change == "file":
        path = Path(items[0]["image"])
        array = np.ones((20, 18, 14), np.float32)
        write_volume(path, array, Volume(array=array, affine_ras_mm=np.eye(4), path=path, header=None))
    else:
        item = {**items[0], "channels": [0]}
    assert other.key(item) != before
    assert CaseStore(tmp_path / "cache", fixed_steps()).key(items[1]) == store.key(items[1])


def test_a_hash_is_the_same_in_another_process() -> None:
    code = "from tests.cache.test_store import fixed_steps; from medseg.cache import fingerprint; "
    code += "print(fingerprint(fixed_steps()))"
    here = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=here)
    assert done.stdout.strip() == fingerprint(fixed_steps()), done.stderr


def test_a_transform_without_a_name_is_refused(tmp_path: Path, items: Any) -> None:
    from monai.transforms import Lambdad

    with pytest.raises(ConfigError, match="cache_dir: the fixed transforms cannot be told apart"):
        CaseDataset(items, Compose([LoadCased(), Lambdad("image", lambda image: image)]), cache_dir=tmp_path / "c")


def test_other_types_come_back_as_they_were(tmp_path: Path) -> None:
    value = {
        "enum": TraceKeys.CLASS_NAME, "dtype": torch.float16, "path": Path("a"), "none": None, "float": float("nan"),
        "number": np.float64(2.5), "tuple": (1, [True, "x"]), "empty": np.zeros((0, 3)), "half": torch.ones(3).half(),
        3: "a key that is no text",
    }  # fmt: skip
    store = CaseStore(tmp_path / "cache", [])
    store.get(0, {}, lambda: value)
    found = store.get(0, {}, lambda: pytest.fail("made again"))
    assert np.isnan(found.pop("float"))
    value.pop("float")
    assert same(found, value)


def test_what_cannot_be_kept_is_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CaseStore(tmp_path / "cache", [])
    assert store.get(0, {}, lambda: {"x": {1, 2}}) == {"x": {1, 2}}
    assert "builtins.set, which the cache cannot keep" in caplog.text


@pytest.mark.parametrize("damage", ["short", "no json", "foreign class"])
def test_a_damaged_case_is_made_anew(tmp_path: Path, damage: str) -> None:
    store = CaseStore(tmp_path / "cache", [])
    store.get(0, {}, lambda: {"x": np.arange(1000.0)})
    (text,) = (tmp_path / "cache").glob("*/*/item.json")
    if damage == "short":
        os.truncate(text.with_name("block.bin"), 100)
    elif damage == "no json":
        text.write_text('{"t": ')
    else:
        text.write_text(json.dumps({"t": "named", "c": ["subprocess", "Popen"], "v": "touch /tmp/x"}))
    assert store.get(0, {}, lambda: {"x": 1}) == {"x": 1}
    assert store.get(0, {}, lambda: pytest.fail("made again")) == {"x": 1}


def test_a_full_disk_makes_it_slow_and_not_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = CaseStore(tmp_path / "cache", [])

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medseg.cache.store._flush", full)
    for _ in range(2):
        assert store.get(0, {}, lambda: {"x": 1}) == {"x": 1}
    assert caplog.text.count("No space left on device") == 1
    assert not list((tmp_path / "cache").glob("*/*/item.json"))


def test_an_error_of_a_transform_passes_and_leaves_nothing(tmp_path: Path, items: Any) -> None:
    items[0]["image"] = str(tmp_path / "missing.nii.gz")
    with pytest.raises(DataError, match=r"c0: .*missing.nii.gz"):
        _ = CaseDataset(items, steps(), cache_dir=tmp_path / "cache")[Draw(0, 1)]
    assert not list((tmp_path / "cache").glob("*/*/item.json"))


WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from medseg.cache import CaseStore
folder, mark, wait = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
def make():
    with mark.open("a") as file:
        file.write("made\\n")
    time.sleep(wait)
    return {"x": np.arange(300000.0)}
value = CaseStore(folder, []).get(0, {"case_id": "one"}, make)
print(value["x"].sum())
"""


def writer(tmp_path: Path, wait_s: float) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(tmp_path / "cache"), str(tmp_path / "mark"), str(wait_s)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path} did not come")


def test_two_writers_at_once_make_it_once_and_both_have_it(tmp_path: Path) -> None:
    both = [writer(tmp_path, 1.0) for _ in range(2)]
    assert {process.communicate(timeout=120)[0] for process in both} == {f"{np.arange(300000.0).sum()}\n"}
    assert (tmp_path / "mark").read_text() == "made\n"


def test_a_killed_writer_leaves_no_half_case_and_stops_nobody(tmp_path: Path) -> None:
    first = writer(tmp_path, 60.0)
    wait_for(tmp_path / "mark")
    # What a writer leaves that is killed between two bytes.
    place = next((tmp_path / "cache").glob("*/*.lock")).with_suffix("")
    half = place.with_name(f".{place.name}.{socket.gethostname()}.{first.pid}")
    half.mkdir()
    (half / "block.bin").write_bytes(b"half")
    first.send_signal(signal.SIGKILL)
    first.wait()
    fresh = CaseStore(tmp_path / "cache", [])
    assert not half.exists()
    assert fresh.get(0, {"case_id": "one"}, lambda: {"x": 3}) == {"x": 3}
