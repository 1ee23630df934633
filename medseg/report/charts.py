"""Charts as inline SVG: they take the page's colours, so they follow its dark mode, and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 36
COLOURS = 6

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """Values from low to high, drawn from start to end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, *, count: int = 5) -> list[float]:
    """Round numbers that cover an interval, about `count` of them.

    >>> nice_ticks(0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high - low <= 1e-12 + 1e-9 * max(abs(low), abs(high)):
        low, high = (low - 0.5, high + 0.5) if abs(low) < 1e-9 else (low - abs(low) / 2, high + abs(high) / 2)
    raw = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.75)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = 3 - math.floor(math.log10(step))
    return [round(index * step, digits) for index in range(first, last + 1)]


def line_chart(title: str, series: Mapping[str, Points], *, x_label: str) -> str:
    """Lines over a shared x axis, with a legend under them.

    Args:
        title: The heading of the chart.
        series: Points by name, each in the order of x; what is not finite is left out.
        x_label: What x is.
    """
    clean = {name: [point for point in points if all(map(math.isfinite, point))] for name, points in series.items()}
    clean = {name: points for name, points in clean.items() if points}
    if not clean:
        return ""
    xs = [x for points in clean.values() for x, _ in points]
    ys = [y for points in clean.values() for _, y in points]
    across = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, LEFT, WIDTH - RIGHT)
    ticks = nice_ticks(min(0.0, *ys) if max(ys) > 0 else min(ys), max(ys))
    up = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    lines = "".join(_line(index, points, across, up) for index, points in enumerate(clean.values()))
    last = ", ".join(f"{name} {points[-1][1]:.4g}" for name, points in clean.items())
    return figure(title, _axes(across, up, ticks, x_label) + lines, legend(list(clean)), f"Last values: {last}.")


def legend(names: Sequence[str]) -> str:
    """Names with the colours that charts and overlays give them in this order."""
    items = "".join(f'<li class="c{index % COLOURS}">{escape(name)}</li>' for index, name in enumerate(names))
    return f'<ul class="legend">{items}</ul>'


def _line(index: int, points: Points, across: Scale, up: Scale) -> str:
    path = "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in points)
    dots = points if len(points) <= 60 else points[-1:]
    marks = "".join(
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.6"><title>{x:g}: {y:.4g}</title></circle>' for x, y in dots
    )
    return f'<g class="c{index % COLOURS}"><path class="line" d="{path}"/>{marks}</g>'


def _axes(across: Scale, up: Scale, ticks: Sequence[float], x_label: str) -> str:
    rows = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in ticks
    )
    columns = "".join(
        f'<text class="tick" x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{tick:g}</text>'
        for tick in nice_ticks(across.low, across.high, count=6)
        if across.low <= tick <= across.high and tick == int(tick)  # epochs and iterations are counted
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return (
        f'{rows}{columns}<text class="tick" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>'
    )


def figure(
    title: str,
    drawing: str,
    below: str,
    description: str,
    height: float = HEIGHT,
    *,
    width: float = WIDTH,
    kind: str = "chart",
) -> str:
    """A drawing with its heading, what stands under it, and a description for who does not see it."""
    return (
        f'<figure class="{kind}"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(f"{title}. {description}")}">'
        f"{drawing}</svg>{below}</figure>"
    )
