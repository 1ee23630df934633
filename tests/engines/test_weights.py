"""Weights in safetensors: tensors that a network has under several names are kept once and come back under all."""

from pathlib import Path

import torch
from torch import nn

from medseg.engines.weights import load_weights, plain_weights, read_weights, save_safetensors


class Twice(nn.Module):
    """A layer under two names, as MONAI's DynUNet has each of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 64)
        self.again = nn.Sequential(self.layer)
        self.scale = nn.Parameter(torch.tensor(2.0))


def test_a_tensor_under_two_names_is_stored_once_and_read_under_both(tmp_path: Path) -> None:
    network = Twice()
    save_safetensors(plain_weights(network), tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size < 1.1 * 4 * (64 * 64 + 64)
    found = read_weights(tmp_path / "model.safetensors")
    assert found.keys() == network.state_dict().keys()
    assert torch.equal(found["again.0.weight"], network.layer.weight)


def test_the_network_that_they_came_from_takes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_safetensors(plain_weights(source := Twice()), tmp_path / "model.safetensors")
    target = load_weights(Twice(), tmp_path / "model.safetensors")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_what_was_never_shared_is_what_safetensors_wrote(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2), "b": torch.zeros(2)}, tmp_path / "plain.safetensors", metadata={"format": "pt"})
    assert {name: value.tolist() for name, value in read_weights(tmp_path / "plain.safetensors").items()} == {
        "a": [1.0, 1.0],
        "b": [0.0, 0.0],
    }
