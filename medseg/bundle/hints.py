"""What to do about errors of torch, MONAI and the system that tell it badly."""

from __future__ import annotations

import re

_ROI = "Make roi_size divisible by the network's strides, and no smaller than their product."
_CHANNELS = (
    "The channels of image, network and label do not fit: compare modalities, regions, label_convention, network_def."
)
# Read from the top, the first that matches counts. Left: "Type: message" of the root cause.
_HINTS: tuple[tuple[str, str], ...] = (
    (r"Sizes of tensors must match|size of tensor a .* must match", _ROI),
    (r"Expected more than 1 (value|spatial element)|[Kk]ernel size can't be greater|output size is too small", _ROI),
    # One batch and channel count, but other sizes in space.
    (r"different shape \(torch.Size\(\[(\d+, \d+), .* input \(torch.Size\(\[\1,", _ROI),
    (r"to have \d+ channels, but got|ground truth has different shape|differing shape", _CHANNELS),
    (r"Target size .* must be the same as input size", _CHANNELS),
    (
        r"no CUDA|CUDA-capable|CUDA driver|NVIDIA driver|not compiled with CUDA",
        "No GPU is usable here: set device=cpu.",
    ),
    (r"out of memory|can't allocate memory|MemoryError", "Lower batch_size, roi_size or cache_cases."),
    (
        r"DataLoader worker .* (killed|exited)|exited unexpectedly",
        "A loader process died, often for want of memory: set num_workers=0, or lower cache_cases.",
    ),
    (
        r"expected scalar type|should be the same|must have the same dtype|mixed dtype",
        "Types differ between two steps: set amp=false, or cast with EnsureTyped before this one.",
    ),
    (r"No module named '(\w+)", "Install what is missing, or take it out of the config."),
    (r"FileNotFoundError|No such file", "Check the path in the config or the datalist."),
    (r"PermissionError|Permission denied|Read-only file system", "Choose a folder that you may write to."),
    (r"IsADirectoryError|NotADirectoryError|FileExistsError", "Something else stands at that path: move it."),
    (r"^KeyError", "An item, a mapping or the config lacks this key: check what the step before this one leaves."),
    (r"^NameError|^AttributeError|has no attribute", "Check the spelling, and that `imports` has the module."),
    (r"^(TypeError|ValueError|IndexError|ZeroDivisionError|AssertionError)", "Check the values that reach this key."),
)
_UNKNOWN = "Run it again with --traceback; if the config is not to blame, report it with that output."


def hint_for(cause: str) -> str:
    """The advice for `Type: message`.

    >>> hint_for("RuntimeError: Found no NVIDIA driver on your system.")
    'No GPU is usable here: set device=cpu.'
    """
    return next((advice for pattern, advice in _HINTS if re.search(pattern, cause)), _UNKNOWN)
