"""Sliding-window inference: MONAI's windows and weights, merged faster and within a memory budget."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any, Literal

import torch
from monai.inferers.inferer import SlidingWindowInferer

from medseg.errors import ConfigError
from medseg.inference.foreground import foreground_box
from medseg.inference.native_grid import NativeGrid
from medseg.inference.scan_windows import ScanWindows
from medseg.inference.streaming import Prediction, StreamingPrediction
from medseg.inference.tile_merge import Activation
from medseg.inference.whole_merge import merged

Network = Callable[..., Any]
_NOTHING = -30.0  # score outside the foreground: a sigmoid of 1e-13, and alike for all classes
_MONAI_ONLY = {"condition", "device", "buffer_steps", "buffer_dim", "process_fn", "progress", "roi_weight_map"}
_PLACEMENTS = ("everywhere", "foreground")


class SlidingWindow(SlidingWindowInferer):
    """MONAI's sliding window with Gaussian importance, and mirroring as test-time augmentation.

    Called as an inferer it gives the scores of the whole scan, equal to those of MONAI's `sliding_window_inference`.
    `predict_labels` gives labels on the scan's own grid, without ever holding the scores of the whole scan.

    Args:
        roi_size: Window in voxels, `(X, Y, Z)`.
        overlap: Share of a window that the next one covers, 0 to 1.
        sw_batch_size: Windows in one forward pass; `predict_labels` takes fewer where memory is short.
        tta: Whether to average the logits over mirrored inputs. It changes the result and costs one pass per mirror.
        mirror_axes: Spatial axes (0, 1, 2) to mirror; all their combinations are averaged.
        mode: "gaussian": the centre of a window counts more; "constant": all of it alike.
        max_memory_mb: What the process may hold (on a GPU: what its tensors may take there) in `predict_labels`, MiB;
            what the machine has when not given. It changes no result.
        channels_last: Whether windows are given to the network in channels-last memory; see `to_channels_last`.
        bf16: Whether the network runs under bfloat16 autocast. It changes the result within bfloat16's rounding.
        placement: "everywhere", or "foreground": windows over the box of the voxels that are not 0, and nothing
            outside it. That CHANGES THE RESULT: the network sees other windows than those it was validated with.
        kwargs: Passed on to `monai.inferers.SlidingWindowInferer`.

    Raises:
        ConfigError: An unknown placement, or a budget that is not positive.
    """

    def __init__(
        self,
        roi_size: Sequence[int] | int,
        *,
        overlap: Sequence[float] | float = 0.5,
        sw_batch_size: int = 1,
        tta: bool = False,
        mirror_axes: Sequence[int] = (0, 1, 2),
        mode: Literal["gaussian", "constant"] = "gaussian",
        max_memory_mb: float | None = None,
        channels_last: bool = False,
        bf16: bool = False,
        placement: Literal["everywhere", "foreground"] = "everywhere",
        **kwargs: Any,
    ) -> None:
        super().__init__(roi_size, sw_batch_size=sw_batch_size, overlap=overlap, mode=mode, **kwargs)
        self.mirrors = mirror_combinations(mirror_axes) if tta else ((),)
        if placement not in _PLACEMENTS:
            msg = f"SlidingWindow: placement {placement!r} is unknown. Choose one of: {', '.join(_PLACEMENTS)}."
            raise ConfigError(msg)
        if max_memory_mb is not None and not max_memory_mb > 0:
            msg = f"SlidingWindow: max_memory_mb {max_memory_mb} is not a positive number of MiB."
            raise ConfigError(msg)
        self.max_memory_mb, self.channels_last, self.bf16, self.placement = (
            max_memory_mb,
            channels_last,
            bf16,
            placement,
        )

    def __call__(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> Any:
        """Logits of shape `(B, classes, X, Y, Z)` for an image `(B, C, X, Y, Z)`."""
        if self.placement == "foreground" and inputs.ndim == 5 and len(inputs) == 1:
            box = (slice(None), slice(None), *foreground_box(inputs[0], least=self._roi(inputs)))
            part = self._everywhere(inputs[box], network, *args, **kwargs)
            scores = part.new_full((*part.shape[:2], *inputs.shape[2:]), _NOTHING)
            scores[box] = part
            return scores
        return self._everywhere(inputs, network, *args, **kwargs)

    def _everywhere(self, inputs: torch.Tensor, network: Network, *args: Any, **kwargs: Any) -> Any:
        forward = self._forward(network, inputs.device)
        if self._is_plain(inputs, kwargs):
            scan = self._windows(inputs)
            found = merged(scan, functools.partial(forward, **kwargs), *args, batch_size=self.sw_batch_size)
            if found is not None:
                return found
        return super().__call__(inputs, forward, *args, **kwargs)

    def predict_labels(
        self,
        inputs: torch.Tensor,
        network: Network,
        *args: Any,
        grid: NativeGrid | None = None,
        activation: Activation = "none",
        threshold: float | None = None,
        exclusive: bool = False,
        beside_mb: float = 0.0,
        **kwargs: Any,
    ) -> Prediction:
        """The labels of a scan on its own grid, merged, resampled and decided in one stream.

        The same as calling this inferer, applying the activation, resampling linearly and taking the argmax or the
        threshold, but for voxels where two scores differ by no more than the rounding.

        Args:
            inputs: Image of shape `(1, C, X, Y, Z)`.
            network: Gives scores `(B, classes, x, y, z)` of windows `(B, C, x, y, z)`.
            args: Passed on to the network, as are other keywords.
            grid: The scan's own grid; the image's when not given.
            activation: Applied to the merged scores before they are resampled: "none", "sigmoid" or "softmax".
            threshold: One mask a channel, of the scores that are at least this; a map of the best classes when None.
            exclusive: Whether, with a threshold above 0, a voxel is in no mask but that of its best channel.
            beside_mb: What else this process may come to hold meanwhile, in MiB; it is planned for.
            kwargs: Passed on to the network.

        Returns:
            The labels `(X, Y, Z)`, or with a threshold the masks `(classes, X, Y, Z)`; the plan and the peak.

        Raises:
            ConfigError: No single 3D image, a network that does not give scores of the window's voxels, or too small
                a budget.
            NumericError: The scores are not finite.
        """
        if inputs.ndim != 5 or len(inputs) != 1:
            msg = f"SlidingWindow.predict_labels: image of shape {tuple(inputs.shape)}, wanted (1, C, X, Y, Z)."
            raise ConfigError(msg)
        grid = grid or NativeGrid.same(inputs.shape[2:])
        if self.placement == "foreground":
            box = foreground_box(inputs[0], least=self._roi(inputs))
            inputs, grid = inputs[(slice(None), slice(None), *box)], grid.moved([side.start for side in box])
        forward = functools.partial(self._forward(network, inputs.device), **kwargs)
        stream = StreamingPrediction(
            self._windows(inputs),
            lambda windows: forward(windows, *args),
            batch_size=self.sw_batch_size,
            max_memory_mb=self.max_memory_mb,
            beside_mb=beside_mb,
        )
        return stream.labels(grid, activation=activation, threshold=threshold, exclusive=exclusive)

    def _roi(self, inputs: torch.Tensor) -> tuple[int, ...]:
        sides = self.roi_size if isinstance(self.roi_size, Sequence) else [self.roi_size] * (inputs.ndim - 2)
        return tuple(int(side) if side and side > 0 else n for side, n in zip(sides, inputs.shape[2:], strict=True))

    def _windows(self, inputs: torch.Tensor) -> ScanWindows:
        return ScanWindows.over(
            inputs,
            self._roi(inputs),
            overlap=self.overlap if isinstance(self.overlap, Sequence) else [self.overlap] * 3,
            blend=str(getattr(self.mode, "value", self.mode)),
            sigma_scale=self.sigma_scale,
            padding_mode=str(getattr(self.padding_mode, "value", self.padding_mode)),
            padding_value=self.cval,
            network_device=self.sw_device or inputs.device,
            device=self.device or inputs.device,
        )

    def _is_plain(self, inputs: torch.Tensor, kwargs: dict[str, Any]) -> bool:
        """Whether this is a case for medseg's own merge; MONAI's does all others."""
        special = self.with_coord or self.buffer_steps or self.progress or _MONAI_ONLY & kwargs.keys()
        given = self.roi_weight_map is not None or self.cpu_thresh or self.device or self.sw_device
        plain = type(inputs) is torch.Tensor and inputs.dtype == torch.float32 and not inputs.requires_grad
        one = inputs.ndim == 5 and len(inputs) == 1 and inputs.device.type == "cpu"
        return bool(plain and one and not special and not given)

    def _forward(self, network: Network, device: torch.device) -> Network:
        """The network with mirroring, autocast and memory format as set."""
        device_type = torch.device(self.sw_device or device).type

        def forward(windows: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.channels_last and windows.ndim == 5:
                windows = windows.contiguous(memory_format=torch.channels_last_3d)
            if not self.bf16:
                return network(windows, *args, **kwargs)
            with torch.autocast(device_type, dtype=torch.bfloat16):
                return network(windows, *args, **kwargs)

        return forward if len(self.mirrors) == 1 else _mirrored(forward, self.mirrors)


def _mirrored(network: Network, mirrors: Sequence[tuple[int, ...]]) -> Network:
    """The mean of the network's logits over mirrored windows, in float32."""
    mirrored_dims = [[axis + 2 for axis in axes] for axes in mirrors]

    def mirrored(window: torch.Tensor, *more: Any, **named: Any) -> torch.Tensor:
        logits = (network(window.flip(dims), *more, **named).flip(dims).float() for dims in mirrored_dims)
        return functools.reduce(torch.Tensor.add_, logits) / len(mirrored_dims)

    return mirrored


def mirror_combinations(axes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """All subsets of the axes, the empty one first.

    >>> mirror_combinations((0, 2))
    ((), (0,), (2,), (0, 2))
    """
    return tuple(subset for size in range(len(axes) + 1) for subset in combinations(axes, size))
