"""Whether marks lie in another frame than the nodules: told by the hits they would have there."""

from __future__ import annotations

import numpy as np

from medseg.metrics.nodule_hits import Balls, Points, hit_nodules

_FEW = 0.1  # of the nodules found, at most, before anything is suspected
_MANY = 0.3  # of the nodules found otherwise, at least: chance does not find that many
# By what is done to the marks: rows are the new axes.
_TURNS = {
    "x and y negated (RAS taken for LPS, or the reverse)": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "x negated": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "y negated": ((1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "x and z exchanged (coordinates in the order z, y, x)": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
}


def frame_warning(points: Points, nodules: Balls, *, n_found: int, n_scans: int) -> str | None:
    """One line when almost no nodule is found but many would be with the marks turned; else None.

    Args:
        points: The marks, RAS mm.
        nodules: The nodules, RAS mm.
        n_found: Nodules found as the marks stand.
        n_scans: Number of scans.
    """
    n_nodules = len(nodules.scan)
    if n_found > _FEW * n_nodules or not len(points.scan):
        return None
    found = {name: _found(points, nodules, turn, n_scans) for name, turn in _TURNS.items()}
    if n_found:
        found = {name: count for name, count in found.items() if count >= n_found / _FEW}
    best = max(found, key=lambda name: found[name], default=None)
    if best is None or found[best] < _MANY * n_nodules:
        return None
    return (
        f"the marks find {n_found} of {n_nodules} nodules as they stand, but {found[best]} with {best}: marks and "
        f"annotations are in different frames. Wanted LPS mm in CSV files, RAS mm in detections.json and datalists."
    )


def _found(points: Points, nodules: Balls, turn: tuple[tuple[int, ...], ...], n_scans: int) -> int:
    # RAS throughout, but in every frame these turns mean the same: x and y change their signs together.
    turned = Points(scan=points.scan, centre_mm=points.centre_mm @ np.array(turn, dtype=float).T, score=points.score)
    if turn[0][2]:
        # Exchanged in the file, which is LPS: x there is -x here.
        turned = Points(scan=points.scan, centre_mm=turned.centre_mm * (-1.0, 1.0, -1.0), score=points.score)
    nothing = Balls(scan=np.zeros(0, dtype=np.int64), centre_mm=np.zeros((0, 3)), diameter_mm=np.zeros(0))
    return int(np.count_nonzero(hit_nodules(turned, nodules, nothing, n_scans=n_scans).best_mark >= 0))
