import csv
import json
from pathlib import Path

import numpy as np
import pytest

from medseg.volumes.detections import make_detections, write_detections

_DATA = Path(__file__).parents[4] / "shared" / "data" / "luna16"
HEADER = ["seriesuid", "coordX", "coordY", "coordZ"]


@pytest.fixture(scope="session")
def luna16():
    if not _DATA.is_dir():
        pytest.skip("LUNA16's tables are not on this machine (../shared/data/luna16)")
    return _DATA


class Tables:
    """Writes the files of an evaluation into a folder."""

    def __init__(self, folder):
        self.folder = folder

    def table(self, name, last, rows):
        path = self.folder / name
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[*HEADER, last], *rows])
        return path

    def marks(self, *rows, name="submission.csv"):
        return self.table(name, "probability", rows)

    def annotations(self, *rows, name="annotations.csv"):
        return self.table(name, "diameter_mm", rows)

    def series(self, *uids):
        path = self.folder / "seriesuids.csv"
        path.write_text("\n".join(uids) + "\n")
        return path

    def datalist(self, items, name="datalist.json", **more):
        path = self.folder / name
        path.write_text(json.dumps({"training": items, **more}))
        return path

    def detections(self, case_id, boxes, scores, path=None, **more):
        path = self.folder / (path or f"pred/{case_id}/detections.json")
        return write_detections(path, make_detections(case_id, np.array(boxes).reshape(-1, 6), scores, **more))


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path)
