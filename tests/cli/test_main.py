from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from medseg import __version__

HEAVY = "['torch', 'monai', 'numpy', 'scipy', 'nibabel', 'numba', 'yaml']"


def medseg(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "medseg", *arguments], capture_output=True, text=True, check=check)


def test_the_command_runs_as_a_module_too() -> None:
    assert medseg("--version").stdout.strip() == f"medseg {__version__}"


def test_help_lists_the_verbs() -> None:
    text = medseg("--help").stdout
    for verb in ("info", "demo", "data", "train", "predict", "evaluate", "compare", "benchmark", "report", "bundle"):
        assert f"│ {verb} " in text


def test_the_command_line_imports_nothing_heavy_and_help_is_quick() -> None:
    code = f"import sys, medseg.cli.main; print([m for m in {HEAVY} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        medseg("--help")
        times.append(time.perf_counter() - start)
    # 0.2 s on an idle machine; the bound leaves room for a busy one and none for an import of torch.
    assert min(times) < 1.0


def test_info_as_json_names_versions_devices_and_bundles() -> None:
    facts = json.loads(medseg("info", "--json").stdout)
    assert facts["versions"]["medseg"] == __version__
    assert "cpu" in facts["devices"]
    assert "brats_mri_segmentation" in facts["bundles"]
    assert "smoke" in facts["presets"]


@pytest.mark.parametrize("arguments", [("info",), ("bundle", "list"), ("bundle", "check", "brats_mri_segmentation")])
def test_light_verbs_import_no_torch(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys\nfrom medseg.cli.main import main\n"
        f"sys.argv = ['medseg', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'monai', 'ignite') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("train", "brats_mri_segmentation", "epohcs=3"),
            "the config has no key 'epohcs'. Did you mean 'epochs'?",
        ),
        (("train", "brats_mri_segmentaton"), "Did you mean 'brats_mri_segmentation'?"),
        (("train", "brats_mri_segmentation", "epochs=many"), "error: epochs: 'many' is text, but a number is wanted"),
        (("train", "brats_mri_segmentation", "--preset", "smok"), "Did you mean 'smoke'?"),
        (("train", "--resume", "no/such/run"), "error: no/such/run: holds no run"),
        (("train",), "error: BUNDLE is missing"),
        (("predict", "brats_mri_segmentation", "overlp=0.5", "-o", "out"), "Did you mean 'overlap'?"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(arguments: tuple[str, ...], line: str) -> None:
    done = medseg(*arguments, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr
