"""The FROC as one SVG file: self-contained, light or dark as the viewer is, no script."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from medseg.metrics.froc import FP_POINTS, FrocBootstrap, FrocCurve

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 48, 56
_STYLE = (
    ":root{color-scheme:light dark}"
    ".paper{fill:#fbfbfa}.ink{fill:#1c2127}.soft{fill:#5b6570}.grid{stroke:#e3e5e8}"
    ".line{fill:none;stroke:#0f6f8c;stroke-width:2.25;stroke-linejoin:round}.band{fill:#0f6f8c;fill-opacity:.16}"
    ".dot{fill:#0f6f8c}text{font:13px ui-sans-serif,system-ui,sans-serif}.title{font-size:15px;font-weight:600}"
    "@media (prefers-color-scheme:dark){.paper{fill:#14171a}.ink{fill:#e4e7ea}.soft{fill:#9aa4ae}"
    ".grid{stroke:#2d3338}.line{stroke:#58c4e0}.band{fill:#58c4e0;fill-opacity:.22}.dot{fill:#58c4e0}}"
)


def froc_svg(curve: FrocCurve, bootstrap: FrocBootstrap) -> str:
    """Sensitivity against false positives per scan on LUNA16's logarithmic axis, with its seven points and the band.

    Args:
        curve: The curve.
        bootstrap: Its band.
    """
    low, high = bootstrap.cpm_ci95
    title = f"FROC: CPM {curve.cpm:.3f} (95 % interval {low:.3f} to {high:.3f})"
    at = ", ".join(f"{s:.3f} at {x:g}" for x, s in zip(FP_POINTS, curve.at(FP_POINTS), strict=True))
    band = zip(bootstrap.band_fp_per_scan, bootstrap.band_ci95, strict=True)
    lower, upper = zip(*(((x, pair[0]), (x, pair[1])) for x, pair in band), strict=True)
    dots = "".join(
        f'<circle class="dot" cx="{_across(x):.1f}" cy="{_up(s):.1f}" r="3.5"><title>{x:g}: {s:.4f}</title></circle>'
        for x, s in zip(FP_POINTS, curve.at(FP_POINTS), strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}. Sensitivity {at} false positives per scan.">'
        f'<style>{_STYLE}</style><rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<text class="ink title" x="{LEFT}" y="28">{title}</text>{_axes()}'
        f'<path class="band" d="{_path([*lower, *reversed(upper)])}Z"/>'
        f'<path class="line" d="{_path(_visible(curve))}"/>{dots}</svg>\n'
    )


def _visible(curve: FrocCurve) -> list[tuple[float, float]]:
    """The curve inside the axes, thinned to what can be seen."""
    first, last = FP_POINTS[0], FP_POINTS[-1]
    inside = (curve.fp_per_scan > first) & (curve.fp_per_scan < last)
    xs = np.union1d(curve.fp_per_scan[inside], [first, last])
    steps = np.unique(np.round(np.log2(xs) * 120).astype(int), return_index=True)[1]
    xs = np.union1d(xs[steps], [first, last])
    return list(zip(xs.tolist(), curve.at(xs).tolist(), strict=True))


def _across(fp_per_scan: float) -> float:
    low, high = math.log2(FP_POINTS[0]), math.log2(FP_POINTS[-1])
    return LEFT + (math.log2(fp_per_scan) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def _up(sensitivity: float) -> float:
    return HEIGHT - BOTTOM - sensitivity * (HEIGHT - TOP - BOTTOM)


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_across(x):.1f} {_up(y):.1f}" for x, y in points)


def _axes() -> str:
    columns = "".join(
        f'<line class="grid" x1="{_across(x):.1f}" x2="{_across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="soft" x="{_across(x):.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x:g}</text>'
        for x in FP_POINTS
    )
    rows = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_up(y):.1f}" y2="{_up(y):.1f}"/>'
        f'<text class="soft" x="{LEFT - 8}" y="{_up(y) + 4:.1f}" text-anchor="end">{y:.1f}</text>'
        for y in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    )
    middle, left = (LEFT + WIDTH - RIGHT) / 2, 18
    centre = (TOP + HEIGHT - BOTTOM) / 2
    label = "False positives per scan (shaded: 95 % interval, by resampling scans)"
    return (
        f'{columns}{rows}<text class="soft" x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{label}</text>'
        f'<text class="soft" x="{left}" y="{centre}" text-anchor="middle" '
        f'transform="rotate(-90 {left} {centre})">Sensitivity</text>'
    )
