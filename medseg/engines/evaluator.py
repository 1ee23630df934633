"""The evaluator: MONAI's SupervisedEvaluator with mixed precision on any device."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import monai.engines
import torch
from ignite.engine import Engine
from ignite.metrics import Metric
from monai.data import MetaTensor
from monai.engines.utils import IterationEvents, default_metric_cmp_fn, default_prepare_batch
from monai.inferers import Inferer
from monai.transforms import Transform
from monai.utils import CommonKeys as Keys
from monai.utils import ForwardMode

from medseg.engines.distributed import unwrap
from medseg.engines.native_stream import NativeStream
from medseg.engines.nested import per_item
from medseg.engines.precision import amp_dtype_of, autocast, plain
from medseg.errors import ConfigError


class SupervisedEvaluator(monai.engines.SupervisedEvaluator):
    """MONAI's SupervisedEvaluator; its arguments, and these.

    The network runs without DistributedDataParallel (ranks may have different numbers of windows), on plain
    tensors; the prediction gets the image's metadata back, in float32.

    Args:
        amp_dtype: "bfloat16" or "float16", under `amp`.
        channels_last: run 3D networks in channels-last memory format.
        stream: takes the place of the inferer and of the first steps of the postprocessing where it can, with the same
            masks; see `NativeStream`.
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
    ) -> None:
        self.stream = stream
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
            unwrap(network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def _register_decollate(self) -> None:
        # MONAI's own would take a list of detections apart, key by key
        @self.on(IterationEvents.MODEL_COMPLETED)
        def _take_apart(engine: Engine) -> None:
            engine.state.batch, engine.state.output = per_item(engine.state.batch), per_item(engine.state.output)

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
                prediction = self.stream.predict(inputs, network, channels_last=self.channels_last)
            if prediction is None:
                images = plain(inputs, channels_last=self.channels_last)
                prediction = self.inferer(images, network, *args, **kwargs)
        self.state.output[Keys.PRED] = _with_meta(prediction, inputs)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _autocast(self) -> torch.autocast:
        return autocast(self.state.device, enabled=bool(self.amp), dtype=self.amp_dtype, kwargs=self.amp_kwargs)


def _with_meta(prediction: Any, image: Any) -> Any:
    if not isinstance(prediction, torch.Tensor):
        return prediction
    prediction = prediction.float() if prediction.dtype in (torch.bfloat16, torch.float16) else prediction
    if not isinstance(image, MetaTensor) or isinstance(prediction, MetaTensor):
        return prediction
    return MetaTensor(prediction).copy_meta_from(image)
