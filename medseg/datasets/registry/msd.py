"""Medical Segmentation Decathlon, Tasks 01-10.

URLs of the US bucket and MD5s: MONAI 1.6.1, `monai/apps/datasets.py`, class DecathlonDataset. The EU bucket with the
same files: the AWS registry of open data, https://registry.opendata.aws/msd/. Lengths of Tasks 01, 02, 03, 06 and 07:
measured by others on files of these MD5s; the other tasks publish none, so the server's length is taken and the MD5
decides. Modalities and labels: `dataset.json` of each task.
"""

from __future__ import annotations

from collections.abc import Mapping

from medseg.datasets.specs import DatasetSpec, FileSpec

_BUCKETS = (
    "https://msd-for-monai.s3-us-west-2.amazonaws.com",
    "https://msd-for-monai-eu.s3.eu-west-2.amazonaws.com",
)


def _task(
    folder: str,
    md5: str,
    *,
    title: str,
    modalities: tuple[str, ...],
    labels: Mapping[int, str],
    n_bytes: int | None = None,
    label_convention: str | None = None,
) -> DatasetSpec:
    archive = FileSpec(
        name=f"{folder}.tar",
        urls=tuple(f"{bucket}/{folder}.tar" for bucket in _BUCKETS),
        n_bytes=n_bytes,
        checksum=f"md5:{md5}",
        unpack=True,
        inner=folder,
        max_growth=1.1,  # a plain tar holds exactly its members
    )
    return DatasetSpec(
        name=f"msd_{folder.lower()}",
        title=f"MSD {title}",
        access="open",
        licence="CC BY-SA 4.0",
        citation="Antonelli et al. 2022, The Medical Segmentation Decathlon, https://doi.org/10.1038/s41467-022-30695-9",
        homepage="http://medicaldecathlon.com",
        source="URL and MD5: MONAI's DecathlonDataset; EU mirror: registry.opendata.aws/msd",
        files=(archive,),
        layout="msd",
        modalities=modalities,
        labels=labels,
        label_convention=label_convention,
        splits="none published; nnU-Net's: KFold(5, shuffle=True, random_state=12345) of the sorted ids",
    )


_TASKS = (
    _task(
        "Task01_BrainTumour",
        "240a19d752f0d9e9101544901065d872",
        title="Task01: brain tumour, MR",
        n_bytes=7_608_266_240,
        modalities=("flair", "t1", "t1c", "t2"),
        labels={1: "oedema", 2: "non-enhancing tumour", 3: "enhancing tumour"},
        label_convention="msd_task01",
    ),
    _task(
        "Task02_Heart",
        "06ee59366e1e5124267b774dbd654057",
        title="Task02: left atrium, MR",
        n_bytes=455_721_472,
        modalities=("mr",),
        labels={1: "left atrium"},
    ),
    _task(
        "Task03_Liver",
        "a90ec6c4aa7f6a3d087205e23d4e6397",
        title="Task03: liver and its tumours, CT",
        n_bytes=28_925_891_584,
        modalities=("ct",),
        labels={1: "liver", 2: "tumour"},
    ),
    _task(
        "Task04_Hippocampus",
        "9d24dba78a72977dbd1d2e110310f31b",
        title="Task04: hippocampus, MR",
        modalities=("mr",),
        labels={1: "anterior", 2: "posterior"},
    ),
    _task(
        "Task05_Prostate",
        "35138f08b1efaef89d7424d2bcc928db",
        title="Task05: prostate zones, MR",
        modalities=("t2", "adc"),
        labels={1: "peripheral zone", 2: "transition zone"},
    ),
    _task(
        "Task06_Lung",
        "8afd997733c7fc0432f71255ba4e52dc",
        title="Task06: lung tumours, CT",
        n_bytes=9_163_696_640,
        modalities=("ct",),
        labels={1: "cancer"},
    ),
    _task(
        "Task07_Pancreas",
        "4f7080cfca169fa8066d17ce6eb061e4",
        title="Task07: pancreas and its tumours, CT",
        n_bytes=12_289_971_712,
        modalities=("ct",),
        labels={1: "pancreas", 2: "cancer"},
    ),
    _task(
        "Task08_HepaticVessel",
        "641d79e80ec66453921d997fbf12a29c",
        title="Task08: hepatic vessels and tumours, CT",
        modalities=("ct",),
        labels={1: "vessel", 2: "tumour"},
    ),
    _task(
        "Task09_Spleen",
        "410d4a301da4e5b2f6f86ec3ddba524e",
        title="Task09: spleen, CT",
        modalities=("ct",),
        labels={1: "spleen"},
    ),
    _task(
        "Task10_Colon",
        "bad7a188931dc2f6acf72b08eb6202d0",
        title="Task10: colon cancer primaries, CT",
        modalities=("ct",),
        labels={1: "colon cancer primaries"},
    ),
)

MSD: dict[str, DatasetSpec] = {task.name: task for task in _TASKS}
