"""The evaluator: MONAI's SupervisedEvaluator with mixed precision on any device, writing while the network goes on."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import monai.engines
import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.data import MetaTensor
from monai.engines.utils import (
    IterationEvents,
    default_metric_cmp_fn,
    default_prepare_batch,
    engine_apply_transform,
)
from monai.inferers import Inferer
from monai.transforms import Transform
from monai.utils import CommonKeys as Keys
from monai.utils import ForwardMode

from medseg.engines.distributed import unwrap
from medseg.engines.native_stream import NativeStream
from medseg.engines.nested import per_item
from medseg.engines.precision import amp_dtype_of, autocast, plain
from medseg.errors import ConfigError
from medseg.inference.channel_norm import to_channels_last
from medseg.inference.memory import held_mb, room_mb
from medseg.runtime.behind import Behind

_MB, _CPU = 2**20, torch.device("cpu")
_COPIES = 6  # of a prediction on the scan's grid: its steps, their inverse, what is written
_SHARE = 0.25  # of the free memory may be taken by a case that is written behind the next one


class SupervisedEvaluator(monai.engines.SupervisedEvaluator):
    """MONAI's SupervisedEvaluator; its arguments, and these.

    The network runs without DistributedDataParallel (ranks may have different numbers of windows), on plain
    tensors; the prediction gets the image's metadata back, in float32.

    Args:
        amp_dtype: "bfloat16" or "float16", under `amp`.
        channels_last: run 3D networks in channels-last memory format, see `to_channels_last`; changes the network.
        stream: takes the place of the inferer and of the first steps of the postprocessing where it can, with the same
            masks; see `NativeStream`.
        write_behind: do the postprocessing of a batch, and with it the writing, in a thread while the network is busy
            with the next one. No result changes; handlers at ITERATION_COMPLETED see predictions before their
            postprocessing, so it has no effect where there are metrics. One batch at a time, and only where its copies
            fit a quarter of the free memory. Where the inferer has a budget of memory, that is one case's: then nothing
            is written behind it or read ahead.

    Attributes:
        on_written: Called with the id of each case whose postprocessing is done, in the thread that did it.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Iterable,
        network: torch.nn.Module,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable = default_prepare_batch,
        iteration_update: Callable[[Engine, Any], Any] | None = None,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_val_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        metric_cmp_fn: Callable = default_metric_cmp_fn,
        val_handlers: Sequence | None = None,
        amp: bool = False,
        mode: ForwardMode | str = ForwardMode.EVAL,
        event_names: list | None = None,
        event_to_attr: dict | None = None,
        decollate: bool = True,
        to_kwargs: dict | None = None,
        amp_kwargs: dict | None = None,
        compile: bool = False,
        compile_kwargs: dict | None = None,
        *,
        amp_dtype: str | torch.dtype = "bfloat16",
        channels_last: bool = False,
        stream: NativeStream | None = None,
        write_behind: bool = False,
    ) -> None:
        self.stream = stream
        self.on_written: list[Callable[[str], None]] = []
        behind = write_behind and key_val_metric is None and additional_metrics is None
        self._behind, self._in_flight_mb = Behind() if behind else None, 0.0
        postprocessing = stream or postprocessing
        super().__init__(
            device=torch.device(device), val_data_loader=val_data_loader, network=network, epoch_length=epoch_length,
            non_blocking=non_blocking, prepare_batch=prepare_batch, iteration_update=iteration_update,
            inferer=inferer, postprocessing=postprocessing, key_val_metric=key_val_metric,
            additional_metrics=additional_metrics, metric_cmp_fn=metric_cmp_fn, val_handlers=val_handlers, amp=amp,
            mode=mode, event_names=event_names, event_to_attr=event_to_attr, decollate=decollate,
            to_kwargs=to_kwargs, amp_kwargs=amp_kwargs, compile=compile, compile_kwargs=compile_kwargs,
        )  # fmt: skip
        self.amp_dtype, self.channels_last = amp_dtype_of(self.amp_kwargs.get("dtype", amp_dtype)), channels_last
        if channels_last:
            to_channels_last(unwrap(network))

    def _register_decollate(self) -> None:
        # MONAI's own would take a list of detections apart, key by key
        @self.on(IterationEvents.MODEL_COMPLETED)
        def _take_apart(engine: Engine) -> None:
            engine.state.batch, engine.state.output = per_item(engine.state.batch), per_item(engine.state.output)

    def _register_postprocessing(self, posttrans: Callable) -> None:
        self.add_event_handler(IterationEvents.MODEL_COMPLETED, self._end_case, posttrans)

    def _end_case(self, engine: Engine, posttrans: Callable) -> None:
        """The postprocessing, here or behind the network."""
        whole = not isinstance(engine.state.batch, list) or not isinstance(engine.state.output, list)
        batch, output = ([one] if whole else one for one in (engine.state.batch, engine.state.output))
        if self._behind is None:
            self._postprocess(batch, output, posttrans)
            if whole:
                engine.state.batch, engine.state.output = batch[0], output[0]
            return
        needed_mb = sum(_copies_mb(one) for one in output)
        fits = needed_mb <= _SHARE * (room_mb(_CPU) - held_mb(_CPU)) and self._budget_mb() is None
        self._in_flight_mb = needed_mb if fits else 0.0
        self._behind.hand_over(functools.partial(self._postprocess, batch, output, posttrans))
        if not fits:
            self._behind.catch_up()

    def _postprocess(self, batches: list[Any], outputs: list[Any], posttrans: Callable) -> None:
        for place, (batch, output) in enumerate(zip(batches, outputs, strict=True)):
            batches[place], outputs[place] = engine_apply_transform(batch, output, posttrans)
            case_id = str(batch.get("case_id", "")) if isinstance(batch, Mapping) else ""
            for tell in self.on_written:
                tell(case_id)

    def _read_ahead_mb(self, image: Any) -> float:
        """The next case that the loader reads meanwhile, taken for one of this size, in MiB."""
        more = self.state.epoch_length is None or self.state.iteration < self.state.epoch_length
        return (
            _native_voxels(image) * image.shape[1] * 4 / _MB
            if more and getattr(self.data_loader, "ahead", False)
            else 0.0
        )

    def _budget_mb(self) -> float | None:
        """The memory that a case may take, where somebody said so: then there is one case at a time."""
        return getattr(self.inferer, "max_memory_mb", None)

    def run(self, global_epoch: int = 1) -> None:
        """Runs; what is written behind the network is written when this returns or raises."""
        self._in_flight_mb = 0.0
        if self._budget_mb() is not None and getattr(self.data_loader, "ahead", False):
            self.data_loader.ahead = False
        with self._behind or nullcontext():
            super().run(global_epoch)

    def _iteration(self, engine: Any, batchdata: Any) -> dict:  # type: ignore[override]
        if batchdata is None:
            msg = "the loader gave no batch for this iteration. Check the items and transforms."
            raise ConfigError(msg)
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        inputs, targets, args, kwargs = batch if len(batch) == 4 else (*batch, (), {})
        self.state.output = {Keys.IMAGE: inputs, Keys.LABEL: targets}
        network = self.network if self.compile else unwrap(self.network)
        with self.mode(network), self._autocast():
            prediction = None
            if self.stream is not None and not args and not kwargs:
                beside_mb = self._in_flight_mb + self._read_ahead_mb(inputs)
                prediction = self.stream.predict(inputs, network, channels_last=self.channels_last, beside_mb=beside_mb)
            if prediction is None:
                images = plain(inputs, channels_last=self.channels_last)
                prediction = self.inferer(images, network, *args, **kwargs)
        self.state.output[Keys.PRED] = _with_meta(prediction, inputs)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _autocast(self) -> torch.autocast:
        return autocast(self.state.device, enabled=bool(self.amp), dtype=self.amp_dtype, kwargs=self.amp_kwargs)


def _copies_mb(output: Any) -> float:
    """What the postprocessing of one case may take beside it, in MiB."""
    prediction, image = output.get(Keys.PRED), output.get(Keys.IMAGE)
    if not isinstance(prediction, torch.Tensor):
        return 0.0
    if prediction.device.type != "cpu":
        return float("inf")  # memory of the GPU is the network's
    bytes_each = 4 if prediction.is_floating_point() else 1
    return _COPIES * bytes_each * len(prediction) * max(_native_voxels(image), prediction[0].numel()) / _MB


def _native_voxels(image: Any) -> int:
    """Of the scan that an image, or a batch of one, was made of; 0 where it does not say."""
    native = image.meta.get("spatial_shape") if isinstance(image, MetaTensor) else None
    return 0 if native is None else math.prod(int(n) for n in np.ravel(native)[-3:])


def _with_meta(prediction: Any, image: Any) -> Any:
    if not isinstance(prediction, torch.Tensor):
        return prediction
    prediction = prediction.float() if prediction.dtype in (torch.bfloat16, torch.float16) else prediction
    if not isinstance(image, MetaTensor) or isinstance(prediction, MetaTensor):
        return prediction
    return MetaTensor(prediction).copy_meta_from(image)
