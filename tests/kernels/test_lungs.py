from pathlib import Path

import numpy as np
import pytest

from medseg.errors import DataError
from medseg.kernels.lungs import lung_mask

SPACING_MM = (2.0, 2.0, 3.0)
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "lung_ct"


def chest(shape=(160, 120, 60)):
    """A chest in round numbers, HU: air, a body, two lungs that the scan cuts at the top, a vessel and a table."""
    x, y, z = np.ogrid[-1:1:160j, -1:1:120j, -1:1:60j]
    volume = np.full(shape, -1000, dtype=np.int16)
    volume[np.broadcast_to((x / 0.85) ** 2 + (y / 0.75) ** 2 < 1, shape)] = 40
    lungs = np.zeros(shape, dtype=bool)
    for side in (-0.4, 0.4):
        lungs |= ((x - side) / 0.3) ** 2 + (y / 0.5) ** 2 + ((z - 0.4) / 1.2) ** 2 < 1
    volume[lungs] = -850
    volume[40:44, 50:54] = 40  # a vessel through the right lung
    volume[76:82, 40:46, :20] = -900  # bowel
    volume[20:140, 112:114] = 200
    return volume, lungs


def test_the_lungs_are_found_with_what_they_enclose_and_nothing_else():
    volume, lungs = chest()
    mask = lung_mask(volume, SPACING_MM, margin_mm=0)
    both = mask & lungs
    assert both.sum() / lungs.sum() > 0.97
    assert both.sum() / mask.sum() > 0.85
    assert mask[42, 52, 40]  # the vessel
    assert not mask[78, 42, 5]  # the bowel
    assert not mask[[0, -1]].any()


def test_the_margin_is_in_millimetres():
    volume, _ = chest()
    narrow, wide = (lung_mask(volume, SPACING_MM, margin_mm=margin) for margin in (0, 12))
    line = (slice(None), 60, 40)
    assert (wide[line].sum() - narrow[line].sum()) * SPACING_MM[0] == pytest.approx(4 * 12, abs=4 * 4)
    assert (wide | narrow).sum() == wide.sum()


def test_a_nodule_on_the_wall_counts_as_lung():
    volume, lungs = chest()
    x, y, z = np.ogrid[:160, :120, :60]
    first = int(np.flatnonzero(lungs[:, 60, 40])[0])
    nodule = ((x - first - 2) * 2) ** 2 + ((y - 60) * 2) ** 2 + ((z - 40) * 3) ** 2 < 6**2  # 12 mm wide
    volume[nodule] = 40
    assert lung_mask(volume, SPACING_MM)[nodule].all()


def test_the_air_threshold_may_be_in_another_unit():
    volume, _ = chest()
    scaled = (volume.astype(np.float32) + 1000) / 1300
    assert np.array_equal(lung_mask(scaled, SPACING_MM, air_below=600 / 1300), lung_mask(volume, SPACING_MM))


@pytest.mark.parametrize("value", [-1000, 40])
def test_without_a_body_or_without_air_there_are_no_lungs(value):
    mask = lung_mask(np.full((20, 20, 20), value, dtype=np.int16), SPACING_MM)
    assert mask.shape == (20, 20, 20)
    assert not mask.any()


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "margin_mm"),
    [((5, 5), SPACING_MM, 5), ((5, 5, 5), (0, 1, 1), 5), ((5, 5, 5), SPACING_MM, -1)],
)
def test_bad_arguments_are_refused(shape, spacing_mm, margin_mm):
    with pytest.raises(DataError, match="lung_mask"):
        lung_mask(np.zeros(shape), spacing_mm, margin_mm=margin_mm)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real chest CT is not on this machine (../shared/data/lung_ct)")
def test_a_real_tumour_lies_inside_the_real_lungs():
    from medseg.volumes import read_volume

    scan, tumour = (read_volume(REAL / f"lung1_{part}.nrrd") for part in ("image", "label"))
    mask = lung_mask(scan.array, scan.spacing_mm)
    assert mask[tumour.array > 0].mean() > 0.95
    assert 0.05 < mask.mean() < 0.4
