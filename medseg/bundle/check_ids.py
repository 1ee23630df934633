"""What MONAI's workflows and consumers look for in a config, and the counts that every config has."""

from __future__ import annotations

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.findings import Found

# BUNDLES of the zoo: ids that monai.bundle's workflows need, and those that consumers may ask for.
_REQUIRED: dict[str, str] = {
    "train": """bundle_root device dataset_dir train::trainer train::trainer::max_epochs train::dataset train::inferer
        run""",
    "inference": "bundle_root device dataset_dir dataset evaluator network_def inferer run",
    "evaluate": "bundle_root device dataset_dir dataset evaluator network_def inferer run",
}
_EXPECTED: dict[str, str] = {
    "train": """network_def train::dataset::data train::handlers train::preprocessing
        train::postprocessing train::key_metric val_interval validate::evaluator
        validate::dataset validate::dataset::data validate::dataloader validate::inferer validate::preprocessing
        validate::postprocessing validate::key_metric validate::handlers""",
    "inference": "dataset::data handlers preprocessing postprocessing key_metric",
    "evaluate": "dataset::data handlers preprocessing postprocessing key_metric",
}
# Contract keys that count something, with the least that makes sense.
_LEAST = {
    "epochs": 1,
    "val_interval": 1,
    "batch_size": 1,
    "samples_per_epoch": 1,
    "roi_size": 1,
    "num_workers": 0,
    "fold": 0,
    "seed": 0,
}


def missing_ids(composition: Composition) -> Found:
    """Ids that MONAI or its consumers look up in vain."""
    if composition.workflow == "evaluate" and ids.contains(composition.config, "train::trainer"):
        return  # the zoo's evaluate.json lies over train.json, whose ids have been looked at
    for level, table in (("error", _REQUIRED), ("warning", _EXPECTED)):
        for id_ in table[composition.workflow].split():
            if not ids.contains(composition.config, id_):
                wanted = "MONAI's workflows need it" if level == "error" else "MONAI's consumers look for it"
                yield id_, f"missing from the {composition.workflow} config; {wanted}.", level


def counts(composition: Composition) -> Found:
    """Contract keys that count something, and cannot be so small."""
    for id_, least in _LEAST.items():
        value = composition.config.get(id_)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not (isinstance(number, int) and number >= least):
                yield id_, f"{number!r} is too small or no whole number; wanted from {least} on.", "error"
