"""BraTS: the organisers hand the data out themselves, so nothing is downloaded; `--from` takes what the user was given.

Pages: https://www.med.upenn.edu/cbica/brats2018/data.html, .../brats2019/..., .../brats2020/data.html for the request,
https://www.synapse.org/Synapse:syn25829067 (2021), https://www.synapse.org/brats2023 (syn51156910) and
https://www.synapse.org/brats2024 (syn53708249) for the login. No checksums are published.
Labels: `medseg.labels`.
The files of one case are named <id>_flair, _t1, _t1ce, _t2, _seg until 2021 and <id>-t2f, -t1n, -t1c, -t2w, -seg later.
"""

from __future__ import annotations

from dataclasses import replace

from medseg.datasets.specs import Access, DatasetSpec

_MENZE = "Menze et al. 2015, https://doi.org/10.1109/TMI.2014.2377694"
_BAKAS = "Bakas et al. 2017, https://doi.org/10.1038/sdata.2017.117"
_BAID = "Baid et al. 2021, https://arxiv.org/abs/2107.02314"


def _year(year: int, access: Access, *, homepage: str, apply: str, citation: str) -> DatasetSpec:
    return DatasetSpec(
        name=f"brats{year}",
        title=f"BraTS {year}: adult glioma, MR",
        access=access,
        licence="research only" if access == "request" else "terms on Synapse",
        citation=citation,
        homepage=homepage,
        source="the challenge's own pages; no URL without an account, no checksum published",
        layout="case_folders",
        modalities=("t1c", "t1", "t2", "flair"),
        label_convention=f"brats{year}",
        apply=apply,
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


def _login(page: str, what: str) -> str:
    return f"make a Synapse account, accept the terms at https://www.synapse.org/{page}, download {what}"


_POST_TREATMENT = replace(
    _year(
        2024,
        "login",
        homepage="https://www.synapse.org/brats2024",
        apply=_login("brats2024", "the adult glioma data"),
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
        apply=_login("Synapse:syn25829067", "the data of Task 1"),
        citation=f"{_BAID}; {_MENZE}; {_BAKAS}",
    ),
    _year(
        2023,
        "login",
        homepage="https://www.synapse.org/brats2023",
        apply=_login("brats2023", "the adult glioma data"),
        citation=f"{_BAID}; {_MENZE}; {_BAKAS}",
    ),
    _POST_TREATMENT,
)

BRATS: dict[str, DatasetSpec] = {year.name: year for year in _YEARS}
