"""LUNA16, and the radiologists' readings of LIDC-IDRI that it was made from.

LUNA16: Zenodo records 3723295 (subset0-6, tables, lung masks, evaluation script) and 4121926 (subset7-9). MD5s and
lengths are those of these records' file lists, as quoted by two independent downloaders; `annotations.csv` was checked
against the real file. candidates_V2.zip and seg-lungs-LUNA16.zip have none here: the first download's is recorded.
The older record 2595813 holds a subset5 that does not unpack: it is no mirror.
LIDC-IDRI: The Cancer Imaging Archive, https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX; no checksum published.
"""

from __future__ import annotations

from medseg.datasets.specs import DatasetSpec, FileSpec

_PART1 = "https://zenodo.org/records/3723295/files"
_PART2 = "https://zenodo.org/records/4121926/files"
_SUBSETS = (
    ("1065b0f42b8c25cf29260fd924a3c3a2", 6_811_924_508),
    ("2eda28bb123543074f5cd849499b87ff", 6_334_778_552),
    ("685b484b085bcdb81c525f3b1bf97c51", 7_257_937_108),
    ("54707e9e8954af29326eed60f38ea321", 6_896_620_114),
    ("98225ccb1a41fc434631f63f4284796a", 6_856_144_330),
    ("395ec714c4123cf213fb7b08f05ee9cc", 6_610_460_097),
    ("d162df1444a6f2674ab8273c7f9e1520", 6_531_050_274),
    ("e99b8921990d1414bb5e92130371e8a3", 6_313_598_213),
    ("38260ca9a8741888997bcebedfabc3f1", 6_025_767_505),
    ("e55c473bbeebd712eb2224a58998be8e", 6_699_650_017),
)


def _subset(index: int, md5: str, n_bytes: int) -> FileSpec:
    record = _PART1 if index < 7 else _PART2
    name = f"subset{index}.zip"
    return FileSpec(
        name=name, urls=(f"{record}/{name}",), n_bytes=n_bytes, checksum=f"md5:{md5}", unpack=True, max_members=1_000
    )


def _part1(name: str, n_bytes: int | None = None, checksum: str | None = None, *, max_growth: float = 8.0) -> FileSpec:
    return FileSpec(
        name=name,
        urls=(f"{_PART1}/{name}",),
        n_bytes=n_bytes,
        checksum=checksum,
        unpack=name.endswith(".zip"),
        max_growth=max_growth,
    )


_LUNA16 = DatasetSpec(
    name="luna16",
    title="LUNA16: 888 chest CTs with 1186 nodules",
    access="open",
    licence="CC BY 4.0",
    citation="Setio et al. 2017, https://doi.org/10.1016/j.media.2017.06.015; "
    "Armato et al. 2011, https://doi.org/10.1118/1.3528204",
    homepage="https://luna16.grand-challenge.org",
    source="Zenodo records 3723295 and 4121926, with their MD5s",
    files=(
        _part1("annotations.csv", 136_986, "md5:f4404df491aee6445a4485061bfdffdd"),
        _part1("evaluationScript.zip", 21_803_068, "md5:02680d438a80dc26eeff0c12e1942642", max_growth=40.0),
        _part1("candidates_V2.zip", max_growth=40.0),
        # Masks of whole lungs are nearly constant: unpacked to raw they grow several hundredfold.
        _part1("seg-lungs-LUNA16.zip", max_growth=1000.0),
        *(_subset(index, md5, n_bytes) for index, (md5, n_bytes) in enumerate(_SUBSETS)),
    ),
    layout="luna16",
    modalities=("ct",),
    splits="subset0 to subset9 are the ten folds",
)

_LIDC = DatasetSpec(
    name="lidc_idri_annotations",
    title="LIDC-IDRI: the readings of four radiologists, XML",
    access="open",
    licence="CC BY 3.0",
    citation="Armato et al. 2015, https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",
    homepage="https://www.cancerimagingarchive.net/collection/lidc-idri/",
    source="The Cancer Imaging Archive; no checksum published",
    files=(
        FileSpec(
            name="LIDC-XML-only.zip",
            urls=("https://www.cancerimagingarchive.net/wp-content/uploads/LIDC-XML-only.zip",),
            unpack=True,
            max_growth=60.0,  # XML
            max_members=10_000,
        ),
    ),
    layout="lidc_xml",
)

LUNG: dict[str, DatasetSpec] = {spec.name: spec for spec in (_LUNA16, _LIDC)}
