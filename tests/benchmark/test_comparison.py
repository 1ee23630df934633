import json

import pytest

from medseg.benchmark.comparison import compare_runs
from medseg.benchmark.scores import MEAN_OF_REGIONS, read_scores
from medseg.errors import ConfigError, DataError

CASES = [f"c{i}" for i in range(10)]


def flat(value, step=0.0, cases=CASES, regions=("WT",)):
    return {(case, region): value + step * i for i, case in enumerate(cases) for region in regions}


def by(found, run, metric="dice", region="WT"):
    return next(row for row in found.rows if (row.run, row.metric, row.region) == (run, metric, region))


@pytest.fixture
def pair(write_run):
    return [read_scores(write_run(n, flat(v, 0.01)), name=n) for n, v in (("a", 0.7), ("b", 0.75))]


def test_a_constant_gain_is_a_verdict(pair):
    found = compare_runs(pair, metrics=["dice", "hd95_mm"])
    assert by(found, "b").scores.over_cases.mean == pytest.approx(0.795)
    assert by(found, "b").rank.best_share == 1.0
    assert [verdict.better for verdict in found.verdicts] == ["b", "b"], "for a distance, lower is better"
    assert found.verdicts[0].test.mean_difference == pytest.approx(-0.05)
    # Exact p of 10 cases that all agree is 2 / 1024; Holm doubles the smaller of two, which tie.
    assert found.verdicts[0].permutation_holm == pytest.approx(4 / 1024)
    assert found.verdicts[0].text.startswith("b is better than a (a minus b: -0.0500")


def test_a_run_against_itself_shows_no_difference(write_run):
    runs = [read_scores(write_run(name, flat(0.8, 0.01)), name=name) for name in "ab"]
    found = compare_runs(runs)
    assert {verdict.better for verdict in found.verdicts} == {None}
    assert found.verdicts[0].text.startswith("no difference shown between a and b")


def test_three_cases_can_prove_nothing(write_run):
    runs = [read_scores(write_run(name, flat(v, cases=CASES[:3])), name=name) for name, v in (("a", 0.1), ("b", 0.9))]
    assert compare_runs(runs, metrics=["dice"]).verdicts[0].better is None


def test_a_failed_case_counts_as_the_worst_of_any_run(write_run):
    good = read_scores(write_run("good", flat(0.9)), name="good")
    bad = read_scores(write_run("bad", flat(0.9, cases=CASES[:9]), failed=["c9"]), name="bad")
    found = compare_runs([good, bad])
    assert by(found, "bad").scores.over_cases.mean == pytest.approx(0.81)
    assert by(found, "bad", "hd95_mm").scores.over_cases.mean == pytest.approx((9 * 1.0 + 374) / 10)
    assert (by(found, "bad").n_worst, by(found, "good").n_worst) == (1, 0)


def test_other_cases_are_refused_or_left_out_by_name(write_run):
    runs = [
        read_scores(write_run("a", flat(0.9)), name="a"),
        read_scores(write_run("b", flat(0.8, cases=CASES[2:])), name="b"),
    ]
    with pytest.raises(DataError, match=r"a has 2 that another lacks \(c0, c1\).*--common .*on the 8"):
        compare_runs(runs)
    found = compare_runs(runs, common=True)
    assert found.left_out == {"a": ("c0", "c1")}
    assert len(found.cases) == 8
    with pytest.raises(DataError, match="no case in common"):
        compare_runs([runs[0], read_scores(write_run("z", {("x", "WT"): 1.0}), name="z")], common=True)


def test_regions_are_averaged_case_by_case_and_shown_on_request(write_run):
    values = {("c1", "WT"): 0.8, ("c1", "TC"): 0.4, ("c2", "WT"): 0.6, ("c2", "TC"): 0.6}
    runs = [read_scores(write_run(name, values), name=name) for name in "ab"]
    assert [row.region for row in compare_runs(runs, metrics=["dice"]).rows] == [MEAN_OF_REGIONS] * 2
    found = compare_runs(runs, metrics=["dice"], per_region=True)
    assert by(found, "a", region=MEAN_OF_REGIONS).scores.over_cases.mean == pytest.approx(0.6)
    assert by(found, "a", region="TC").scores.over_cases.mean == pytest.approx(0.5)


def test_other_regions_are_refused(write_run):
    runs = [read_scores(write_run(name, flat(0.9, regions=(name,))), name=name) for name in "ab"]
    with pytest.raises(DataError, match="b has the regions b, a has a. Evaluate both with the same --regions"):
        compare_runs(runs)


def test_seeds_are_averaged_within_a_case(write_run):
    values = {(case, "WT", seed): 0.8 + 0.02 * seed for case in CASES for seed in (0, 1)}
    run = read_scores(write_run("a", values, seed=True), name="a")
    row = by(compare_runs([run]), "a")
    assert row.scores.over_cases.n == 10
    assert row.scores.seed_means == pytest.approx({0: 0.8, 1: 0.82})
    assert row.scores.between_seed_sd == pytest.approx(0.02 / 2**0.5)


def test_everything_is_json(pair):
    written = json.loads(json.dumps(compare_runs(pair).to_json(), allow_nan=False))
    assert written["rules"]["failures"].startswith("A case that failed")


def test_bad_questions(pair, tmp_path, write_run):
    with pytest.raises(ConfigError, match="--metric: no metric is named 'dise'"):
        compare_runs(pair, metrics=["dise"])
    with pytest.raises(ConfigError, match="has no lesion_dice in every row"):
        compare_runs(pair, metrics=["lesion_dice"])
    with pytest.raises(ConfigError, match="a: is given twice"):
        compare_runs([pair[0], pair[0]])
    with pytest.raises(DataError, match="is not there"):
        read_scores(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no cases.csv"):
        read_scores(tmp_path / "empty")
    (tmp_path / "empty" / "nodules.csv").touch()
    with pytest.raises(DataError, match="evaluation of a detector"):
        read_scores(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "wanted rows with case_id, region"),
        ("case_id,region,dice\n", "wanted rows"),
        ("case_id,region,dice\na,WT,nan\n", "line 2: dice is 'nan', no finite number"),
        ("case_id,region,dice\na,WT,oops\n", "line 2: dice is 'oops'"),
        ("case_id,region,dice\na,WT,1\na,WT,1\n", "line 3: case a, region WT stands there twice"),
    ],
)
def test_bad_tables_are_refused(tmp_path, text, message):
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path)


def test_the_places_of_a_run(write_run):
    folder = write_run("a", flat(0.9))
    assert read_scores(folder).source == read_scores(folder / "evaluation").source
    assert read_scores(folder / "evaluation" / "cases.csv").cases == set(CASES)
