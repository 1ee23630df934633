import pytest
import torch

from medseg.engines import ensemble
from medseg.errors import WeightsError


def test_without_further_weights_it_is_the_network_itself():
    network = torch.nn.Linear(2, 1)
    assert ensemble(network, []) is network


def test_each_file_or_run_is_a_network_of_its_own(tmp_path):
    parts = [torch.nn.Linear(2, 1) for _ in range(3)]
    torch.save(parts[1].state_dict(), tmp_path / "second.pt")
    (tmp_path / "run").mkdir()
    torch.save({"model": parts[2].state_dict()}, tmp_path / "run" / "model.pt")
    together = ensemble(parts[0], [tmp_path / "second.pt", str(tmp_path / "run")])
    assert together[0] is parts[0]
    assert [member.weight.tolist() for member in together] == [part.weight.tolist() for part in parts]


def test_weights_that_do_not_fit_or_are_not_there_are_refused_by_name(tmp_path):
    torch.save(torch.nn.Linear(3, 1).state_dict(), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other.pt: weights for another network"):
        ensemble(torch.nn.Linear(2, 1), [tmp_path / "other.pt"])
    with pytest.raises(WeightsError, match=r"gone.pt: no such weights file"):
        ensemble(torch.nn.Linear(2, 1), [tmp_path / "gone.pt"])
