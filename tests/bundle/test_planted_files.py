"""Presets, plans and logging configs with a slip in them: each is found at its file and line."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable

import pytest

BRATS = "brats_mri_segmentation"
MSD = "msd_organ_segmentation"
LOGGING = "configs/logging.conf"

# Bundle, file, what stands there, what takes its place, text on the line where it must be found, what must be said.
# fmt: off
FAULTS = [
    (BRATS, "configs/presets/fast.yaml", "", "epochs: two\n", "epochs: two", "'two' is wrong; a number is wanted"),
    (MSD, "configs/plans/a.yaml", "", "epochs: two\n", "epochs: two", "'two' is wrong; a number is wanted"),
    (MSD, "configs/plans/phantom.yaml", "batch_size: 2 ", "batch_size: two ", "batch_size: two", "'two' is wrong; a number is wanted"),
    (MSD, "configs/plans/phantom.yaml", "batch_size: 2 ", "batch_sise: 2 ", "batch_sise", "Did you mean 'batch_size'"),
    (MSD, "configs/plans/phantom.yaml", "roi_size: [112, 96, 56]", "roi_size: [112, 96, 50]", "roi_size", "[112, 96, 50] is not divisible by 16x16x8, as dyn_unet needs (DynUNet)"),
    (BRATS, LOGGING, "formatter=line", "fromatter=line", "fromatter", "Did you mean 'formatter'"),
    (BRATS, LOGGING, "[handler_console]", "[handler_consol]", "[handler_consol]", "Did you mean [handler_console]"),
    (BRATS, LOGGING, "handlers=console", "handlers=consol", "handlers=consol\n", "Did you mean 'console'"),
    (BRATS, LOGGING, "formatter=line", "formatter=lin", "formatter=lin\n", "Did you mean 'line'"),
    (BRATS, LOGGING, "level=INFO\nformatter", "level=INFOO\nformatter", "level=INFOO", "Did you mean 'INFO'"),
    (BRATS, LOGGING, "class=StreamHandler", "class=StreamHandlr", "class=Stream", "Did you mean 'StreamHandler'"),
    (BRATS, LOGGING, "[logger_root]", "[logger_rot]", "[logger_rot]", "Did you mean [logger_root]"),
    (BRATS, LOGGING, "[formatters]\nkeys=line", "[formatters]\nkey=line", "key=line", "[formatters] with its keys is missing, and logging needs it"),
]
# fmt: on


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault[4].strip()}: {fault[5]}")
def test_a_slip_in_a_file_beside_the_configs_is_found_at_its_line(
    plant: Callable[..., list[str]], fault: tuple[str, ...]
) -> None:
    bundle, file, old, new, at, says = fault
    found = plant(bundle, file, old, new, at=at)
    assert any(says in text for text in found), found
