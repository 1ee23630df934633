import random

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, RandCropByPosNegLabeld, RandFlipd, RandGaussianNoised, Transform

from medseg.engines import CaseDataset, Draw, make_loader
from medseg.errors import DataError, MedsegError, NumericError


class Counting(Transform):
    """Counts its calls, and stands for reading a file."""

    def __init__(self, first):
        self.first, self.calls = first, 0

    def __call__(self, item):
        self.calls += 1
        return self.first(item)


class InPlace(Transform):
    """Writes into its input, like careless third-party transforms, with numbers from the global generators."""

    def __call__(self, item):
        item["image"] += random.random() + np.random.random() + torch.rand(1).item()  # noqa: NPY002
        item["image"].meta["touched"] = True
        return item


class Broken(MapTransform):
    def __init__(self, error):
        super().__init__("image")
        self.error = error

    def __call__(self, item):
        if item["number"] == 2:
            raise self.error
        return item


def crop():
    return RandCropByPosNegLabeld(["image", "label"], "label", (4, 4, 4), num_samples=2)


def random_steps():
    return [RandFlipd(["image", "label"], 0.5, 0), RandGaussianNoised("image", prob=1.0), InPlace()]


def same(a, b):
    pairs = zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]
    return all(torch.equal(torch.as_tensor(x["image"]), torch.as_tensor(y["image"])) for x, y in pairs)


@pytest.mark.parametrize("first", [[], [crop()]], ids=["whole", "crops"])
def test_a_sample_is_a_function_of_its_draw_cached_or_not(volume, make_items, first):
    plain = CaseDataset(make_items(3), Compose([volume, *first, *random_steps()]))
    cached = CaseDataset(make_items(3), Compose([volume, *first, *random_steps()]), cache_cases=2)
    cached.fill_cache()
    random.seed(1)
    for draw in (Draw(0, 11), Draw(1, 12), Draw(2, 13), Draw(0, 11), Draw(0, 14)):
        random.random()  # the global state must not matter
        assert same(plain[draw], cached[draw])
    assert not same(cached[Draw(0, 11)], cached[Draw(0, 14)])


@pytest.mark.parametrize("first", [[RandFlipd(["image", "label"], 0.0)], [crop()]], ids=["whole", "crops"])
def test_steps_that_write_in_place_leave_the_cache_alone(volume, make_items, first):
    dataset = CaseDataset(make_items(1), Compose([volume, *first, InPlace()]), cache_cases=1)
    dataset.fill_cache()
    before = dataset._cache[0]["image"].clone()
    assert same(dataset[Draw(0, 1)], dataset[Draw(0, 1)])
    assert torch.equal(dataset._cache[0]["image"], before)
    assert "touched" not in dataset._cache[0]["image"].meta


def test_the_global_random_states_are_left_as_they_were(volume, make_items):
    dataset = CaseDataset(make_items(1), Compose([volume, *random_steps()]))
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    dataset[Draw(0, 1)]
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_fixed_steps_run_once_per_cached_case_also_inside_a_nested_compose(volume, make_items):
    counting = Counting(volume)
    dataset = CaseDataset(make_items(3), Compose([Compose([counting]), *random_steps()]), cache_cases=2)
    dataset.fill_cache()
    for _ in range(3):
        dataset[0], dataset[1]
    assert counting.calls == 2
    dataset[2]
    assert counting.calls == 3


def test_consumers_find_data_transform_and_length(volume, make_items):
    transform = Compose([volume])
    dataset = CaseDataset(make_items(3), transform)
    assert dataset.transform is transform
    assert dataset.data[2]["case_id"] == "case2"
    assert len(dataset) == 3
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_gives_the_same_batches(volume, make_items, workers):
    def first_sums(num_workers):
        dataset = CaseDataset(make_items(5), Compose([volume, crop(), *random_steps()]), cache_cases=2)
        loader = make_loader(dataset, 2, num_workers=num_workers, seed=9, shuffle=True)
        batches = iter(loader)
        return [next(batches)["image"].double().sum().item() for _ in range(6)]

    assert first_sums(workers) == first_sums(0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_is_one_line_with_case_transform_and_cause(volume, make_items, workers):
    dataset = CaseDataset(make_items(3), Compose([Compose([volume]), Broken(ValueError("bad\n shape"))]))
    with pytest.raises(DataError) as caught:
        list(make_loader(dataset, num_workers=workers))
    assert str(caught.value) == "case2: Broken failed: ValueError: bad shape"


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_medseg_keeps_its_class_and_gets_the_case(volume, make_items, workers):
    dataset = CaseDataset(make_items(3), Compose([volume, Broken(NumericError("voxels are NaN"))]))
    with pytest.raises(NumericError) as caught:
        list(make_loader(dataset, num_workers=workers))
    assert str(caught.value) == "case2: voxels are NaN"


class OfTwoParts(MedsegError):
    def __init__(self, what, why):
        super().__init__(f"{what} cannot be: {why}.")


def test_an_error_that_cannot_be_rebuilt_becomes_a_data_error(volume, make_items):
    dataset = CaseDataset(make_items(3), Compose([volume, Broken(OfTwoParts("this", "that"))]))
    with pytest.raises(DataError, match=r"case2: this cannot be: that\."):
        list(make_loader(dataset, num_workers=1))


def test_a_case_that_fails_while_the_cache_is_filled_is_named(volume, make_items):
    dataset = CaseDataset(make_items(3), Compose([volume, Broken(OSError("truncated"))]), cache_cases=3)
    with pytest.raises(DataError, match="case2: Broken failed: OSError: truncated"):
        list(make_loader(dataset, shuffle=True))


def test_making_an_iterator_leaves_the_global_generator_alone(volume, make_items):
    loader = make_loader(CaseDataset(make_items(2), volume), shuffle=True)
    before = torch.get_rng_state()
    next(iter(loader))
    assert torch.equal(torch.get_rng_state(), before)


def test_images_keep_their_metadata(volume, make_items):
    dataset = CaseDataset(make_items(1), Compose([volume, crop()]), cache_cases=1)
    dataset.fill_cache()
    assert isinstance(dataset[0][0]["image"], MetaTensor)
