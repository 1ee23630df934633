"""MedMNIST 3D at 28^3: one .npz each, with the official split inside.

Addresses and MD5s: `medmnist/info.py` of MedMNIST 3.0 (Zenodo record 10519652). Where MedMNIST 2.1 (record 6496656)
gives the same MD5, that record is the mirror; OrganMNIST3D and VesselMNIST3D were corrected in between.
"""

from __future__ import annotations

from medseg.datasets.specs import DatasetSpec, FileSpec

_V3 = "https://zenodo.org/records/10519652/files"
_V2 = "https://zenodo.org/records/6496656/files"


def _set(
    name: str, md5: str, *, title: str, split: tuple[int, int, int], mirrored: bool = True, n_bytes: int | None = None
) -> DatasetSpec:
    file = f"{name}.npz"
    return DatasetSpec(
        name=name,
        title=f"MedMNIST: {title}, 28x28x28",
        access="open",
        licence="CC BY 4.0",
        citation="Yang et al. 2023, MedMNIST v2, https://doi.org/10.1038/s41597-022-01721-8",
        homepage="https://medmnist.com",
        source="medmnist/info.py of MedMNIST 3.0: Zenodo record 10519652 and MD5",
        files=(
            FileSpec(
                name=file,
                urls=(f"{_V3}/{file}", f"{_V2}/{file}") if mirrored else (f"{_V3}/{file}",),
                n_bytes=n_bytes,
                checksum=f"md5:{md5}",
            ),
        ),
        layout="npz",
        splits="{} train, {} validation, {} test, in the file".format(*split),
    )


_SETS = (
    _set(
        "adrenalmnist3d",
        "bbd3c5a5576322bc4cdfea780653b1ce",
        title="adrenal glands",
        split=(1188, 98, 298),
        n_bytes=276_833,
    ),
    _set("fracturemnist3d", "6aa7b0143a6b42da40027a9dda61302f", title="rib fractures", split=(1027, 103, 240)),
    _set("nodulemnist3d", "8755a7e9e05a4d9ce80a24c3e7a256f3", title="lung nodules", split=(1158, 165, 310)),
    _set(
        "organmnist3d",
        "a0c5a1ff56af4f155c46d46fbb45a2fe",
        title="abdominal organs",
        split=(971, 161, 610),
        mirrored=False,
    ),
    _set("synapsemnist3d", "1235b78a3cd6280881dd7850a78eadb6", title="synapses", split=(1230, 177, 352)),
    _set(
        "vesselmnist3d",
        "b41fd4f7e7e2feedddb201585ecafa1b",
        title="brain vessels",
        split=(1335, 191, 382),
        mirrored=False,
    ),
)

MEDMNIST: dict[str, DatasetSpec] = {spec.name: spec for spec in _SETS}
