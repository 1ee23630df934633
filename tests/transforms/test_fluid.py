import torch
from monai.data import MetaTensor

from medseg.transforms import RandFluidPocketsd


def _item(region=True):
    """A body of two brightnesses in an empty field, its region of interest a block in a corner."""
    image = torch.zeros(2, 32, 32, 32)
    image[0, 4:28, 4:28, 4:28], image[1, 4:28, 4:28, 4:28] = 1.0, -1.0
    label = torch.zeros(1, 32, 32, 32)
    label[0, 6:9, 6:9, 6:9] = float(region)
    return {"image": MetaTensor(image), "label": MetaTensor(label)}


def _pockets(**options):
    return RandFluidPocketsd("image", "label", inside=0, **options)


def test_one_pocket_is_an_ellipsoid_of_one_level_in_each_channel():
    item = _item()
    options = {"prob": 1, "max_pockets": 1, "radii_vox": (5, 5), "strengths": (1, 1)}
    filled = _pockets(**options).set_random_state(seed=3)(item)
    changed = filled["image"][0] != item["image"][0]
    assert 4 / 3 * torch.pi * 4.5**3 * 0.3 < int(changed.sum()) < 4 / 3 * torch.pi * 5**3 * 1.1
    assert torch.equal(changed, filled["image"][1] != item["image"][1])
    for channel in filled["image"]:
        values, counts = channel[changed].unique(return_counts=True)
        level = values[counts.argmax()]  # the inner nine tenths of the radius
        assert -3.2 <= level <= 1
        assert int(counts.max()) > 0.5 * int(changed.sum())
    assert torch.equal(filled["label"], item["label"])
    assert item["image"].unique().tolist() == [-1.0, 0.0, 1.0]  # the input is kept


def test_the_outside_of_the_body_stays_empty():
    item = _item()
    filled = _pockets(prob=1, max_pockets=4, radii_vox=(15, 15)).set_random_state(seed=1)(item)["image"]
    assert not filled[item["image"] == 0].any()


def test_half_strength_goes_half_the_way():
    item = _item()
    options = {"prob": 1, "max_pockets": 1, "radii_vox": (4, 4), "levels": (3, 3), "strengths": (0.5, 0.5)}
    filled = _pockets(**options)(item)["image"]
    assert filled[0].max() == 2.0
    assert filled[1].max() == 1.0


def test_half_of_the_pockets_lie_in_the_region_where_there_is_one():
    def share_at_region(region):
        transform = _pockets(prob=1, max_pockets=1, radii_vox=(1, 1)).set_random_state(seed=0)
        item = _item(region)
        block = (0, slice(5, 10), slice(5, 10), slice(5, 10))
        hits = [bool((transform(item)["image"] != item["image"])[block].any()) for _ in range(200)]
        return sum(hits) / len(hits)

    assert 0.4 < share_at_region(True) < 0.6
    assert share_at_region(False) < 0.05


def test_an_empty_image_passes():
    item = {"image": torch.zeros(1, 8, 8, 8), "label": torch.zeros(1, 8, 8, 8)}
    assert not _pockets(prob=1)(item)["image"].any()


def test_it_follows_its_probability_and_its_seed():
    item = _item()
    assert _pockets(prob=0)(item)["image"] is item["image"]
    draws = [_pockets(prob=1).set_random_state(seed=seed)(item)["image"] for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
