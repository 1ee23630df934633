"""Abdomen and whole body: TotalSegmentator, AMOS22, KiTS23, BTCV.

TotalSegmentator 2.0.1: Zenodo records 10047292 (all) and 10047263 (102 subjects), MD5s and lengths of their file lists.
AMOS22: Zenodo record 7155725, the MD5 of its file list; record 7262581 has the same file.
KiTS23: the addresses that the challenge's own downloader uses (github.com/neheller/kits23); no checksums published;
case numbers 0-299 and 400-588. BTCV: Synapse syn3193805, behind a login.
"""

from __future__ import annotations

from medseg.datasets.specs import DatasetSpec, FileSpec

_KITS_IMAGES = "https://kits19.sfo2.digitaloceanspaces.com"
_KITS_LABELS = "https://raw.githubusercontent.com/neheller/kits23/e282208/dataset"
_KITS_CASES = (*range(300), *range(400, 589))


def _totalsegmentator(name: str, record: int, *, archive: str, n_bytes: int, md5: str, subjects: int) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        title=f"TotalSegmentator 2.0.1: CT of {subjects} subjects, 117 structures",
        access="open",
        licence="CC BY 4.0",
        citation="Wasserthal et al. 2023, https://doi.org/10.1148/ryai.230024",
        homepage=f"https://zenodo.org/records/{record}",
        source=f"Zenodo record {record}, with its MD5",
        files=(
            FileSpec(
                name=archive,
                urls=(f"https://zenodo.org/records/{record}/files/{archive}",),
                n_bytes=n_bytes,
                checksum=f"md5:{md5}",
                unpack=True,
            ),
        ),
        layout="totalsegmentator",
        modalities=("ct",),
        splits="meta.csv has the official train, val and test subjects",
    )


_AMOS = DatasetSpec(
    name="amos22",
    title="AMOS22: 15 abdominal organs, CT and MR",
    access="open",
    licence="CC BY 4.0",
    citation="Ji et al. 2022, https://arxiv.org/abs/2206.08023",
    homepage="https://amos22.grand-challenge.org",
    source="Zenodo record 7155725, with its MD5; mirror: record 7262581",
    files=(
        FileSpec(
            name="amos22.zip",
            urls=(
                "https://zenodo.org/records/7155725/files/amos22.zip",
                "https://zenodo.org/records/7262581/files/amos22.zip",
            ),
            checksum="md5:67717b2a483ac0744c89c3016b7aaef7",
            unpack=True,
            inner="amos22",
        ),
    ),
    layout="msd",
    modalities=("ct",),
    labels={
        1: "spleen",
        2: "right kidney",
        3: "left kidney",
        4: "gallbladder",
        5: "oesophagus",
        6: "liver",
        7: "stomach",
        8: "aorta",
        9: "inferior vena cava",
        10: "pancreas",
        11: "right adrenal gland",
        12: "left adrenal gland",
        13: "duodenum",
        14: "bladder",
        15: "prostate or uterus",
    },
    splits="imagesTr trains, imagesVa validates",
)


def _kits_case(number: int) -> tuple[FileSpec, FileSpec]:
    case = f"case_{number:05d}"
    return (
        FileSpec(name=f"{case}/imaging.nii.gz", urls=(f"{_KITS_IMAGES}/master_{number:05d}.nii.gz",)),
        FileSpec(name=f"{case}/segmentation.nii.gz", urls=(f"{_KITS_LABELS}/{case}/segmentation.nii.gz",)),
    )


_KITS = DatasetSpec(
    name="kits23",
    title="KiTS23: kidneys, tumours and cysts, CT of 489 patients",
    access="open",
    licence="CC BY-NC-SA 4.0",
    citation="Heller et al. 2023, https://arxiv.org/abs/2307.01984",
    homepage="https://kits-challenge.org/kits23/",
    source="the addresses of github.com/neheller/kits23; no checksums published",
    files=tuple(file for number in _KITS_CASES for file in _kits_case(number)),
    layout="kits",
    modalities=("ct",),
    splits="none published; nnU-Net's: KFold(5, shuffle=True, random_state=12345) of the sorted ids",
    labels={1: "kidney", 2: "tumour", 3: "cyst"},
)

_BTCV = DatasetSpec(
    name="btcv",
    title="BTCV: 13 abdominal organs, CT of 30 subjects",
    access="login",
    licence="terms on Synapse",
    citation="Landman et al. 2015, https://doi.org/10.7303/syn3193805",
    homepage="https://www.synapse.org/Synapse:syn3193805",
    source="Synapse syn3193805, the file syn3379050 (RawData.zip), as public downloaders have it; MD5 from Synapse",
    files=(FileSpec(name="RawData.zip", synapse_id="syn3379050", unpack=True, inner="RawData"),),
    apply="make a Synapse account, join the challenge at https://www.synapse.org/Synapse:syn3193805",
    layout="btcv",
    modalities=("ct",),
    labels={
        1: "spleen",
        2: "right kidney",
        3: "left kidney",
        4: "gallbladder",
        5: "oesophagus",
        6: "liver",
        7: "stomach",
        8: "aorta",
        9: "inferior vena cava",
        10: "portal and splenic vein",
        11: "pancreas",
        12: "right adrenal gland",
        13: "left adrenal gland",
    },
)

_SPECS = (
    _totalsegmentator(
        "totalsegmentator",
        10047292,
        archive="Totalsegmentator_dataset_v201.zip",
        n_bytes=23_581_218_285,
        md5="fe250e5718e0a3b5df4c4ea9d58a62fe",
        subjects=1228,
    ),
    _totalsegmentator(
        "totalsegmentator_small",
        10047263,
        archive="Totalsegmentator_dataset_small_v201.zip",
        n_bytes=3_244_617_817,
        md5="6b5524af4b15e6ba06ef2d700c0c73e0",
        subjects=102,
    ),
    _AMOS,
    _KITS,
    _BTCV,
)

ABDOMEN: dict[str, DatasetSpec] = {spec.name: spec for spec in _SPECS}
