"""Number formats and memory formats of a forward pass, on any device."""

from typing import Any

import torch
from monai.data import MetaTensor

from medseg.errors import ConfigError

_DTYPES = {"bfloat16": torch.bfloat16, "bf16": torch.bfloat16, "float16": torch.float16, "fp16": torch.float16}


def amp_dtype_of(name: str | torch.dtype) -> torch.dtype:
    """The dtype for autocast, from its name.

    >>> amp_dtype_of("bf16")
    torch.bfloat16
    """
    dtype = name if isinstance(name, torch.dtype) else _DTYPES.get(name)
    if dtype not in (torch.bfloat16, torch.float16):
        msg = f"amp_dtype {name!r} is unknown. Choose one of: {', '.join(_DTYPES)}."
        raise ConfigError(msg)
    return dtype


def autocast(device: torch.device, *, enabled: bool, dtype: torch.dtype, kwargs: dict[str, Any]) -> torch.autocast:
    """Autocast on that device; `kwargs` (MONAI's amp_kwargs) win over the rest."""
    return torch.autocast(**{"device_type": device.type, "dtype": dtype, "enabled": enabled, **kwargs})


def plain(value: Any, *, channels_last: bool = False) -> Any:
    """A tensor without MONAI's metadata (a network pays for it at each layer), 5-D ones in channels-last if asked."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.as_tensor() if isinstance(value, MetaTensor) else value
    if channels_last and value.ndim == 5:
        value = value.contiguous(memory_format=torch.channels_last_3d)
    return value
