import csv
import json

import pytest

from medseg.evaluation.summary import COLUMNS


@pytest.fixture
def write_run(tmp_path):
    """Write a cases.csv: `write_run("a", {("c1", "WT"): 0.8}, failed=..., seeds=...)`; HD95 is 10 (1 - Dice)."""

    def write(name, dices, *, failed=(), seed=None, nested=True):
        folder = tmp_path / name / ("evaluation" if nested else "")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "cases.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, [*(["seed"] if seed else []), *COLUMNS])
            writer.writeheader()
            for key, dice in dices.items():
                case, region = key[0], key[1]
                row = dict.fromkeys(COLUMNS, 0.5) | {"case_id": case, "region": region, "state": "ok"}
                row |= {"dice": dice, "nsd": dice, "hd95_mm": 10 * (1 - dice)} | ({"seed": key[2]} if seed else {})
                writer.writerow(row)
        (folder / "summary.json").write_text(json.dumps({"failed": dict.fromkeys(failed, "unreadable")}))
        return tmp_path / name

    return write
