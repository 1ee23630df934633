"""Label confusion and bounding boxes of two label maps, in one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medseg.kernels.jit import jit

LABELS = 256  # label maps are uint8


@jit
def _count_voxel(
    index: int,
    reference: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    plane: int,
    row: int,
    counts: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.int64],
) -> None:
    a, b = reference[index], prediction[index]
    if a == 0 and b == 0:
        return
    counts[a, b] += 1
    x = index // plane
    y = (index - x * plane) // row
    z = index - x * plane - y * row
    for label in (a, b):
        box = boxes[label]
        box[0], box[3] = min(box[0], x), max(box[3], x + 1)
        box[1], box[4] = min(box[1], y), max(box[4], y + 1)
        box[2], box[5] = min(box[2], z), max(box[5], z + 1)


@jit
def _count_labels(
    reference: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    reference_words: npt.NDArray[np.uint64],
    prediction_words: npt.NDArray[np.uint64],
    plane: int,
    row: int,
    counts: npt.NDArray[np.int64],
    boxes: npt.NDArray[np.int64],
) -> None:
    # Most of a scan is background in both maps: eight voxels are skipped at a time.
    for word in range(reference_words.size):
        if reference_words[word] | prediction_words[word]:
            for index in range(8 * word, 8 * word + 8):
                _count_voxel(index, reference, prediction, plane, row, counts, boxes)
    for index in range(8 * reference_words.size, reference.size):
        _count_voxel(index, reference, prediction, plane, row, counts, boxes)


def label_confusion(
    reference: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How often each pair of labels meets, and where each label lies.

    Args:
        reference: Label map `(X, Y, Z)`, C-contiguous uint8.
        prediction: Label map of the same shape and layout.

    Returns:
        `counts[r, p]`, the voxels with reference label r and predicted label p, shape `(256, 256)`; and
        `boxes[v]`, the half-open box `(x0, y0, z0, x1, y1, z1)` of label v > 0 over both maps, shape `(256, 6)`.
        A label that does not occur has `x0 > x1`.

    Example:
        >>> a = np.array([[[0, 1, 1]]], dtype=np.uint8)
        >>> counts, boxes = label_confusion(a, np.array([[[0, 0, 1]]], dtype=np.uint8))
        >>> counts[:2, :2].tolist(), boxes[1].tolist()
        ([[1, 0], [1, 1]], [0, 0, 1, 1, 1, 3])
    """
    _, ny, nz = reference.shape
    flat_reference, flat_prediction = reference.reshape(-1), prediction.reshape(-1)
    whole = flat_reference.size - flat_reference.size % 8
    counts = np.zeros((LABELS, LABELS), dtype=np.int64)
    boxes = np.zeros((LABELS, 6), dtype=np.int64)
    boxes[:, :3] = max(reference.shape) + 1
    _count_labels(
        flat_reference,
        flat_prediction,
        flat_reference[:whole].view(np.uint64),
        flat_prediction[:whole].view(np.uint64),
        ny * nz,
        nz,
        counts,
        boxes,
    )
    counts[0, 0] = flat_reference.size - counts.sum()
    return counts, boxes


@jit
def _mark_labels(labels: npt.NDArray[np.uint8], words: npt.NDArray[np.uint64], seen: npt.NDArray[np.bool_]) -> None:
    for word in range(words.size):
        if words[word]:
            for index in range(8 * word, 8 * word + 8):
                seen[labels[index]] = True
    for index in range(8 * words.size, labels.size):
        seen[labels[index]] = True


def labels_present(labels: npt.NDArray[np.uint8]) -> set[int]:
    """The non-zero values of a label map of any shape.

    Example:
        >>> labels_present(np.array([[[0, 4, 4, 2]]], dtype=np.uint8))
        {2, 4}
    """
    flat = labels.ravel(order="K")
    seen = np.zeros(LABELS, dtype=np.bool_)
    _mark_labels(flat, flat[: flat.size - flat.size % 8].view(np.uint64), seen)
    return set(np.flatnonzero(seen).tolist()) - {0}
