"""Writing what was found in a case: boxes in the world, marks for LUNA16, a label map and pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from medseg.errors import ConfigError, DataError
from medseg.transforms.box_frames import affine_of
from medseg.volumes import read_volume, write_label_map
from medseg.volumes.box_masks import SHAPES, paint_boxes
from medseg.volumes.box_pictures import LUNG_WINDOW_HU, box_picture
from medseg.volumes.boxes import boxes_to_voxel, boxes_to_world, valid_boxes
from medseg.volumes.detections import Detections, make_detections, update_submission, write_detections
from medseg.volumes.files import atomic_path
from medseg.volumes.png import grey_png
from medseg.volumes.volume import Volume

FILE = "detections.json"
SUBMISSION_FILE = "submission.csv"
_MOST_VALUES = 255  # of a label map in uint8


class SaveDetectionsd(MapTransform):
    """Writes a case's detections in all the forms that others read.

    | file in `output_dir` | what |
    |---|---|
    | `<case_id>/detections.json` | boxes in RAS mm, scores, classes; units and frame are stated in it |
    | `submission.csv` | LUNA16's marks of all cases, LPS mm; a case that is written again replaces its own |
    | `<case_id>.nii.gz` | label map in the scan's own grid: 1 in the surest box, 2 in the next; at most 255 |
    | `<case_id>/crops/01.png`, ... | three planes around each of the surest boxes, in a lung window |

    Args:
        keys: Keys of the detections: a mapping with `box` `(N, 6)`, voxel edge coordinates of the image as it now
            stands, or `box_ras_mm` `(N, 6)`; `score` `(N,)`; `label` `(N,)`. Boxes without size are left out.
        output_dir: Folder to write to; made when absent.
        image_key: Key of the image, a `MetaTensor` with its affine; its meta names the scan.
        label_names: Name of each class.
        submission: Whether to write `submission.csv`.
        label_map: Whether to write the label map.
        label_map_score: Least score of a box in the label map.
        label_map_fill: `ellipsoid`, as nodules are, or `box`.
        crops: Boxes to picture.
        crop_mm: Width and height of each plane.
        crop_window_hu: Values shown black and white.
        allow_missing_keys: Whether an item without a key passes.

    Raises:
        ConfigError: When an argument cannot be.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        *,
        image_key: str = "image",
        label_names: Sequence[str] = ("nodule",),
        submission: bool = True,
        label_map: bool = True,
        label_map_score: float = 0.0,
        label_map_fill: str = "ellipsoid",
        crops: int = 5,
        crop_mm: float = 64.0,
        crop_window_hu: tuple[float, float] = LUNG_WINDOW_HU,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1 or label_map_fill not in SHAPES or crops < 0 or not crop_mm > 0:
            msg = (
                f"SaveDetectionsd: keys {self.keys}, label_map_fill {label_map_fill!r}, crops {crops}, "
                f"crop_mm {crop_mm}. Wanted one key, {' or '.join(SHAPES)}, a number from 0, and a length above 0."
            )
            raise ConfigError(msg)
        self.output_dir, self.image_key = Path(output_dir), image_key
        self.label_names, self.submission = tuple(label_names), submission
        self.label_map, self.label_map_score, self.label_map_fill = label_map, label_map_score, label_map_fill
        self.crops, self.crop_mm, self.crop_window_hu = crops, crop_mm, (crop_window_hu[0], crop_window_hu[1])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Writes one item and returns it unchanged.

        Raises:
            DataError: When a score is not finite, counts differ, or the disk refuses.
        """
        item = dict(data)
        for key in self.key_iterator(item):
            found = self._detections(item, key)
            write_detections(self.output_dir / found.case_id / FILE, found)
            if self.label_map or self.crops:
                scan = read_volume(Path(item[self.image_key].meta["filename_or_obj"]))
                self._write_label_map(found, scan)
                self._write_crops(found, scan)
            # last: a case in the submission is a case that is complete
            if self.submission:
                update_submission(self.output_dir / SUBMISSION_FILE, found)
        return item

    def _detections(self, item: Mapping[Hashable, Any], key: Hashable) -> Detections:
        """The detections in RAS mm, highest score first."""
        case_id, found = str(item.get("case_id", "case")), item[key]
        where = f"{case_id}: {key}"
        if (
            not isinstance(found, Mapping)
            or not {"score", "label"} <= set(found)
            or not {"box", "box_ras_mm"} & set(found)
        ):
            got = list(found) if isinstance(found, Mapping) else type(found).__name__
            msg = f"{where}: wanted a mapping with box or box_ras_mm, score and label, got {got}. "
            raise DataError(msg + "Check the postprocessing.")
        score, label = _array(found["score"]).reshape(-1), _array(found["label"]).reshape(-1)
        if "box_ras_mm" in found:
            boxes = _array(found["box_ras_mm"]).reshape(-1, 6)
        else:
            boxes = boxes_to_world(affine_of(item, self.image_key), _array(found["box"]).reshape(-1, 6))
        if not len(boxes) == len(score) == len(label):
            msg = f"{where}: {len(boxes)} boxes, {len(score)} scores, {len(label)} labels. Wanted one of each per box."
            raise DataError(msg)
        order = np.argsort(-score, kind="stable")
        order = order[valid_boxes(boxes)[order] | ~np.isfinite(boxes[order]).all(axis=1)]
        return make_detections(
            case_id, boxes[order], score[order], label[order], label_names=self.label_names, where=where
        )

    def _write_label_map(self, found: Detections, scan: Volume) -> None:
        if not self.label_map:
            return
        shown = found.box_ras_mm[found.score >= self.label_map_score][:_MOST_VALUES]
        boxes = boxes_to_voxel(scan.affine_ras_mm, shown)
        labels = paint_boxes(scan.shape[:3], boxes, range(1, len(boxes) + 1), fill=self.label_map_fill)
        write_label_map(self.output_dir / f"{found.case_id}.nii.gz", labels, like=scan)

    def _write_crops(self, found: Detections, scan: Volume) -> None:
        folder = self.output_dir / found.case_id / "crops"
        for stale in folder.glob("[0-9]*.png"):
            stale.unlink()
        voxels = scan.array if scan.array.ndim == 3 else scan.array[..., 0]
        for rank, box in enumerate(found.box_ras_mm[: self.crops], start=1):
            picture = box_picture(voxels, scan.affine_ras_mm, box, field_mm=self.crop_mm, window=self.crop_window_hu)
            with atomic_path(folder / f"{rank:02d}.png") as temporary:
                temporary.write_bytes(grey_png(picture))


def _array(values: Any) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().to(torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)
