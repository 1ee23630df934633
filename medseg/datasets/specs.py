"""What is known of a public dataset: where its files are, what they must be, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from medseg.datasets.inventory import CaseFiles

Access = Literal["open", "login", "request"]
Layout = Literal["msd", "case_folders", "luna16", "npz", "totalsegmentator", "kits", "btcv", "lidc_xml"]

# Archives of .nii.gz hardly grow when unpacked; raw CT grows two- to threefold. More than this is a bomb.
MAX_GROWTH = 8.0
MAX_MEMBERS = 250_000


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a dataset.

    Attributes:
        name: Its path in the dataset's folder; of an archive, the name it is downloaded under.
        urls: Where it is, best first. All hold the same bytes.
        n_bytes: Its length, None where none is published.
        checksum: `md5:...` or `sha256:...` as published, None where none is: then the sha256 of the first download is
            recorded.
        synapse_id: What Synapse calls it, for a file that is handed out there to an account: it has no address of
            its own, and Synapse itself tells its length and MD5.
        unpack: Whether it is an archive.
        inner: The folder in the archive whose content is the dataset's.
        max_growth: How many times its own length an archive may unpack to.
        max_members: How many entries an archive may have.
    """

    name: str
    urls: tuple[str, ...] = ()
    n_bytes: int | None = None
    checksum: str | None = None
    synapse_id: str = ""
    unpack: bool = False
    inner: str = ""
    max_growth: float = MAX_GROWTH
    max_members: int = MAX_MEMBERS


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One public dataset.

    Attributes:
        name: What the command line calls it.
        title: What a person calls it.
        access: "open" to everyone, "login" at its host, or on "request".
        licence: The licence or terms.
        citation: What a paper that uses it cites.
        homepage: Its page.
        source: Where URLs, lengths and checksums come from.
        files: What is downloaded; empty where its owners hand it out in person.
        apply: Where and how to get it, for "login" and "request".
        layout: How its folder is arranged.
        modalities: What the images of a case are, in the order of the files or channels.
        label_convention: Name of the convention of its labels, None where `labels` says it.
        labels: Meaning of each label value, where no convention has it.
        splits: The official split, in words; empty where there is none.
    """

    name: str
    title: str
    access: Access
    licence: str
    citation: str
    homepage: str
    source: str
    layout: Layout
    files: tuple[FileSpec, ...] = ()
    apply: str = ""
    modalities: tuple[str, ...] = ()
    label_convention: str | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    splits: str = ""

    @property
    def n_bytes(self) -> int | None:
        """Bytes to download, None where the length of a file is not published."""
        sizes = [file.n_bytes for file in self.files]
        known = [size for size in sizes if size is not None]
        return sum(known) if sizes and len(known) == len(sizes) else None

    def cases(self, folder: str | Path | None = None) -> tuple[CaseFiles, ...]:
        """Its cases on disk, in their official sections and folds where it has any.

        Args:
            folder: Where it is; None for where `medseg data get` put or noted it.

        Raises:
            DataError: When it is not there, or holds no case.
        """
        from medseg.datasets.layouts import cases_of
        from medseg.datasets.shelf import dataset_folder

        return cases_of(self, dataset_folder(self.name) if folder is None else Path(folder))
