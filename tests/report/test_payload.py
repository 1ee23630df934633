import base64
import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medseg.report import planes
from medseg.report.cases import Case
from medseg.report.payload import combine, differences, knots, make_payload

SHAPE = (6, 5, 4)


def make_case(**changes: object) -> Case:
    whole = np.zeros(SHAPE, bool)
    whole[1:4, 1:4, 1:3] = True
    core = np.zeros(SHAPE, bool)
    core[2, 2, 1] = True
    given: dict[str, object] = {
        "colours": {"core": 0, "whole": 1},
        "image": np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.int16),
        "window": (0.0, 1000.0),
        "image_name": "flair",
        "reference": {"whole": whole, "core": core},
        "prediction": {"whole": np.roll(whole, 1, 0), "core": core & False},
        "spacing_mm": (1.0, 1.0, 2.0),
        "margin_mm": None,
    }
    return Case(**(given | changes))  # type: ignore[arg-type]


def volumes_of(data: str) -> list[np.ndarray]:
    raw = np.frombuffer(gzip.decompress(base64.b64decode(data)), np.uint8)
    return [part.reshape(SHAPE, order="F") for part in np.split(raw, len(raw) // np.prod(SHAPE))]


def test_image_and_masks_come_back_from_the_stream() -> None:
    case = make_case()
    payload = make_payload(case)
    meta = json.loads(payload.meta)
    image, reference, prediction = volumes_of(payload.data)
    grey = np.cumsum(np.cumsum(image, axis=1, dtype=np.uint8), axis=0, dtype=np.uint8)
    assert np.abs(np.interp(grey, meta["greys"], meta["values"]) - case.image).max() <= 1000 / 255 / 2 + 1e-3
    for codes, kind, masks in ((reference, "reference", case.reference), (prediction, "prediction", case.prediction)):
        for place, (name, _) in enumerate(meta["regions"]):
            has = np.array([place in combination for combination in meta["kinds"][kind]])
            assert (has[codes] == masks[name]).all()


def test_a_case_without_a_reference_has_one_volume_less() -> None:
    payload = make_payload(make_case(reference={}))
    assert list(json.loads(payload.meta)["kinds"]) == ["prediction"]
    assert len(volumes_of(payload.data)) == 2


@given(arrays.arrays(np.uint8, (4, 3, 2)))
def test_differences_add_up_to_the_image(image: np.ndarray) -> None:
    found = differences(image)
    assert (np.cumsum(np.cumsum(found, 1, dtype=np.uint8), 0, dtype=np.uint8) == image).all()


@given(st.lists(arrays.arrays(bool, (3, 3, 2)), min_size=1, max_size=6))
def test_any_overlap_of_regions_is_told_apart(drawn: list[np.ndarray]) -> None:
    masks = {str(place): mask for place, mask in enumerate(drawn)}
    codes, combinations = combine(masks, list(masks))
    for place, mask in enumerate(drawn):
        assert (np.array([place in combination for combination in combinations])[codes] == mask).all()


def test_ct_starts_with_soft_tissue_and_mr_with_its_own_values() -> None:
    rng = np.random.default_rng(0)
    ct = np.where(rng.random(SHAPE) < 0.5, -1000, 60)
    assert planes.start_window(ct) == (-160.0, 240.0)
    low, high = planes.start_window(rng.uniform(100, 200, SHAPE))
    assert 100 <= low < high <= 200
    assert planes.start_window(np.zeros(SHAPE)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("values", "window", "expected"),
    [
        ((-1000, 3000), (-160, 240), ([0, 64, 223, 255], [-1000, -160, 240, 3000])),
        ((0, 100), (0, 90), ([0, 0, 223, 255], [0, 0, 90, 100])),
        ((5, 5), (4, 6), ([0, 0, 255, 255], [4, 4, 6, 6])),
    ],
)
def test_most_grey_values_are_spent_on_the_window(
    values: tuple[float, float], window: tuple[float, float], expected: tuple[list[int], list[float]]
) -> None:
    assert knots(np.array(values, np.float32), window) == expected
