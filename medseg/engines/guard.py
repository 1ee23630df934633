"""The numeric guard: a loss or gradient that is not finite names its case and term, and leaves its batch behind."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from medseg.engines.atomic import save_atomically
from medseg.engines.nested import map_tensors, one_prediction
from medseg.errors import MedsegError, NumericError

_log = logging.getLogger(__name__)
BATCH_FILE = "nonfinite_batch.pt"


def case_ids(batch: Any, batch_size: int) -> list[str]:
    """The case of each sample of a collated batch; "sample i" where it has none."""
    ids = batch.get("case_id") if isinstance(batch, Mapping) else None
    ids = [ids] if isinstance(ids, str) else list(ids or [])
    return [str(i) for i in ids] if len(ids) == batch_size else [f"sample {i}" for i in range(batch_size)]


def loss_terms(loss_function: Callable, prediction: Any, target: Any) -> dict[str, torch.Tensor]:
    """The named terms of a WeightedSum; of any other loss, one term called loss."""
    if hasattr(loss_function, "terms"):
        return dict(loss_function.terms(prediction, target))
    return {"loss": loss_function(prediction, target).mean()}


@torch.no_grad()
def blamed_terms(loss_function: Callable, prediction: Any, target: Any, ids: list[str]) -> list[str]:
    """One phrase, like "term 'dice' of case A is nan", for each sample and term that is not finite on its own."""
    found = []
    for i, case in enumerate(ids):
        terms = loss_terms(loss_function, one_prediction(prediction, i), target[i : i + 1])
        found += [f"term '{n}' of case {case} is {float(v)}" for n, v in terms.items() if not torch.isfinite(v).all()]
    return found


def blamed_gradients(forward: Callable, loss_function: Callable, tensors: tuple, ids: list[str]) -> list[str]:
    """One phrase, like "term 'dice' of case A", for each sample and term whose gradient alone is not finite.

    Args:
        forward: inputs → prediction.
        loss_function: the loss.
        tensors: inputs, targets and the network's parameters.
        ids: the case of each sample.
    """
    inputs, targets, parameters = tensors
    found = []
    for i, case in enumerate(ids):
        terms = loss_terms(loss_function, forward(inputs[i : i + 1]), targets[i : i + 1])
        for name, value in terms.items():
            grads = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            if not all(torch.isfinite(g).all() for g in grads if g is not None):
                found.append(f"term '{name}' of case {case}")
    return found


def bad_inputs(inputs: torch.Tensor, target: Any, ids: list[str]) -> list[str]:
    """One phrase for each image or label with voxels that are not finite."""
    found = []
    for what, value in (("image", inputs), ("label", target)):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            counts = [int((~torch.isfinite(v)).sum()) for v in value]
            pairs = zip(counts, ids, strict=True)
            found += [f"the {what} of case {case} has {n} voxels that are not finite" for n, case in pairs if n]
    return found


def save_batch(run_dir: str | Path | None, content: dict[str, Any]) -> str:
    """Write the batch to the run folder and say where, as the end of a sentence; nothing without a folder."""
    if run_dir is None:
        return ""
    path = Path(run_dir) / BATCH_FILE
    tensors = map_tensors(content, lambda tensor: tensor.detach().cpu())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(path, tensors)
    except (MedsegError, OSError) as error:
        _log.warning("the batch could not be saved: %s", error)
        return ""
    return f" The batch is in {path}."


def stop_for_loss(trainer: Any, value: float, *, batch: Any, content: dict[str, Any]) -> NoReturn:
    """Raise the NumericError of a loss that is not finite. `content` has image, label and prediction."""
    image, label, prediction = content["image"], content["label"], content["prediction"]
    ids = case_ids(batch, len(image))
    causes = bad_inputs(image, label, ids) + blamed_terms(trainer.loss_function, prediction, label, ids)
    _stop(trainer, f"the loss is {value}", causes=causes, content=content | {"case_id": ids})


def stop_for_gradient(trainer: Any, norm: float, *, batch: Any, content: dict[str, Any], forward: Callable) -> NoReturn:
    """Raise the NumericError of a gradient that is not finite. `content` has image and label."""
    image, label = content["image"], content["label"]
    ids = case_ids(batch, len(image))
    parameters = [p for p in trainer.network.parameters() if p.requires_grad]
    causes = blamed_gradients(forward, trainer.loss_function, (image, label, parameters), ids)
    _stop(trainer, f"the norm of the gradient is {norm}", causes=causes, content=content | {"case_id": ids})


def _stop(trainer: Any, what: str, *, causes: list[str], content: dict[str, Any]) -> NoReturn:
    state = trainer.state
    why = "; ".join(causes) or f"no sample alone is to blame (cases {', '.join(dict.fromkeys(content['case_id']))})"
    saved = save_batch(trainer.run_dir, content | {"iteration": state.iteration, "epoch": state.epoch})
    msg = (
        f"iteration {state.iteration} (epoch {state.epoch}): {what}: {why}.{saved} "
        "Mend or drop the case, or lower learning_rate."
    )
    raise NumericError(msg)
