import numpy as np
import pytest
import torch
from torch import nn

from medseg.inference.network_files import make_example, write_openvino
from medseg.runtime.group_norms import exact_instance_norms, spread_group_norms
from medseg.runtime.sessions import open_network

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = [nn.Conv3d(2, 8, 3, padding=1), nn.GroupNorm(4, 8, eps=1e-3), nn.ReLU(), nn.InstanceNorm3d(8, affine=True)]
    found = nn.Sequential(*layers, nn.GroupNorm(8, 8), nn.Conv3d(8, 3, 1)).eval()
    for parameter in found.parameters():
        nn.init.normal_(parameter, 0.5, 0.2)  # no channel dead after the ReLU
    return found


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "model.xml"
    write_openvino(make_example(network, channels=2, window=[8, 8, 8], units=[4, 4, 4]), path)
    return path


def logits(network, window):
    with torch.inference_mode():
        return network(torch.from_numpy(window)).numpy()


def norms(model):
    return sum(op.get_type_name() == "MVN" for op in model.get_ops())


def test_group_norms_are_spread_and_give_the_same(network, path):
    window = np.random.default_rng(0).normal(1, 2, (1, 2, 8, 12, 16)).astype(np.float32)
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape(list(window.shape))
    before = norms(model)
    spread = spread_group_norms(model)
    assert (norms(spread), norms(model)) == (before - 2, before)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    found = core.compile_model(spread, "CPU", config)(window)[0]
    np.testing.assert_allclose(found, logits(network, window), rtol=1e-4, atol=1e-3)


def test_norms_of_unknown_shape_stay(path):
    model = openvino.Core().read_model(str(path))
    assert norms(spread_group_norms(model)) == norms(model)


def test_windows_of_several_shapes_go_through_one_network(network, path):
    run = open_network(path, threads=1, runtime="openvino_bf16")
    for sides in ((8, 8, 8), (16, 8, 12), (8, 8, 8)):
        window = np.random.default_rng(1).normal(size=(1, 2, *sides)).astype(np.float32)
        found, expected = run(window), logits(network, window)
        assert found.shape == expected.shape
        assert np.sqrt(np.mean((found - expected) ** 2)) < 0.02 * np.sqrt(np.mean(expected**2))


def test_instance_norms_of_padded_maps_are_exact(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.LeakyReLU(), nn.Conv3d(4, 2, 1))
    path = tmp_path / "model.xml"
    write_openvino(make_example(network.eval(), channels=1, window=[8, 8, 8], units=[4, 4, 4]), path)
    model = openvino.Core().read_model(str(path))
    assert (norms(model), norms(exact_instance_norms(model))) == (1, 0)
    window = np.full((1, 1, 40, 56, 40), -1.37, np.float32)  # padding, many voxels alike
    window[..., 8:30, 8:40, 8:30] = np.random.default_rng(0).normal(0, 1, (22, 32, 22))
    truth = logits(network.double(), window.astype(np.float64))
    found = open_network(path, threads=1, runtime="openvino")(window)
    assert np.abs(found - truth).max() < 3e-6 * np.abs(truth).max()
    smaller = window[..., 4:20, 4:20, 4:20]
    again = open_network(path, threads=1, runtime="openvino")(np.ascontiguousarray(smaller))
    assert np.abs(again - logits(network, smaller.astype(np.float64))).max() < 3e-6 * np.abs(truth).max()
