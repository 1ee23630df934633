"""The trainer: MONAI's, with mixed precision on any device, accumulation, clipping, EMA and a numeric guard."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

import monai.engines
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines.utils import IterationEvents, default_metric_cmp_fn, default_prepare_batch
from monai.engines.workflow import Workflow
from monai.inferers import Inferer
from monai.transforms import Transform
from monai.utils import CommonKeys as Keys

from medseg.engines import guard
from medseg.engines.distributed import unwrap
from medseg.engines.ema import Ema
from medseg.engines.events import RunEvents
from medseg.engines.means import EpochMeans
from medseg.engines.nested import map_tensors
from medseg.engines.precision import amp_dtype_of, autocast, plain
from medseg.engines.randomness import capture_rng, restore_rng
from medseg.errors import ConfigError
from medseg.inference.channel_norm import to_channels_last

_MAX_SKIPPED_STEPS = 50  # the scale halves at each: 2**16 would be 2**-34, so the gradient itself is not finite


class SupervisedTrainer(monai.engines.SupervisedTrainer):
    """MONAI's SupervisedTrainer; its arguments, and these.

    Args:
        amp_dtype: "bfloat16" (no scaler) or "float16" (with a gradient scaler that outlives `run`), under `amp`.
        accumulation_steps: micro-batches whose gradients are averaged for one optimiser step; the last
            window of an epoch may be shorter, and is averaged over what it has.
        clip_norm: largest norm of the gradient; None does not clip.
        lr_scheduler: stepped once per optimiser step.
        ema: average of the weights, updated once per optimiser step.
        channels_last: run 3D networks in channels-last memory format, see `to_channels_last`; changes the network.
        run_dir: where the batch of a non-finite loss is saved.
        decollate: as in MONAI; by default only when `postprocessing` or a training metric needs it.

    At the start it fires RESTORE and READY, at the end of an epoch VALIDATE, JUDGE, REPORT and SAVE
    (`RunEvents`); `state.epoch_means` holds the epoch's means (loss, its terms, learning_rate, grad_norm) and
    `state.val_metrics` the metrics of this epoch's validation, if there was one.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss_function: Callable,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable = default_prepare_batch,
        iteration_update: Callable[[Engine, Any], Any] | None = None,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_train_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        train_handlers: Sequence | None = None,
        amp: bool = False,
        event_names: list | None = None,
        event_to_attr: dict | None = None,
        decollate: bool | None = None,
        optim_set_to_none: bool = True,
        to_kwargs: dict | None = None,
        amp_kwargs: dict | None = None,
        compile: bool = False,
        compile_kwargs: dict | None = None,
        accumulation_steps: int = 1,
        *,
        amp_dtype: str | torch.dtype = "bfloat16",
        clip_norm: float | None = None,
        lr_scheduler: Any = None,
        ema: Ema | None = None,
        channels_last: bool = False,
        run_dir: str | Path | None = None,
    ) -> None:
        if accumulation_steps < 1 or (clip_norm is not None and clip_norm <= 0):
            msg = f"accumulation_steps {accumulation_steps} must be >= 1, and clip_norm {clip_norm} > 0 or null."
            raise ConfigError(msg)
        if decollate is None:
            decollate = postprocessing is not None or key_train_metric is not None
        super().__init__(
            device=device, max_epochs=max_epochs, train_data_loader=train_data_loader, network=network,
            optimizer=optimizer, loss_function=loss_function, epoch_length=epoch_length, non_blocking=non_blocking,
            prepare_batch=prepare_batch, iteration_update=iteration_update, inferer=inferer,
            postprocessing=postprocessing, key_train_metric=key_train_metric, additional_metrics=additional_metrics,
            metric_cmp_fn=metric_cmp_fn, train_handlers=None, amp=amp, event_names=event_names,
            event_to_attr=event_to_attr, decollate=decollate, optim_set_to_none=optim_set_to_none,
            to_kwargs=to_kwargs, amp_kwargs=amp_kwargs, compile=compile, compile_kwargs=compile_kwargs,
        )  # fmt: skip
        self.accumulation_steps, self.clip_norm = accumulation_steps, clip_norm
        self.lr_scheduler, self.ema, self.channels_last, self.run_dir = lr_scheduler, ema, channels_last, run_dir
        self.amp_dtype = amp_dtype_of(self.amp_kwargs.get("dtype", amp_dtype))
        if channels_last:
            to_channels_last(unwrap(network))
        self._begin_state()
        self._register_phases()
        if train_handlers is not None:
            self._register_handlers(train_handlers)

    def _register_phases(self) -> None:
        self.register_events(*RunEvents)
        self.add_event_handler(Events.STARTED, lambda: self._start())
        self.add_event_handler(Events.EPOCH_STARTED, lambda: self._start_epoch())
        self.add_event_handler(Events.ITERATION_STARTED, lambda: self._start_iteration())
        self.add_event_handler(Events.EPOCH_COMPLETED, lambda: self.close_epoch())

    def _begin_state(self) -> None:
        """What a run remembers beyond Ignite's state."""
        scaled = bool(self.amp) and self.amp_dtype == torch.float16
        self.scaler = torch.amp.GradScaler(self.state.device.type, enabled=scaled)
        self.means = EpochMeans()
        self.epoch_is_closed = True
        self.evaluators: list[Any] = []
        self.run_contexts: list[Callable[[], AbstractContextManager]] = []
        self._extra_state: dict[str, Any] = {}
        self._skipped_steps = 0
        self._first_rng: dict[str, Any] | None = None
        self._closing_rng: dict[str, Any] | None = None
        self._epoch_began = time.perf_counter()
        self.state.epoch_means, self.state.val_metrics, self.state.key_metric = {}, {}, None
        self.state.epoch_seconds = 0.0

    # --- the run -----------------------------------------------------------------------------------------------

    def run(self) -> None:  # type: ignore[override]
        """Train until `state.max_epochs`; again after it was raised. The gradient scaler is kept."""
        with ExitStack() as stack:
            for context in self.run_contexts:
                stack.enter_context(context())
            Workflow.run(self)  # not Trainer.run, which makes a new scaler each time

    def _start(self) -> None:
        if self.ema is not None:
            self.ema.restart_if_replaced()
        self.fire_event(RunEvents.RESTORE)
        rng = capture_rng()
        self.fire_event(RunEvents.READY)
        restore_rng(rng)
        if not self.epoch_is_closed and self.at_epoch_end:
            self.close_epoch()  # the run was stopped between an epoch's last iteration and its end
        self._first_rng = capture_rng()

    def _start_epoch(self) -> None:
        self._epoch_began = time.perf_counter()
        self.epoch_is_closed = False
        if hasattr(self.data_loader, "start_at"):
            self.data_loader.start_at(self.state.iteration)  # heeded when Ignite makes the iterator, just after this

    def _start_iteration(self) -> None:
        if self._first_rng is not None:  # making the iterator may have used the global random state
            restore_rng(self._first_rng)
            self._first_rng = None

    def close_epoch(self) -> None:
        """End the epoch: its means, then VALIDATE, JUDGE, REPORT, SAVE."""
        self._closing_rng = capture_rng()
        self.state.epoch_seconds = time.perf_counter() - self._epoch_began
        self.state.epoch_means = self.means.over_ranks()
        self.state.val_metrics = {}
        for phase in (RunEvents.VALIDATE, RunEvents.JUDGE, RunEvents.REPORT):
            self.fire_event(phase)
        self.means.clear()
        self.epoch_is_closed, self._closing_rng = True, None
        self.fire_event(RunEvents.SAVE)

    # --- one iteration -----------------------------------------------------------------------------------------

    @property
    def place_in_epoch(self) -> int:
        """Iterations done in this epoch, 1 to epoch_length while one runs or has just run."""
        length = self.state.epoch_length
        return (self.state.iteration - 1) % length + 1 if length else self.state.iteration

    @property
    def at_epoch_end(self) -> bool:
        """Whether this iteration is the last of its epoch."""
        return bool(self.state.iteration and self.place_in_epoch == self.state.epoch_length)

    @property
    def at_step_boundary(self) -> bool:
        """Whether the optimiser steps at the end of this iteration."""
        return self.at_epoch_end or self.place_in_epoch % self.accumulation_steps == 0

    @property
    def closed_epochs(self) -> int:
        """Epochs that are complete with their validation."""
        return (self.state.iteration - (not self.epoch_is_closed)) // (self.state.epoch_length or 1)

    def _window(self) -> int:
        """Micro-batches in this accumulation window."""
        length, start = self.state.epoch_length, (self.place_in_epoch - 1) // self.accumulation_steps
        rest = length - start * self.accumulation_steps if length else self.accumulation_steps
        return min(self.accumulation_steps, rest)

    def _iteration(self, engine: Any, batchdata: Any) -> dict:  # type: ignore[override]
        if batchdata is None:
            msg = "the loader gave no batch for this iteration. Check the training items and transforms."
            raise ConfigError(msg)
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        inputs, targets, args, kwargs = batch if len(batch) == 4 else (*batch, (), {})
        self.network.train()
        if (self.place_in_epoch - 1) % self.accumulation_steps == 0:
            self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        self.state.output = {Keys.IMAGE: inputs, Keys.LABEL: targets}
        with self._gradient_sync():
            images, labels = plain(inputs, channels_last=self.channels_last), plain(targets)
            with self._autocast():
                prediction = self.inferer(images, self.network, *args, **kwargs)
                self.state.output[Keys.PRED] = prediction
                self.fire_event(IterationEvents.FORWARD_COMPLETED)
                loss = self._loss(prediction, labels, batchdata=batchdata, images=images)
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            self.scaler.scale(loss / self._window()).backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if self.at_step_boundary:
            self._optimizer_step(batchdata, images, labels, forward=(args, kwargs))
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _autocast(self) -> torch.autocast:
        return autocast(self.state.device, enabled=bool(self.amp), dtype=self.amp_dtype, kwargs=self.amp_kwargs)

    def _gradient_sync(self) -> AbstractContextManager:
        # ranks exchange gradients once per optimiser step, not once per micro-batch
        if hasattr(self.network, "no_sync") and not self.at_step_boundary:
            return self.network.no_sync()  # type: ignore[operator]
        return nullcontext()

    def _loss(self, prediction: Any, labels: Any, *, batchdata: Any, images: torch.Tensor) -> torch.Tensor:
        if hasattr(self.loss_function, "terms"):
            terms = self.loss_function.terms(prediction, labels)
            loss = self.loss_function.total(terms)
        else:
            terms, loss = {}, self.loss_function(prediction, labels).mean()
        self.state.output[Keys.LOSS] = loss
        named = {"loss": loss, **terms}
        values = torch.stack([v.detach().float() for v in named.values()]).tolist()
        if not all(map(math.isfinite, values)):
            content = {"image": images, "label": labels, "prediction": map_tensors(prediction, torch.Tensor.detach)}
            guard.stop_for_loss(self, values[0], batch=batchdata, content=content)
        for name, value in zip(named, values, strict=True):
            self.means.add(name, value)
        return loss

    def _optimizer_step(self, batchdata: Any, images: torch.Tensor, labels: Any, *, forward: tuple) -> None:
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        total = torch.nn.utils.get_total_norm(gradients)
        norm = float(total)
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            self._stop_for_gradient(norm, batchdata, tensors=(images, labels), forward=forward)
        if self.clip_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip_norm, total)
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._skipped_steps = 0 if math.isfinite(norm) else self._skipped_steps + 1
        if self._skipped_steps >= _MAX_SKIPPED_STEPS:
            self._stop_for_gradient(norm, batchdata, tensors=(images, labels), forward=forward)
        if self._skipped_steps:
            return  # float16 overflow: the scaler left the weights alone and will try a smaller scale
        self.means.add("learning_rate", rate)
        self.means.add("grad_norm", norm)
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()
        if self.ema is not None:
            self.ema.update()

    def _stop_for_gradient(self, norm: float, batchdata: Any, *, tensors: tuple, forward: tuple) -> None:
        (images, labels), (args, kwargs) = tensors, forward
        network = unwrap(self.network)

        def predict(inputs: torch.Tensor) -> Any:
            with self._autocast():
                return self.inferer(inputs, network, *args, **kwargs)

        guard.stop_for_gradient(
            self, norm, batch=batchdata, content={"image": images, "label": labels}, forward=predict
        )

    # --- state that a checkpoint keeps -------------------------------------------------------------------------

    def remember(self, name: str, part: Any) -> None:
        """Keep the state of a handler (`state_dict`, `load_state_dict`) in checkpoints, under that name."""
        self._extra_state[name] = part

    def stateful_parts(self) -> dict[str, Any]:
        """Everything with a state of its own, by name."""
        parts: dict[str, Any] = {"model": unwrap(self.network), "optimizer": self.optimizer, "scaler": self.scaler}
        parts |= {"schedule": self.lr_scheduler} if self.lr_scheduler is not None else {}
        parts |= {"ema": self.ema} if self.ema is not None else {}
        return parts | self._extra_state

    def progress_state(self) -> dict[str, Any]:
        """Where the run is: the same on every rank."""
        return {
            "iteration": int(self.state.iteration),
            "epoch": int(self.state.epoch),
            "epoch_length": int(self.state.epoch_length),
            "epoch_is_closed": self.epoch_is_closed,
            "best_metric": float(self.state.best_metric),
            "best_metric_epoch": int(self.state.best_metric_epoch),
        }

    def rank_state(self) -> dict[str, Any]:
        """What is this process's own: its random state and its sums. While an epoch is closed, those of its end."""
        rng = self._closing_rng if self._closing_rng is not None else capture_rng()
        return {"rng": rng, "means": self.means.state_dict(), "skipped_steps": self._skipped_steps}

    def resume_from(self, progress: dict[str, Any], rank_state: dict[str, Any]) -> None:
        """Go to where `progress_state` and `rank_state` were taken."""
        state, iteration, length = self.state, progress["iteration"], progress["epoch_length"]
        state.iteration, state.epoch_length = iteration, length
        state.best_metric, state.best_metric_epoch = progress["best_metric"], progress["best_metric_epoch"]
        self.epoch_is_closed = progress["epoch_is_closed"]
        # Ignite adds 1 when it goes on with an epoch, but not when only the epoch's end is missing
        state.epoch = iteration // length
        self.means.load_state_dict(rank_state["means"])
        self._skipped_steps = rank_state["skipped_steps"]
        restore_rng(rank_state["rng"])
