"""Writing a case's result in the native grid of its scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from medseg.errors import DataError
from medseg.volumes import read_volume, write_label_map, write_volume

KINDS = ("labels", "probabilities")


class SaveCased(MapTransform):
    """Writes `<output_dir>/<case_id>.nii.gz` on the grid of the case's first image file.

    A case whose image came from memory, as in MONAI Deploy, has no file: nothing is written, the caller has the result.

    Args:
        keys: Keys of the results, `(1, X, Y, Z)` label maps or `(R, X, Y, Z)` probabilities, already in native space.
        output_dir: Folder to write to; made when absent.
        kind: `labels` writes uint8, `probabilities` float32 with the regions as the last axis.
        source_key: Key of the image whose meta names the scan.
        allow_missing_keys: Whether an item without a key passes.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        *,
        kind: str = "labels",
        source_key: str = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if kind not in KINDS:
            msg = f"SaveCased: kind {kind!r} is none of {', '.join(KINDS)}."
            raise ValueError(msg)
        self.output_dir = Path(output_dir)
        self.kind = kind
        self.source_key = source_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes one item and returns it unchanged.

        Raises:
            DataError: When the result does not have the shape of the scan.
        """
        item = dict(data)
        if not item[self.source_key].meta.get("filename_or_obj"):
            return item
        reference = read_volume(Path(item[self.source_key].meta["filename_or_obj"]))
        case_id = item["case_id"]
        self.output_dir.mkdir(parents=True, exist_ok=True)
        for key in self.key_iterator(item):
            result = item[key].detach().cpu().numpy()
            if result.shape[1:] != reference.array.shape[:3]:
                msg = (
                    f"{case_id}: {key} has shape {result.shape[1:]}, the scan {reference.array.shape[:3]}. "
                    f"Invert the spatial transforms before SaveCased."
                )
                raise DataError(msg)
            path = self.output_dir / f"{case_id}.nii.gz"
            if self.kind == "labels":
                write_label_map(path, result[0].astype(np.uint8), like=reference)
            else:
                write_volume(path, np.moveaxis(result, 0, -1).astype(np.float32), like=reference)
        return item
