import re
from pathlib import Path

import pytest

from medseg.datasets.part import fault_of
from medseg.datasets.registry import DATASETS, get_spec
from medseg.errors import ConfigError
from medseg.labels import CONVENTIONS
from medseg.volumes.names import canonical_modality

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
each_dataset = pytest.mark.parametrize("spec", DATASETS.values(), ids=DATASETS.keys())


@each_dataset
def test_a_spec_says_what_a_user_must_know(spec):
    assert get_spec(spec.name) is spec
    assert re.fullmatch(r"[a-z0-9_]+", spec.name)
    assert all((spec.title, spec.licence, spec.citation, spec.homepage, spec.source))
    assert "http" in spec.citation
    assert bool(spec.files) or spec.access != "open"
    assert all(file.synapse_id for file in spec.files if spec.access != "open")
    assert bool(spec.apply) == (spec.access != "open")
    assert spec.label_convention is None or spec.label_convention in CONVENTIONS
    assert list(spec.modalities) == [canonical_modality(name) for name in spec.modalities]


@each_dataset
def test_files_are_fetched_over_tls_and_named_safely(spec):
    names = [file.name for file in spec.files]
    assert len(set(names)) == len(names)
    for file in spec.files:
        assert bool(file.urls) != bool(file.synapse_id)
        assert re.fullmatch(r"(syn\d+)?", file.synapse_id)
        assert all(url.startswith("https://") for url in file.urls)
        assert not Path(file.name).is_absolute()
        assert ".." not in Path(file.name).parts
        assert file.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)
        assert file.n_bytes is None or file.n_bytes > 0
        assert file.unpack == file.name.endswith((".zip", ".tar"))


def test_no_two_files_share_a_checksum():
    sums = [file.checksum for spec in DATASETS.values() for file in spec.files if file.checksum]
    assert len(set(sums)) == len(sums)


@pytest.mark.parametrize(
    ("name", "n_files"),
    [("luna16", 14), ("kits23", 978), ("msd_task04_hippocampus", 1), ("brats2021", 1), ("brats2020", 0)],
)
def test_datasets_have_all_their_files(name, n_files):
    assert len(DATASETS[name].files) == n_files


def test_all_ten_decathlon_tasks_are_there():
    numbers = sorted(int(match[1]) for name in DATASETS if (match := re.match(r"msd_task(\d\d)_", name)))
    assert numbers == list(range(1, 11))


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match="no dataset is called 'LUNA'. Did you mean luna16"):
        get_spec("LUNA")


@pytest.mark.parametrize(
    ("name", "file", "place"),
    [
        ("adrenalmnist3d", "adrenalmnist3d.npz", "adrenalmnist3d/adrenalmnist3d.npz"),
        ("luna16", "annotations.csv", "luna16/annotations.csv"),
    ],
)
def test_real_files_have_the_published_length_and_checksum(name, file, place):
    path = SHARED / place
    if not path.is_file():
        pytest.skip(f"{place} of the real data is not here")
    spec = next(entry for entry in get_spec(name).files if entry.name == file)
    assert spec.checksum is not None
    assert fault_of(path, spec) is None
