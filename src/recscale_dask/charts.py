"""Small charts as SVG text: points, lines and error bars; the same bytes from the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 640, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 34, 46
_COLOURS = ("#1f6f8b", "#c8553d", "#5b8c5a", "#8e6c8a", "#d9a441", "#4a4e69")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one colour.

    Attributes
    ----------
    x, y : sequence of float
        Finite.
    errors : sequence of float, optional
        Half the length of each point's bar.
    label : str
        For the legend; ``""`` is none.
    line, points : bool
        What is drawn.
    """

    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float] | None = None
    label: str = ""
    line: bool = True
    points: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a chart.

    Attributes
    ----------
    label : str
    log : bool
        A logarithmic scale; for numbers above 0.
    names : mapping of float to str, optional
        Ticks that stand for something else than numbers.
    """

    label: str
    log: bool = False
    names: Mapping[float, str] | None = None


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Return an SVG element with these series.

    Points that a logarithmic axis has no place for are left out.
    """
    series = [_drawable(each, x, y) for each in series]
    xs = [value for each in series for value in each.x]
    ys = [
        end
        for each in series
        for value, error in zip(each.y, each.errors or [0.0] * len(each.y), strict=True)
        for end in (value - error, value + error)
        if end > 0 or not y.log
    ]
    if not xs:
        return f"<p>{escape(title)}: nothing to show.</p>"
    across, x_ticks = _scale(x, xs, _LEFT, _WIDTH - _RIGHT)
    up, y_ticks = _scale(y, ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        _text(_WIDTH / 2, 16, title, "middle", "title"),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x.label, "middle"),
        _text(0, 0, y.label, "middle", place=f'transform="translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2}) rotate(-90)"'),
    ]
    for value, name in y_ticks:
        parts += [
            _line(_LEFT, up(value), _WIDTH - _RIGHT, up(value), "grid"),
            _text(_LEFT - 6, up(value) + 4, name, "end"),
        ]
    for value, name in x_ticks:
        parts += [
            _line(across(value), _HEIGHT - _BOTTOM, across(value), _HEIGHT - _BOTTOM + 4, "axis"),
            _text(across(value), _HEIGHT - _BOTTOM + 18, name, "middle"),
        ]
    parts.append(_line(_LEFT, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM, "axis"))
    for number, each in enumerate(series):
        parts += _drawn(each, _COLOURS[number % len(_COLOURS)], across, up, bottom=_HEIGHT - _BOTTOM, log=y.log)
    parts += _legend([each.label for each in series])
    return "\n".join([*parts, "</svg>"])


Place = Callable[[float], float]


def _drawable(series: Series, x: Axis, y: Axis) -> Series:
    keep = [
        i
        for i, (first, second) in enumerate(zip(series.x, series.y, strict=True))
        if (first > 0 or not x.log) and (second > 0 or not y.log)
    ]
    errors = None if series.errors is None else [series.errors[i] for i in keep]
    kept = {"x": [series.x[i] for i in keep], "y": [series.y[i] for i in keep]}
    return Series(**kept, errors=errors, label=series.label, line=series.line, points=series.points)


def _scale(axis: Axis, values: Sequence[float], start: float, end: float) -> tuple[Place, list[tuple[float, str]]]:
    """Return where numbers are drawn, and the ticks."""
    low, high = min(values), max(values)
    if axis.names is not None:
        low, high = min(axis.names) - 0.5, max(axis.names) + 0.5
    elif axis.log:
        low, high = low / 1.1, high * 1.1
    else:
        room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - room, high + room
    turn: Place = math.log if axis.log else float
    first, last = turn(low), turn(high)

    def place(value: float) -> float:
        return round(start + (end - start) * (turn(value) - first) / (last - first), 1)

    if axis.names is not None:
        return place, list(axis.names.items())
    ticks = _decades(low, high) if axis.log else _steps(low, high)
    return place, [(value, f"{value:.4g}") for value in ticks]


def _steps(low: float, high: float) -> list[float]:
    """Return about five round numbers."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten, and what is between where these are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    sizes = (1, 2, 5) if len(powers) <= 3 else (1,)
    every = max(1, len(powers) // 8)
    return [size * 10.0**power for power in powers[::every] for size in sizes if low <= size * 10.0**power <= high]


def _drawn(series: Series, colour: str, across: Place, up: Place, *, bottom: float, log: bool) -> list[str]:
    places = [(across(x), up(y)) for x, y in zip(series.x, series.y, strict=True)]
    parts = []
    if series.line:
        joined = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for (x, _), y, error in zip(places, series.y, series.errors or [], strict=False):
        low = up(y - error) if y - error > 0 or not log else bottom
        parts.append(f'<line x1="{x}" y1="{low}" x2="{x}" y2="{up(y + error)}" stroke="{colour}"/>')
    if series.points:
        parts += [f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places]
    return parts


def _legend(labels: Sequence[str]) -> list[str]:
    parts, right = [], _WIDTH - _RIGHT
    shown = [(number, label) for number, label in enumerate(labels) if label]
    for row, (number, label) in enumerate(shown):
        y = _TOP + 12 + 15 * row
        parts += [
            f'<circle cx="{right - 6}" cy="{y - 4}" r="4" fill="{_COLOURS[number % len(_COLOURS)]}"/>',
            _text(right - 14, y, label, "end"),
        ]
    return parts


def _text(x: float, y: float, text: str, anchor: str, kind: str = "label", *, place: str = "") -> str:
    where = place or f'x="{x}" y="{y}"'
    return f'<text {where} text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/>'
