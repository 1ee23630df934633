"""A workflow as one plain JSON config that stands alone, in the form that MONAI's consumers expect."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.errors import ConfigError

# Handlers that put a file's weights into the network when an engine starts.
_LOADERS = frozenset({"medseg.engines.WeightsLoader", "monai.handlers.CheckpointLoader"})
_GROUP = "medseg.engines.HandlerGroup"
# What MONAI's training workflow looks for below `validate`.
_VALIDATE = ("evaluator", "dataset", "dataloader", "inferer", "preprocessing", "postprocessing", "key_metric")
# What a bundle may ship, and what freezing makes of it, since consumers read no safetensors.
_SHIPPED, _FROZEN = "/models/model.safetensors", "/models/model.pt"
# Nothing that a frozen bundle writes leaves its folder. Training leaves its best weights as models/model.pt, as the
# zoo's bundles do: it is what evaluate.json loads next, and what a federation asks of a site.
_OUTPUT = {"train": "models", "inference": "eval", "evaluate": "eval"}


def frozen_config(composition: Composition) -> dict[str, Any]:
    """The composed config as MONAI Label, Deploy, NVFlare, the model zoo and `monai.bundle.load` take it.

    Raises:
        ConfigError: When the training would load a checkpoint on its own, which federated learning cannot have.
    """
    config = copy.deepcopy(composition.config)
    if isinstance(config.get("output_dir"), str):
        config["output_dir"] = f"$@bundle_root + '/{_OUTPUT[composition.workflow]}'"
    if isinstance(config.get("ckpt_path"), str):
        config["ckpt_path"] = config["ckpt_path"].replace(_SHIPPED, _FROZEN)
    if composition.workflow == "train":
        _refuse_loaders(composition, config)
    if composition.workflow == "evaluate":
        _as_validation(config)
    return config


def _refuse_loaders(composition: Composition, config: dict[str, Any]) -> None:
    """Federated learning sends the weights; a loader among the train handlers would undo that in every round."""
    for id_ in _loaders_in(config.get("train", {})):
        where = composition.where(f"train{ids.SEP}{id_}")
        msg = f"{where}: loads weights at the start of training, over those that a federation sends. Take it out."
        raise ConfigError(msg)


def _loaders_in(value: Any) -> Iterator[str]:
    for id_, child in ids.walk(value):
        if ids.is_component(child) and child["_target_"] in _LOADERS:
            yield id_


def _as_validation(config: dict[str, Any]) -> None:
    """Makes an evaluation that NVFlare's MonaiAlgo can take, alone or laid over the training config.

    MonaiAlgo looks for the evaluator at `validate::evaluator`. It sends weights of its own, and switches off the
    checkpoint loaders that it finds in `validate::handlers` under MONAI's name; ours would replace what was sent.
    """
    if not isinstance(config.get("handlers"), list) or "evaluator" not in config:
        return
    loaders = {f"@{id_}": copy.deepcopy(ids.get_at(config, id_)) for id_ in _loaders_in(config)}
    handlers = [kept for handler in config["handlers"] if (kept := _without(handler, loaders)) is not None]
    checkpoints = [_stock_loader(loader) for loader in loaders.values()]
    config["validate"] = {name: f"@{name}" for name in _VALIDATE if name in config}
    config["validate"]["handlers"] = [*checkpoints, *handlers]
    config["handlers"] = "@validate::handlers"
    for reference in loaders:
        if ids.SEP not in reference:
            config.pop(reference[1:], None)


def _without(handler: Any, loaders: dict[str, Any]) -> Any:
    """The handler without loaders in it; None when nothing is left."""
    if isinstance(handler, str):
        return None if handler in loaders else handler
    if ids.is_component(handler) and handler["_target_"] in _LOADERS:
        return None
    if not ids.is_component(handler) or handler["_target_"] != _GROUP:
        return handler
    kept = {name: value for name, value in handler.items() if _without(value, loaders) is not None}
    return kept if len(kept) > 1 else None


def _stock_loader(loader: dict[str, Any]) -> dict[str, Any]:
    """MONAI's own handler for what the loader does."""
    if loader["_target_"] == "monai.handlers.CheckpointLoader":
        return loader
    return {
        "_target_": "monai.handlers.CheckpointLoader",
        "load_path": loader["path"],
        "load_dict": {"model": loader["network"]},
        "map_location": "@device",
    }
