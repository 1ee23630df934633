"""A detector as MONAI Label calls it."""

from __future__ import annotations

from typing import Any

import torch

from medseg.inference.detector import BoxDetector


class LabelDetector:
    """A network and a `BoxDetector` under the interface of MONAI's `RetinaNetDetector`, as far as MONAI Label uses it.

    MONAI Label puts weights into `network`, calls the detector on one scan, and lays the first result over the item:
    so that also the keys "box", "label" and "label_scores" of the zoo's bundle are there, beside "pred".

    Args:
        network: the network; replaced by whoever sets the attribute.
        inferer: finds the boxes.
    """

    def __init__(self, network: torch.nn.Module, inferer: BoxDetector) -> None:
        self.network, self.inferer = network, inferer

    def eval(self) -> LabelDetector:
        """Let the network predict rather than train."""
        self.network.eval()
        return self

    def __call__(self, inputs: torch.Tensor, targets: Any = None, use_inferer: bool = True) -> list[dict[str, Any]]:
        """Detections in each scan of `(B, C, X, Y, Z)`; boxes in voxel edge coordinates, best first."""
        found = self.inferer(inputs, self.network)
        return [{"box": one["box"], "label": one["label"], "label_scores": one["score"], "pred": one} for one in found]
