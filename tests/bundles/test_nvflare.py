"""A federation of two sites in NVFlare's own simulator trains and evaluates frozen bundles.

`monai-nvflare` asks for Python below 3.12 and for a web stack, so it has an environment of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.bundle.freeze import freeze
from medseg.datasets.phantoms.brats import write_brats_phantoms
from medseg.datasets.phantoms.luna16 import write_luna16_phantoms

_SETUP = (
    "python3.11 -m venv .nvflare && .nvflare/bin/pip install -c constraints.txt -e . monai-nvflare pytest hypothesis"
    " && .nvflare/bin/python -m pytest tests/bundles/test_nvflare.py"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("monai_nvflare") is None, reason=f"monai-nvflare is not installed: {_SETUP}"
    ),
]

SITES = ("site-1", "site-2")
ROUNDS = 2
SMALL = (
    "device=cpu",
    "amp=false",
    "epochs=1",
    "val_interval=1",
    "samples_per_epoch=2",
    "batch_size=1",
    "num_workers=0",
    "spacing_mm=[4.0, 4.0, 4.0]",
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bundle, what makes it small, its key metric and what writes phantoms for a site."""

    bundle: str
    overrides: tuple[str, ...]
    metric: str
    write: Any
    shape: tuple[int, int, int]


CASES = {
    "segmentation": Case(
        bundle="brats_mri_segmentation",
        overrides=(
            *SMALL,
            "roi_size=[16, 16, 16]",
            "residual_unet::channels=[4, 8]",
            "residual_unet::strides=[2]",
            "residual_unet::num_res_units=0",
        ),
        metric="val_mean_dice",
        write=write_brats_phantoms,
        shape=(48, 56, 40),
    ),
    "detection": Case(
        bundle="lung_nodule_ct_detection",
        overrides=(
            *SMALL,
            "roi_size=[32, 32, 32]",
            "window_size=[64, 64, 32]",
            "network_def=@light_fpn",
            "light_fpn::feature_extractor::channels=[8, 8]",
            "light_fpn::feature_extractor::out_channels=16",
        ),
        metric="val_cpm",
        write=write_luna16_phantoms,
        shape=(48, 40, 40),
    ),
}


@dataclass(frozen=True)
class Federation:
    """What a job has left in the simulator's workspace."""

    case: Case
    weights: Path
    workspace: Path
    log: str

    @property
    def server(self) -> Path:
        return self.workspace / "server" / "simulate_job"


@pytest.fixture(scope="module", params=CASES)
def federation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Two sites with data of their own, two rounds of averaging, then every model on every site."""
    case = CASES[request.param]
    here = tmp_path_factory.mktemp(request.param)
    weights = initial_weights(here, case)
    job = write_job(here, case, weights)
    words = ["simulator", str(job), "-w", str(here / "workspace"), "-n", str(len(SITES)), "-t", str(len(SITES))]
    ended = subprocess.run(
        [str(Path(sys.executable).with_name("nvflare")), *words],
        cwd=here,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    log = ended.stdout + ended.stderr
    assert ended.returncode == 0, log[-4000:]
    return Federation(case=case, weights=weights, workspace=here / "workspace", log=log)


def write_job(folder: Path, case: Case, weights: Path) -> Path:
    """A job as NVFlare's own MONAI example has it: the frozen bundle lies beside the site's config."""
    job = folder / "job"
    apps = {"server": "app_server", **{site: f"app_{site}" for site in SITES}}
    for number, (site, app) in enumerate(apps.items()):
        data = folder / "data" / site
        if site != "server":
            case.write(data, cases=5, seed=number, shape=case.shape, spacing_mm=4.0)
        overrides = (*case.overrides, f"dataset_dir={data}")
        freeze(case.bundle, job / app / "config" / case.bundle, weights=weights, overrides=overrides)
        side = "server" if site == "server" else "client"
        config = server_config(case) if side == "server" else client_config(case)
        (job / app / "config" / f"config_fed_{side}.json").write_text(json.dumps(config))
    deploy = {app: [site] for site, app in apps.items()}
    meta = {"name": case.bundle, "resource_spec": {}, "min_clients": len(SITES), "deploy_map": deploy}
    (job / "meta.json").write_text(json.dumps(meta))
    return job


def initial_weights(folder: Path, case: Case) -> Path:
    from monai.bundle import ConfigParser

    from medseg.bundle.compose import compose

    torch.manual_seed(0)
    path = folder / "model.pt"
    networks = [o for o in case.overrides if o.startswith(("residual_unet", "light_fpn", "network_def"))]
    parser = ConfigParser(compose(case.bundle, "inference", overrides=networks).config)
    torch.save(parser.get_parsed_content("network_def").state_dict(), path)
    return path


def server_config(case: Case) -> dict[str, Any]:
    common = "nvflare.app_common"
    return {
        "format_version": 2,
        "server": {},
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [
            {
                "id": "persistor",
                "path": "monai_nvflare.monai_bundle_persistor.MonaiBundlePersistor",
                "args": {"bundle_root": f"config/{case.bundle}"},
            },
            {
                "id": "shareable_generator",
                "path": f"{common}.shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator",
                "args": {},
            },
            {
                "id": "aggregator",
                "path": f"{common}.aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator",
                "args": {"expected_data_kind": "WEIGHT_DIFF"},
            },
            {
                "id": "model_locator",
                "path": "nvflare.app_opt.pt.file_model_locator.PTFileModelLocator",
                "args": {"pt_persistor_id": "persistor"},
            },
            {"id": "scores", "path": f"{common}.widgets.validation_json_generator.ValidationJsonGenerator", "args": {}},
        ],
        "workflows": [
            {
                "id": "averaging",
                "path": f"{common}.workflows.scatter_and_gather.ScatterAndGather",
                "args": {
                    "min_clients": len(SITES),
                    "num_rounds": ROUNDS,
                    "wait_time_after_min_received": 0,
                    "aggregator_id": "aggregator",
                    "persistor_id": "persistor",
                    "shareable_generator_id": "shareable_generator",
                    "ignore_result_error": False,
                },
            },
            {
                "id": "evaluation",
                "path": f"{common}.workflows.cross_site_model_eval.CrossSiteModelEval",
                "args": {"model_locator_id": "model_locator", "participating_clients": list(SITES)},
            },
        ],
    }


def client_config(case: Case) -> dict[str, Any]:
    tasks = ["train", "submit_model", "validate"]
    executor = {
        "path": "monai_nvflare.client_algo_executor.ClientAlgoExecutor",
        "args": {"client_algo_id": "algo", "key_metric": case.metric},
    }
    algo = {
        "id": "algo",
        "path": "monai.fl.client.monai_algo.MonaiAlgo",
        "args": {"bundle_root": f"config/{case.bundle}", "local_epochs": 1},
    }
    return {
        "format_version": 2,
        "executors": [{"tasks": tasks, "executor": executor}],
        "task_result_filters": [],
        "task_data_filters": [],
        "components": [algo],
    }


def test_nothing_fails_on_the_way(federation: Federation) -> None:
    wrong = [line for line in federation.log.splitlines() if "ERROR" in line or "Traceback" in line]
    assert wrong == []


def test_the_average_has_moved_from_the_weights_that_were_sent(federation: Federation) -> None:
    content = torch.load(federation.server / "app_server" / "FL_global_model.pt", weights_only=True)
    assert content
    start = torch.load(federation.weights, weights_only=True)
    model = content["model"]
    assert model.keys() == start.keys()
    assert any(not torch.equal(torch.as_tensor(model[name]), start[name]) for name in start)


def test_a_site_submits_what_it_has_trained(federation: Federation) -> None:
    start = torch.load(federation.weights, weights_only=True)
    for site in SITES:
        bundle = federation.workspace / site / "simulate_job" / f"app_{site}" / "config" / federation.case.bundle
        best = torch.load(bundle / "models" / "model.pt", weights_only=True)
        assert any(not torch.equal(best[name], start[name]) for name in start), site


def test_every_model_is_measured_on_every_site(federation: Federation) -> None:
    found = list(federation.server.rglob("cross_val_results.json"))
    assert len(found) == 1, [str(p) for p in federation.workspace.rglob("*.json")]
    results = json.loads(found[0].read_text())
    assert set(results) == set(SITES)
    for models in results.values():
        assert set(models) == {"SRV_FL_global_model.pt", *SITES}
        assert all(0 <= metrics[federation.case.metric] <= 1 for metrics in models.values())
