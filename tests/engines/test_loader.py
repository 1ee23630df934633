import threading
from collections import Counter

import pytest

from medseg.engines import CaseDataset, make_loader
from medseg.errors import DataError


def shares(dataset, ranks):
    loaders = [make_loader(dataset, rank=rank, world_size=ranks) for rank in range(ranks)]
    return [[batch["case_id"][0] for batch in loader] for loader in loaders]


def test_validation_cases_are_shared_out_among_ranks(volume, make_items):
    dataset = CaseDataset(make_items(5), volume)
    assert shares(dataset, 2) == [["case0", "case2", "case4"], ["case1", "case3"]]


@pytest.mark.parametrize(("cases", "ranks"), [(1, 2), (1, 4), (2, 4), (2, 3), (3, 4), (4, 6)])
def test_with_fewer_cases_than_ranks_no_rank_is_idle_and_each_case_counts_alike(volume, make_items, cases, ranks):
    shared = shares(CaseDataset(make_items(cases), volume), ranks)
    assert len({len(share) for share in shared}) == 1
    assert all(len(set(share)) == len(share) > 0 for share in shared)
    times = Counter(case for share in shared for case in share)
    assert len(times) == cases
    assert len(set(times.values())) == 1


def test_two_cases_on_four_ranks_take_no_longer_than_one(volume, make_items):
    assert shares(CaseDataset(make_items(2), volume), 4) == [["case0"], ["case1"], ["case0"], ["case1"]]


def test_validation_without_a_case_is_refused(volume):
    with pytest.raises(DataError, match="no validation case: the list of items is empty"):
        make_loader(CaseDataset([], volume), rank=0, world_size=2)


def test_the_next_case_is_read_while_this_one_is_used(volume, make_items):
    begun = []
    third = threading.Event()

    def read(item):
        begun.append(item["case_id"])
        if len(begun) == 2:
            third.set()
        return volume(item)

    batches = iter(make_loader(CaseDataset(make_items(3), read), rank=0, world_size=1, ahead=True))
    assert next(batches)["case_id"] == ["case0"]
    assert third.wait(10)  # the second one is begun although nobody has asked for it
    assert [batch["case_id"] for batch in batches] == [["case1"], ["case2"]]


def test_an_error_in_a_case_read_ahead_comes_in_its_place(volume, make_items):
    def read(item):
        if item["case_id"] == "case1":
            msg = "case1: broken"
            raise DataError(msg)
        return volume(item)

    batches = iter(make_loader(CaseDataset(make_items(3), read), rank=0, world_size=1, ahead=True))
    assert next(batches)["case_id"] == ["case0"]
    with pytest.raises(DataError, match="case1: broken"):
        next(batches)
