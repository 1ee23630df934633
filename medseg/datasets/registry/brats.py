"""BraTS: the organisers hand the data out themselves; `--from` takes what the user was given.

Since 2023 the archive of the training cases is a file on Synapse that an account with the terms accepted may fetch.
Its id, 2023 syn51514132 and 2024 syn60086071, is the one that several independent public downloaders have, with the
archive's name; neither was fetched from here. Of the 2021 archive, syn25956772, one public downloader has id and
name; the challenge's data page (syn25829067/wiki/610865) links the folder syn25953134, whose id is a little lower.
That is why an id is believed only when Synapse calls the file by the archive's name.

Pages: https://www.med.upenn.edu/cbica/brats2018/data.html, .../brats2019/..., .../brats2020/data.html for the request,
https://www.synapse.org/Synapse:syn25829067 (2021), https://www.synapse.org/brats2023 (syn51156910) and
https://www.synapse.org/brats2024 (syn53708249) for the login. No checksums are published;
Synapse tells the MD5 of its files to those whom it gives them.
Labels: `medseg.labels`.
The files of one case are named <id>_flair, _t1, _t1ce, _t2, _seg until 2021 and <id>-t2f, -t1n, -t1c, -t2w, -seg later.
"""

from __future__ import annotations

from dataclasses import replace

from medseg.datasets.specs import Access, DatasetSpec, FileSpec

_MENZE = "Menze et al. 2015, https://doi.org/10.1109/TMI.2014.2377694"
_BAKAS = "Bakas et al. 2017, https://doi.org/10.1038/sdata.2017.117"
_BAID = "Baid et al. 2021, https://arxiv.org/abs/2107.02314"


_SPLITS = "none published; nnU-Net's: KFold(5, shuffle=True, random_state=12345) of the sorted ids{before}"


def _on_synapse(synapse_id: str, archive: str, inner: str) -> tuple[FileSpec, ...]:
    return (FileSpec(name=archive, synapse_id=synapse_id, unpack=True, inner=inner),)


def _year(
    year: int, access: Access, *, homepage: str, apply: str, citation: str, files: tuple[FileSpec, ...] = ()
) -> DatasetSpec:
    return DatasetSpec(
        name=f"brats{year}",
        title=f"BraTS {year}: adult glioma, MR",
        access=access,
        licence="research only" if access == "request" else "terms on Synapse",
        citation=citation,
        homepage=homepage,
        source="the challenge's own pages; no URL without an account, no checksum published"
        + ("; id of the archive as public downloaders have it, held to its name and MD5 at download" if files else ""),
        files=files,
        layout="case_folders",
        modalities=("t1c", "t1", "t2", "flair"),
        label_convention=f"brats{year}",
        apply=apply,
        splits=_SPLITS.format(before=", HGG__ or LGG__ before them" if year < 2020 else "") if year < 2022 else "",
    )


def _request(year: int) -> DatasetSpec:
    homepage = f"https://www.med.upenn.edu/cbica/brats{year}/data.html"
    return _year(
        year,
        "request",
        homepage=homepage,
        apply=f"fill in the registration and data request form linked from {homepage}",
        citation=f"{_MENZE}; {_BAKAS}",
    )


def _login(page: str) -> str:
    return f"make a Synapse account, accept the terms at https://www.synapse.org/{page}"


_POST_TREATMENT = replace(
    _year(
        2024,
        "login",
        homepage="https://www.synapse.org/brats2024",
        apply=_login("brats2024"),
        files=_on_synapse("syn60086071", "BraTS2024-BraTS-GLI-TrainingData.zip", "training_data1_v2"),
        citation="de Verdier et al. 2024, https://arxiv.org/abs/2405.18368",
    ),
    title="BraTS 2024: adult glioma after treatment, MR",
)

_YEARS = (
    _request(2018),
    _request(2019),
    _request(2020),
    _year(
        2021,
        "login",
        homepage="https://www.synapse.org/Synapse:syn25829067",
        apply=_login("Synapse:syn25829067"),
        files=_on_synapse(
            "syn25956772",
            "RSNA_ASNR_MICCAI_BraTS2021_TrainingData_16July2021.zip",
            "RSNA_ASNR_MICCAI_BraTS2021_TrainingData_16July2021",
        ),
        citation=f"{_BAID}; {_MENZE}; {_BAKAS}",
    ),
    _year(
        2023,
        "login",
        homepage="https://www.synapse.org/brats2023",
        apply=_login("brats2023"),
        files=_on_synapse(
            "syn51514132",
            "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData.zip",
            "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData",
        ),
        citation=f"{_BAID}; {_MENZE}; {_BAKAS}",
    ),
    _POST_TREATMENT,
)

BRATS: dict[str, DatasetSpec] = {year.name: year for year in _YEARS}
