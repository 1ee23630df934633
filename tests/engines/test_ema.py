import pytest
import torch

from medseg.engines import Ema
from medseg.errors import ConfigError


def network(value):
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, value)
    return layer


def set_weight(layer, value):
    with torch.no_grad():
        layer.weight.fill_(value)


def test_the_average_follows_its_formula():
    net = network(1.0)
    ema = Ema(net, 0.9, warmup=False)
    for value in (2.0, 5.0):
        set_weight(net, value)
        ema.update()
    assert ema.module.weight.item() == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 5)


def test_warmup_starts_with_a_small_decay():
    net = network(1.0)
    ema = Ema(net, 0.999)
    set_weight(net, 3.0)
    ema.update()  # n = 0: decay 1/10
    assert ema.module.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    assert ema.current_decay() == pytest.approx(2 / 11)


def test_buffers_are_copied_and_the_network_untouched():
    net = torch.nn.BatchNorm3d(2)
    ema = Ema(net, 0.5)
    net.running_mean.fill_(4.0)
    ema.update()
    assert ema.module.running_mean.tolist() == [4.0, 4.0]
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert all(p.requires_grad for p in net.parameters())


def test_decay_zero_is_the_network_itself():
    net = network(1.0)
    ema = Ema(net, 0.0)
    ema.update()
    assert ema.module is net
    assert ema.state_dict()["weights"] == {}


def test_a_restored_average_goes_on_with_the_same_numbers():
    net = network(1.0)
    ema, other = Ema(net, 0.9), Ema(net, 0.9)
    set_weight(net, 2.0)
    ema.update()
    other.load_state_dict(ema.state_dict())
    set_weight(net, 7.0)
    ema.update(), other.update()
    assert ema.module.weight.item() == other.module.weight.item()


def test_weights_replaced_from_outside_restart_the_average():
    net = network(1.0)
    ema = Ema(net, 0.9)
    ema.update()
    ema.restart_if_replaced()
    assert ema.updates == 1
    set_weight(net, 5.0)
    ema.restart_if_replaced()
    assert ema.module.weight.item() == 5.0
    assert ema.updates == 0


def test_a_decay_of_one_is_refused():
    with pytest.raises(ConfigError, match=r"decay 1.0 must be .* below 1"):
        Ema(network(1.0), 1.0)
