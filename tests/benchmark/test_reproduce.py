"""A model card's scores against the suite that made them."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from medseg.benchmark.local import run_suite
from medseg.benchmark.reproduce import compare, read_claims, require_held
from medseg.benchmark.suite import read_suite
from medseg.bundle.find import list_bundles
from medseg.cli.main import app
from medseg.errors import ConfigError, DataError

HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("stub_suite", HERE / "stub_suite.py")
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)
CARDS = {name: root for name, root in list_bundles().items() if (root / "docs" / "scores.yaml").is_file()}


@pytest.fixture
def made(tmp_path):
    """A bundle whose card names a suite beside it, and that suite's results."""
    root = tmp_path / "toy_segmentation"
    (root / "configs").mkdir(parents=True)
    (root / "docs").mkdir()
    shutil.copy(list_bundles()["brats_mri_segmentation"] / "configs" / "metadata.json", root / "configs")
    text = stub.SUITE.split("- {name: poor")[0].replace("seeds: [0, 1]", "seeds: [0]")
    suite = stub.write_suite(root / "docs" / "suite.yaml", stub.write_dataset(tmp_path / "data"), text)
    run_suite(suite, tmp_path / "out", heavy=stub.Stub())
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    row = next(r for r in results["comparison"]["rows"] if (r["metric"], r["region"]) == ("dice", "blob"))
    return (
        root,
        tmp_path / "out",
        row["scores"]["over_cases"]["mean"],
        results["splits"]["fold 0"]["test"]["ids_sha256"],
    )


def write_card(root, *, mean, within=0.01, **more):
    scores = [{"metric": "dice", "region": "blob", "mean": mean, "within": within}]
    (root / "docs" / "scores.yaml").write_text(
        yaml.safe_dump({"suite": "suite.yaml", "entry": "good", "scores": scores} | more)
    )
    return read_claims(str(root))


def test_a_score_that_comes_out_again_holds(made):
    root, out, mean, sha256 = made
    rows = compare(write_card(root, mean=mean + 0.009, test_ids_sha256={"fold 0": sha256}), out)
    assert [(row.found, row.holds) for row in rows] == [(mean, True)]
    require_held(rows, bundle="toy")


@pytest.mark.parametrize("off", [0.02, -0.02], ids=["worse", "better"])
def test_a_score_that_drifted_is_refused_either_way(made, off):
    root, out, mean, _ = made
    rows = compare(write_card(root, mean=mean + off), out)
    with pytest.raises(DataError, match="1 of 1 scores of the card do not hold: dice, blob: card"):
        require_held(rows, bundle="toy")


def test_other_cases_or_another_entry_reproduce_nothing(made):
    root, out, mean, _ = made
    with pytest.raises(DataError, match="other cases were tested"):
        compare(write_card(root, mean=mean, test_ids_sha256={"fold 0": "0" * 64}), out)
    rows = compare(write_card(root, mean=mean, entry="another"), out)
    with pytest.raises(DataError, match="now none"):
        require_held(rows, bundle="toy")


def test_a_card_that_says_too_little_ends_in_one_line(made):
    root, _, mean, _ = made
    with pytest.raises(ConfigError, match="mean and within as numbers"):
        write_card(root, mean=str(mean))
    with pytest.raises(ConfigError, match=r"suit. Wanted suite, entry"):
        write_card(root, mean=mean, suit="x")
    (root / "docs" / "scores.yaml").unlink()
    with pytest.raises(ConfigError, match="makes no claim that can be run again"):
        read_claims(str(root))


def test_the_command_line_takes_a_suite_or_a_bundle():
    for words, match in ((["smoke", "--reproduce", "x"], "Leave 'smoke' out"), ([], "SUITE is missing")):
        result = CliRunner().invoke(app, ["benchmark", *words])
        assert isinstance(result.exception, ConfigError)
        assert match in str(result.exception)


@pytest.mark.parametrize("name", CARDS)
def test_every_card_that_claims_scores_names_a_suite_with_its_entry(name):
    claims = read_claims(name)
    suite = read_suite(claims.suite)
    assert claims.entry in [entry.name for entry in suite.entries]
    assert {claim.metric for claim in claims.scores} <= set(suite.metrics)
    card = (CARDS[name] / "docs" / "README.md").read_text()
    assert f"medseg benchmark --reproduce {name}" in card
