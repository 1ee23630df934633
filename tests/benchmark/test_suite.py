import pytest

from medseg.benchmark.suite import find_suite, read_suite
from medseg.bundle.find import list_suites
from medseg.errors import ConfigError

LEAST = "dataset: {folder: data}\nentries:\n- {bundle: brats_mri_segmentation}\n"


@pytest.fixture
def read(tmp_path):
    def write(text):
        (tmp_path / "mine.yaml").write_text(text)
        return read_suite(tmp_path / "mine.yaml")

    return write


def test_the_least_suite_and_what_it_means(read):
    suite = read(LEAST)
    assert (suite.name, suite.task, suite.seeds, suite.selection) == ("mine", "segmentation", (0,), "next_fold")
    assert suite.metrics == ("dice", "hd95_mm", "nsd")
    assert suite.folds is suite.fold_count is suite.epochs is suite.time_budget_s is None
    assert suite.entries[0].name == "brats_mri_segmentation"


@pytest.mark.parametrize(("text", "seconds"), [("20min", 1200), ("90 s", 90), ("1.5h", 5400)])
def test_a_time_budget_has_a_unit(read, text, seconds):
    assert read(LEAST + f"budget: {{time_budget: {text}}}\n").time_budget_s == seconds


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("seed: [1]", "there is no key 'seed'. Did you mean 'seeds'?"),
        ("seeds: 3", "seeds: 3. Wanted a list of different whole numbers"),
        ("seeds: [1, 1]", "Wanted a list of different whole numbers"),
        ("folds: {run: [0], n: 5}", "folds: there is no key 'n'"),
        ("folds: {count: 1}", "folds: count: 1. Wanted a whole number from 2"),
        ("selection: test", "selection: 'test'. Wanted next_fold, a share between 0 and 1, or a list of case ids"),
        ("selection: 1.5", "Wanted next_fold, a share"),
        ("budget: {time_budget: 20}", "Wanted a time such as 20min"),
        ("metrics: [dise]", "metrics: .* Wanted a list of dice"),
        ("task: both", "Wanted segmentation or detection"),
        ("name: a/b", "since it names a folder"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(read, more, message):
    with pytest.raises(ConfigError, match=message):
        read(LEAST + more + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries:\n- {bundle: x}\n", "dataset: None. Wanted one of name, folder and phantom"),
        ("dataset: {folder: a, name: b}\nentries:\n- {bundle: x}\n", "Wanted one of name, folder and phantom"),
        ("dataset: {folder: a, cases: 3}\nentries:\n- {bundle: x}\n", "dataset: there is no key 'cases'"),
        ("dataset: {folder: a}\n", "Wanted a list of contestants"),
        ("dataset: {folder: a}\nentries:\n- {bundle: x}\n- {bundle: x}\n", "Wanted a name of its own for each"),
        ("dataset: {folder: a}\nentries:\n- {bundle: x, overrides: {fold: 1}}\n", "Wanted what the suite does not set"),
    ],
)
def test_dataset_and_entries_are_checked(read, text, message):
    with pytest.raises(ConfigError, match=message):
        read(text)


def test_a_suite_is_found_by_name_and_its_nearest_is_told():
    assert find_suite("smoke").name == "smoke.yaml"
    with pytest.raises(ConfigError, match="no suite is named 'smoek'. Did you mean 'smoke'"):
        find_suite("smoek")


@pytest.mark.parametrize("name", list_suites())
def test_every_suite_that_ships_can_be_read(name):
    assert read_suite(list_suites()[name]).name == name
