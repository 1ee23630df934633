import math
import re

import numpy as np

from medseg.evaluation.calibration import Calibration
from medseg.metrics.calibration import reliability
from medseg.report.calibration import LEFT, SIDE, calibration_section


def summary(probabilities, truth):
    found = reliability(np.array(probabilities), np.array(truth, dtype=bool))
    return {"calibration": Calibration(regions={"WT": found}, missing=()).to_json()}


def test_a_model_that_is_too_sure_lies_below_the_diagonal() -> None:
    # Nine in ten said, three in four right.
    html = calibration_section(summary([0.9] * 4, [1, 1, 1, 0]))
    x, y = map(float, re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', html).groups())
    assert x == LEFT + 0.9 * SIDE
    bottom = float(re.search(r'class="ideal" d="M\d+ (\d+)', html)[1])
    assert math.isclose(bottom - y, 0.75 * SIDE)
    assert "<td>0.1500</td><td>0.1500</td>" in html
    assert "<td>+0.1500</td>" in html
    assert "probability 0.900, right in 0.750 of 4 voxels" in html


def test_dots_grow_with_the_voxels_and_stay_small() -> None:
    html = calibration_section(summary([0.01] * 5000 + [0.5] * 20, [0] * 5020))
    few, many = sorted(map(float, re.findall(r'<circle [^>]* r="([\d.]+)"', html)))
    assert 2 < few < many == 6.5


def test_cases_without_probabilities_are_named() -> None:
    found = summary([0.1, 0.9], [0, 1])
    found["calibration"]["missing"] = ["<a>", "b", "c", "d"]
    html = calibration_section(found)
    assert "4 cases have no file of probabilities and count nowhere: &lt;a&gt;, b, c, ..." in html


def test_without_probabilities_there_is_no_section() -> None:
    assert calibration_section({}) == calibration_section({"calibration": {"regions": {}}}) == ""
