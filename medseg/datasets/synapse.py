"""Files on Synapse, behind an account: what one must be, and an address for it that is signed and works for minutes.

The account, the token and Synapse's answers are the business of `synapseclient`, an extra; the bytes come as every
other file's do: resumed, paced and verified, against the MD5 that Synapse keeps.
Source: the REST documentation, https://rest-docs.synapse.org/rest/, and synapseclient 4.14.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from medseg.datasets.specs import DatasetSpec, FileSpec
from medseg.datasets.transfer import Rules, Stopped, fetch
from medseg.errors import DataError

TOKEN_VARIABLE = "SYNAPSE_AUTH_TOKEN"  # as synapseclient has it; it also reads ~/.synapseConfig
INSTALL = "pip install 'medseg[synapse]'"
_PAGE = "https://www.synapse.org/Synapse:"


class _Client(Protocol):
    """What is used of `synapseclient.Synapse`."""

    fileHandleEndpoint: str

    def restGET(self, uri: str) -> Mapping[str, Any]: ...

    def restPOST(self, uri: str, body: str, *, endpoint: str) -> Mapping[str, Any]: ...


class Synapse:
    """A dataset's files, seen by the user's account."""

    def __init__(self, client: _Client, spec: DatasetSpec) -> None:
        self.client = client
        self.spec = spec

    def looked_up(self, file: FileSpec) -> FileSpec:
        """The file with a signed address, and the length and MD5 that Synapse has of it.

        Raises:
            DataError: When the account may not have it, or Synapse does not answer.
        """
        try:
            number = file.synapse_id.partition(".")[0]  # without the version that an earlier look-up found
            entity = self.client.restGET(f"/entity/{number}")
            handle = str(entity["dataFileHandleId"])
            answer = self.client.restPOST(
                "/fileHandle/batch", body=_request(file, handle), endpoint=self.client.fileHandleEndpoint
            )
            (told,) = answer["requestedFiles"]
            if told.get("failureCode"):
                raise self._refused(file, str(told["failureCode"]))
            facts = told["fileHandle"]
            self._check_name(file, entity.get("name"), facts.get("fileName"))
            return replace(
                file,
                urls=(str(told["preSignedURL"]),),
                n_bytes=int(facts["contentSize"]),
                checksum=f"md5:{facts['contentMd5']}",
                synapse_id=f"{number}.{entity['versionNumber']}",
            )
        except DataError:
            raise
        except Exception as error:
            raise self._refused(file, _one_line(error)) from error

    def fetch(self, file: FileSpec, target: Path, *, rules: Rules, on_bytes: Callable[[int], None]) -> FileSpec:
        """Bring a file to its place; a signed address that has run out is asked for anew, as long as bytes come.

        Returns:
            The file as it was looked up.

        Raises:
            DataError: As `fetch`.
        """
        part = target.with_name(f"{target.name}.part")
        while True:
            counted = _Counted(on_bytes)
            before = part.stat().st_size if part.exists() else 0
            told = self.looked_up(file)
            try:
                fetch(told, target, rules=rules, on_bytes=counted)
            except Stopped:
                raise
            except DataError:
                if not part.exists() or part.stat().st_size <= before:
                    raise
                counted.take_back()
                continue
            return told

    def _check_name(self, file: FileSpec, *names: object) -> None:
        """Refuse another file than is meant: the ids are those of public downloaders, the names tell whether they hold.

        Raises:
            DataError: When Synapse calls it neither by its title nor as a file what the spec does.
        """
        if file.name not in names:
            told = " or ".join(dict.fromkeys(str(name) for name in names if name))
            msg = (
                f"{file.name}: Synapse calls {file.synapse_id} {told or 'nothing'}. Not fetched: please report this. "
                f"To get it, {self.spec.apply}, and give it with --from FOLDER_OR_ARCHIVE."
            )
            raise DataError(msg)

    def _refused(self, file: FileSpec, reason: str) -> DataError:
        msg = (
            f"{file.name}: Synapse does not give {file.synapse_id} to this account ({reason}). "
            f"To be let in, {self.spec.apply}; then run it again, or use --from FOLDER_OR_ARCHIVE."
        )
        return DataError(msg)


class _Counted:
    """Tells of bytes, and can take them back."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self.on_bytes = on_bytes
        self.n_bytes = 0

    def __call__(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self.on_bytes(n_bytes)

    def take_back(self) -> None:
        self(-self.n_bytes)


def open_synapse(spec: DatasetSpec) -> Synapse:
    """The dataset's files, with the account whose token is in the environment or in the client's own config.

    Raises:
        DataError: When the extra is missing, or there is no token that Synapse takes; says how to get in.
    """
    try:
        import synapseclient
        from synapseclient.core.exceptions import SynapseAuthenticationError
    except ImportError as error:
        msg = _how(spec, f"{INSTALL}, put an access token into {TOKEN_VARIABLE} and run this again")
        raise DataError(msg) from error
    client = synapseclient.Synapse(silent=True, skip_checks=True)
    try:
        client.login(silent=True)
    except SynapseAuthenticationError as error:
        msg = _how(spec, f"put an access token with view and download into {TOKEN_VARIABLE} and run this again")
        raise DataError(msg) from error
    except Exception as error:
        msg = f"{spec.name}: Synapse could not be reached ({_one_line(error)}). Try again later, or use --from."
        raise DataError(msg) from error
    return Synapse(client, spec)


def page_of(file: FileSpec) -> str:
    """The page of a file, for the record: a signed address would be worth nothing tomorrow."""
    return f"{_PAGE}{file.synapse_id}"


def _how(spec: DatasetSpec, then: str) -> str:
    names = ", ".join(file.name for file in spec.files)
    return (
        f"{spec.name}: lies on Synapse behind an account. To get it, {spec.apply}; then {then}, "
        f"or download {names} there and give it with --from FOLDER_OR_ARCHIVE."
    )


def _request(file: FileSpec, handle: str) -> str:
    wanted = {
        "fileHandleId": handle,
        "associateObjectId": file.synapse_id.partition(".")[0],
        "associateObjectType": "FileEntity",
    }
    return json.dumps({"includeFileHandles": True, "includePreSignedURLs": True, "requestedFiles": [wanted]})


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
