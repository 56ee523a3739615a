"""The plot of a run, as SVG: how long a publish takes, on a logarithmic scale."""

import math
import re
from collections.abc import Sequence

from tests.bench.rows import Row, number

_WIDTH, _LEFT, _BAR, _GAP = 760, 190, 14, 22
_LEAST_US, _MOST_US = 50.0, 100_000.0
_COLOURS = {"socket": "#9aa5b1", "anchorcam": "#2f7d5b", "umqtt.simple": "#c2553f"}


def svg(rows: Sequence[Row]) -> str:
    """Bars for mosquitto: the socket itself, this session, umqtt.simple."""
    bars: list[str] = []
    y = 46
    for size, times in _times(rows):
        bars.append(f'<text x="{_LEFT - 110}" y="{y + _BAR}" text-anchor="end">{size}</text>')
        for name, us in times.items():
            width = _x(us) - _LEFT
            bars += [
                f'<text x="{_LEFT - 8}" y="{y + 11}" text-anchor="end">{name}</text>',
                f'<rect x="{_LEFT}" y="{y}" width="{width:.0f}" height="{_BAR}"'
                f' fill="{_COLOURS[name]}"/>',
                f'<text x="{_LEFT + width + 6:.0f}" y="{y + 11}">{_time(us)}</text>',
            ]
            y += _BAR + 4
        y += _GAP - 4
    ticks = [
        f'<line x1="{_x(us):.0f}" x2="{_x(us):.0f}" y1="40" y2="{y - _GAP + 6}"/>'
        for us in (100, 1_000, 10_000, 100_000)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}"'
        f' viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12" fill="#24292f">\n'
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>\n'
        '<text x="14" y="24" font-size="14">One QoS 1 publish over TLS on loopback, MicroPython,'
        " mosquitto; the scale is logarithmic</text>\n"
        f'<g stroke="#d0d7de">{"".join(ticks)}</g>\n' + "\n".join(bars) + "\n</svg>\n"
    )


def _times(rows: Sequence[Row]) -> list[tuple[str, dict[str, float]]]:
    """For each size the microseconds of each."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        size, _, of = row.what.partition(", mosquitto: ")
        if row.bench != "publish" or not of:
            continue
        values = [float(n.replace(",", "")) for n in re.findall(r"[\d,.]+(?= us)", row.how)]
        times = found.setdefault(size, {})
        if of == "time over the socket's own":
            times["socket"], times["anchorcam"] = values[1], values[0]
        elif of.startswith("umqtt.simple"):
            times["umqtt.simple"] = values[0]
    return list(found.items())


def _x(us: float) -> float:
    scale = math.log(_MOST_US / _LEAST_US)
    return _LEFT + (_WIDTH - _LEFT - 80) * math.log(max(us, _LEAST_US) / _LEAST_US) / scale


def _time(us: float) -> str:
    return f"{number(us / 1000)} ms"
