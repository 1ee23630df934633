"""The same suite through every executor, and what a process that dies costs."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest

from medseg.benchmark.executors import EXECUTORS, make_executor
from medseg.benchmark.local import run_suite
from medseg.errors import ConfigError

HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stub_suite", HERE / "stub_suite.py")
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)

ONE = stub.SUITE.split("- {name: poor")[0].replace("seeds: [0, 1]", "seeds: [0]")


class Deadly(stub.Stub):
    """Its training of one job takes the whole process with it."""

    def __init__(self, deadly):
        super().__init__()
        self.deadly = deadly

    def train(self, work):
        if Path(work.folder).name == self.deadly:
            os._exit(9)
        super().train(work)


class Cheating(stub.Stub):
    """Chooses its weights on tested cases."""

    def __init__(self):
        super().__init__(spoil_split=lambda lists: lists.update(validation=["p0", "p3"]))


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    return stub.write_suite(folder / "small.yaml", stub.write_dataset(folder / "data"), ONE)


@pytest.fixture(scope="module")
def alone(suite, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    run_suite(suite, out, heavy=stub.Stub())
    return out


@pytest.fixture(scope="module")
def ray_cluster():
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'medseg[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def slurm(cluster):
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'medseg[slurm]'")
    return make_executor("slurm", options={"cluster": cluster, "timeout_min": 5})


def same(out, alone):
    for name in ("table.md", "results.json", "results/good/cases.csv"):
        assert (out / name).read_bytes() == (alone / name).read_bytes()


def check_one_is_lost(executor, suite, alone, out):
    """A dead process costs its fold, which counts as the worst; the next start makes up for it."""
    _, outcomes = run_suite(suite, out, heavy=Deadly("good-fold0-seed0"), executor=executor)
    assert "its process ended" in outcomes["good-fold0-seed0"].problem
    assert outcomes["good-fold1-seed0"].problem is None
    assert outcomes["good-fold1-seed0"].failed == {}
    found = json.loads((out / "results.json").read_text())
    assert found["failures"] == {
        "good-fold0-seed0": {"training": outcomes["good-fold0-seed0"].problem, "cases": ["p0", "p3"]}
    }
    run_suite(suite, out, heavy=stub.Stub())
    same(out, alone)


def test_jobs_in_processes_of_submitit_make_the_same_table_and_one_may_die(suite, alone, tmp_path):
    check_one_is_lost(slurm("local"), suite, alone, tmp_path / "out")


def test_a_refusal_comes_back_from_another_process_as_one(suite, tmp_path):
    with pytest.raises(ConfigError, match="case p0 and 1 others of the test are in the validation list"):
        run_suite(suite, tmp_path / "out", heavy=Cheating(), executor=slurm("debug"))


def test_submitit_refuses_an_option_that_it_does_not_know(suite, tmp_path):
    executor = make_executor("slurm", options={"cluster": "debug", "timout_min": 5})
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'medseg[slurm]'")
    with pytest.raises(ConfigError, match="submitit refuses it.*timout_min"):
        run_suite(suite, tmp_path / "out", heavy=stub.Stub(), executor=executor)


@pytest.mark.slow
def test_jobs_of_ray_make_the_same_table_and_one_may_die(ray_cluster, suite, alone, tmp_path):
    check_one_is_lost(make_executor("ray", at_once=2), suite, alone, tmp_path / "out")


def test_an_executor_that_is_none_and_one_that_is_not_installed_end_in_one_line(suite, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="'dask' is none. Known: local, ray, slurm"):
        make_executor("dask")
    with pytest.raises(ConfigError, match="local takes no 'num_cpus'"):
        make_executor("local", options={"num_cpus": 2})
    for name, module in (("ray", "ray"), ("slurm", "submitit")):
        assert name in EXECUTORS
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ConfigError, match=rf"pip install 'medseg\[{name}\]'"):
            run_suite(suite, tmp_path / name, heavy=stub.Stub(), executor=make_executor(name))
