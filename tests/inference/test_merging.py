import pytest
import torch

from medseg.inference.merging import LevelSum
from medseg.inference.scan_maps import ScanMaps
from medseg.inference.windows import windows_over


class Coordinates:
    """Its maps say where the cells lie in the scan: the scan holds its voxels' own coordinates."""

    def __call__(self, image):
        corner = image[:, :, ::4, ::4, ::2]
        return {"classification": [corner[:, :1]], "box_regression": [corner[:, 1:].repeat(1, 3, 1, 1, 1)]}


def coordinates(*size):
    axes = torch.meshgrid(*(torch.arange(float(count)) for count in size), indexing="ij")
    return torch.stack([axes[0] * 10000 + axes[1] * 100 + axes[2], *axes[:2]])


def slabs_of(image, window, *, blend="constant", flips=(), batch_size=1):
    windows = windows_over(image.shape[1:], window, overlap=0.5, divisible=(8, 8, 4))
    maps = ScanMaps(
        Coordinates(),
        windows,
        per_cell=1,
        flips=flips,
        blend=blend,
        batch_size=batch_size,
        network_device="cpu",
        device="cpu",
    )
    for (slab,) in maps.slabs(image):
        yield slab._replace(logits=slab.logits.clone(), offsets=(slab.offsets / slab.weights).clone())


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize(("size", "axis"), [((32, 24, 64), 2), ((80, 24, 16), 0), ((24, 96, 20), 1)])
def test_slabs_together_are_the_maps_of_the_whole_scan(size, axis, blend):
    image = coordinates(*size)
    slabs = list(slabs_of(image, (16, 16, 8), blend=blend, batch_size=3))
    assert len(slabs) > 3
    logits = torch.cat([slab.logits for slab in slabs], dim=axis + 1)
    offsets = torch.cat([slab.offsets for slab in slabs], dim=axis + 1)
    expected = Coordinates()(image[None])
    assert torch.allclose(logits, expected["classification"][0][0], rtol=1e-5)
    assert torch.allclose(offsets, expected["box_regression"][0][0], rtol=1e-5, atol=1e-4)


def test_each_slab_begins_where_the_one_before_ended():
    slabs = list(slabs_of(coordinates(24, 24, 100), (16, 16, 16)))
    ends = [slab.first[2] + slab.logits.shape[3] for slab in slabs]
    assert [slab.first[2] for slab in slabs] == [0, *ends[:-1]]
    assert ends[-1] == slabs[0].cells[2] == 50


def test_maps_of_a_mirrored_scan():
    image = coordinates(32, 16, 40)
    slabs = slabs_of(image, (16, 16, 8), flips=(0, 2))
    expected = Coordinates()(image.flip([1, 3])[None])["classification"][0][0]
    assert torch.allclose(torch.cat([slab.logits for slab in slabs], dim=3), expected, rtol=1e-5)


def test_what_is_held_does_not_grow_with_the_scan(monkeypatch):
    held = []
    drop = LevelSum.drop
    monkeypatch.setattr(
        LevelSum, "drop", lambda self, until: held.append(sum(p.numel() for p in self._held())) or drop(self, until)
    )
    for length in (32, 64, 256):
        list(slabs_of(coordinates(32, 32, length), (16, 16, 16)))
    assert len(set(held)) == 1
