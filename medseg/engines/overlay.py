"""A slice with the contours of a reference and a prediction."""

import numpy as np
import numpy.typing as npt

# ColorBrewer Set1/Set2-like: distinct on grey; the prediction's is the lighter of each pair
_REFERENCE = ((228, 26, 28), (55, 126, 184), (77, 175, 74), (152, 78, 163))
_PREDICTION = ((255, 170, 160), (160, 215, 255), (170, 255, 170), (230, 180, 255))


def busiest_slice(masks: npt.NDArray[np.bool_]) -> int:
    """The index along the last axis with the most foreground in any channel; the middle when there is none.

    Args:
        masks: (C, X, Y, Z).
    """
    counts = masks.any(axis=0).sum(axis=(0, 1))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def contour(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels of a 2D mask that have a 4-neighbour outside it.

    >>> contour(np.ones((3, 3), bool)).sum()
    np.int64(8)
    """
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def overlay(
    image: npt.NDArray[np.floating], reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """The slice with the most reference (else prediction) in grey; reference contours dark, prediction light.

    Args:
        image: (X, Y, Z), any range.
        reference: (C, X, Y, Z).
        prediction: (C, X, Y, Z).

    Returns:
        (3, rows, columns), rows being y.
    """
    z = busiest_slice(reference if reference.any() else prediction)
    plane = np.nan_to_num(image[..., z].astype(np.float64))
    low, high = np.percentile(plane, (1, 99))
    grey = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255
    picture = np.repeat(grey[None].astype(np.uint8), 3, axis=0)
    for masks, colours in ((reference, _REFERENCE), (prediction, _PREDICTION)):
        for channel, mask in enumerate(masks[..., z]):
            picture[:, contour(mask)] = np.array(colours[channel % len(colours)], np.uint8)[:, None]
    return np.ascontiguousarray(picture.transpose(0, 2, 1)[:, ::-1])
