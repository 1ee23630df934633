import hashlib
import json
import random
import shutil
import sys
import zipfile
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from medseg.datasets.download import get_dataset
from medseg.datasets.registry import DATASETS
from medseg.datasets.shelf import read_record, staging_of, state_of
from medseg.errors import DataError

SPEC = DATASETS["brats2023"]
(FILE,) = SPEC.files


class Account:
    """What synapseclient.Synapse is to medseg, with Synapse behind it."""

    fileHandleEndpoint = "https://file.example.org"

    def __init__(self):
        self.token, self.failure, self.addresses, self.asked = "t", "", [], []
        self.content, self.file_name = b"", "blob"

    def __call__(self, **options):
        self.options = options
        return self

    def login(self, *, silent):
        if not self.token:
            msg = "No valid authentication\ncredentials provided."
            raise self.exceptions.SynapseNoCredentialsError(msg)

    def restGET(self, uri):
        self.asked.append(uri)
        return {"dataFileHandleId": "77", "versionNumber": 3, "name": FILE.name}

    def restPOST(self, uri, body, *, endpoint):
        self.asked.append((endpoint + uri, json.loads(body)["requestedFiles"]))
        if self.failure:
            return {"requestedFiles": [{"failureCode": self.failure}]}
        facts = {"contentSize": len(self.content), "contentMd5": hashlib.md5(self.content).hexdigest()}
        facts["fileName"] = self.file_name
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return {"requestedFiles": [{"fileHandle": facts, "preSignedURL": address}]}


@pytest.fixture
def account(monkeypatch):
    account = Account()
    client, core, exceptions = (ModuleType(f"synapseclient{part}") for part in ("", ".core", ".core.exceptions"))
    exceptions.SynapseAuthenticationError = type("SynapseAuthenticationError", (Exception,), {})
    exceptions.SynapseNoCredentialsError = type("No", (exceptions.SynapseAuthenticationError,), {})
    client.Synapse, account.exceptions = account, exceptions
    for module in (client, core, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return account


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSEG_DATA", str(tmp_path / "home"))
    return tmp_path / "home" / SPEC.name


@pytest.fixture
def archive(tmp_path):
    """The archive of one case, as BraTS 2023 packs it."""
    case = tmp_path / "made" / FILE.inner / "BraTS-GLI-00000-000"
    case.mkdir(parents=True)
    voxels = np.frombuffer(random.Random(1).randbytes(40_000), np.uint8).reshape(40, 50, 20)
    for name in ("t1n", "t1c", "t2w", "t2f", "seg"):
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), case / f"{case.name}-{name}.nii.gz")
    shutil.make_archive(str(tmp_path / "made"), "zip", tmp_path / "made")
    return (tmp_path / "made.zip").read_bytes()


def test_the_token_brings_the_archive(site, rules, account, archive, home):
    account.content, account.addresses = archive, [site.put("/f?X-Amz-Signature=secret", archive)]
    folder = get_dataset(SPEC, rules=rules)
    assert (folder / "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz").is_file()
    assert [case.patient for case in SPEC.cases()] == ["BraTS-GLI-00000"]
    told = read_record(folder)["files"][FILE.name]
    assert told["origin"] == "https://www.synapse.org/Synapse:syn51514132.3"
    assert told["checksum"] == "md5:" + hashlib.md5(archive).hexdigest()
    assert "secret" not in (folder / ".medseg-dataset.json").read_text()
    wanted = {"fileHandleId": "77", "associateObjectId": "syn51514132", "associateObjectType": "FileEntity"}
    assert account.asked[0::2] == ["/entity/syn51514132"] * 2
    assert account.asked[:2] == ["/entity/syn51514132", ("https://file.example.org/fileHandle/batch", [wanted])]


def test_an_address_that_runs_out_is_asked_for_anew(site, rules, account, archive, home):
    first = site.put("/f?old", archive, "cut:20000", "403")
    account.content, account.addresses = archive, [first, first, site.put("/f?new", archive)]
    folder = get_dataset(SPEC, rules=rules)
    assert read_record(folder)["files"][FILE.name]["bytes"] == len(archive)
    assert site.bodies("/f?new") == [("bytes=20000-", "ok")]


def test_a_download_goes_on_in_the_next_run(site, rules, account, archive, home):
    account.content, account.addresses = archive, [site.put("/g?a", archive, "cut:30000", "403")]
    with pytest.raises(DataError, match="403"):
        get_dataset(SPEC, rules=rules)
    assert state_of(home) == "partial"
    note = next(staging_of(home).rglob("*.part.json")).read_text()
    assert "?a" not in note
    account.addresses = [site.put("/g?b", archive)]
    get_dataset(SPEC, rules=rules)
    assert site.bodies("/g?b") == [("bytes=30000-", "ok")]


def test_other_bytes_than_synapse_says_are_refused(site, rules, account, archive, home):
    account.content, account.addresses = archive, [site.put("/x", archive, "corrupt:500")]
    with pytest.raises(DataError, match="its md5 is [0-9a-f]{32}, [0-9a-f]{32} is published"):
        get_dataset(SPEC, rules=rules)
    assert state_of(home) == "absent"


def test_who_is_not_let_in_is_told_how(rules, account, home):
    account.addresses, account.failure = ["x"], "UNAUTHORIZED"
    with pytest.raises(
        DataError, match=r"does not give syn51514132 to this account \(UNAUTHORIZED\). To be let in, make"
    ):
        get_dataset(SPEC, rules=rules)
    account.token = ""
    with pytest.raises(DataError, match="accept the terms .* with view and download into SYNAPSE_AUTH_TOKEN .* --from"):
        get_dataset(SPEC, rules=rules)
    account.token, account.restGET = "t", lambda uri: 1 / 0
    with pytest.raises(DataError, match=r"to this account \(division by zero\)"):
        get_dataset(SPEC, rules=rules)


@pytest.mark.parametrize("name", ["brats2021", "brats2024", "btcv"])
def test_an_id_that_is_another_files_is_not_fetched(site, rules, account, archive, home, name):
    spec = DATASETS[name]
    account.content, account.addresses = archive, [site.put(f"/{spec.name}", archive)]
    with pytest.raises(
        DataError, match=rf"{spec.files[0].name}: Synapse calls syn\d+ {FILE.name} or blob\. Not fetched"
    ):
        get_dataset(spec, rules=rules)
    assert not site.bodies(f"/{spec.name}")
    assert state_of(home.with_name(name)) == "absent"


def test_an_entity_with_another_title_is_known_by_its_file(site, rules, account, archive, home):
    account.content, account.addresses = archive, [site.put("/titled", archive)]
    account.restGET = lambda _: {"dataFileHandleId": "77", "versionNumber": 1, "name": "Training data"}
    account.file_name = FILE.name
    assert get_dataset(SPEC, rules=rules) == home


@pytest.mark.parametrize("name", ["brats2021", "brats2023", "brats2024", "btcv"])
def test_a_missing_extra_names_its_command(rules, monkeypatch, home, name):
    monkeypatch.setitem(sys.modules, "synapseclient", None)
    with pytest.raises(
        DataError, match=r"pip install 'medseg\[synapse\]', put an access token into SYNAPSE_AUTH_TOKEN"
    ):
        get_dataset(DATASETS[name], rules=rules)
    assert state_of(home) == "absent"


def test_what_the_user_has_needs_no_account(rules, monkeypatch, home, archive, tmp_path):
    monkeypatch.setitem(sys.modules, "synapseclient", None)
    (tmp_path / FILE.name).write_bytes(archive)
    folder = get_dataset(SPEC, given=tmp_path / FILE.name, rules=rules)
    assert (folder / "BraTS-GLI-00000-000").is_dir()
    with zipfile.ZipFile(tmp_path / "from_a_friend.zip", "w") as packed:
        packed.write(tmp_path / FILE.name)
    with pytest.raises(DataError, match="no case here"):
        get_dataset(SPEC, tmp_path / "other", given=tmp_path / "from_a_friend.zip", rules=rules)
