from torch import nn

from medseg.engines import decay_weights_only


def test_kernels_decay_and_biases_and_norms_do_not():
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.GroupNorm(1, 2))
    decayed, kept = decay_weights_only(network, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert [p.shape for p in decayed["params"]] == [network[0].weight.shape]
    assert {id(p) for p in kept["params"]} == {id(p) for p in (network[0].bias, *network[1].parameters())}
