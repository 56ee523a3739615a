"""A report as one HTML file: its plots are inline SVG, and it asks nobody for anything."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from host_tools.watch.report import PERCENTILES, Period, Report, percent

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a9d4a; --bad: #d1382f; --some: #c98a00 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
div { overflow-x: auto }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap }
th:first-child, td:first-child, .text { text-align: left }
.bad { color: var(--bad); font-weight: 600 } .good { color: var(--good) }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; fill: currentColor }
"""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 180, 55, 20


def page(report: Report) -> str:
    """The whole document. Every text in it that came from outside is escaped."""
    title = f"Delivery, {_time(report.begin_ms)} to {_time(report.end_ms)}"
    cameras = dict.fromkeys(period.camera for period in report.periods)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width">',
        "<meta http-equiv=Content-Security-Policy "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>",
        _periods(report.periods),
        *(_camera(report, camera) for camera in cameras),
        _gaps(report),
    ]
    return "\n".join(parts) + "</html>\n"


def _periods(periods: Sequence[Period]) -> str:
    names = [f"{'max' if each == 100 else f'p{each}'} ms" for each in PERCENTILES]
    head = ["camera", "from", "arrived", "complete", "reordered", "missing", "dropped", "corrupt"]
    rows = [
        [
            escape(each.camera),
            _time(each.begin_ms),
            str(each.arrived),
            _coloured(percent(each.completeness), bad=each.missing or each.dropped),
            str(each.reordered),
            _coloured(str(each.missing), bad=each.missing),
            _coloured(str(each.dropped), bad=each.dropped),
            _coloured(str(each.corrupt), bad=each.corrupt),
            _coloured(str(each.unverifiable), bad=each.unverifiable),
            *(str(each.latency.get(percentile, "-")) for percentile in PERCENTILES),
        ]
        for each in periods
    ]
    return _table([*head, "unverifiable", *names], rows)


def _gaps(report: Report) -> str:
    if not report.gaps:
        return "<h2>Nothing was lost</h2>"
    rows = [
        [
            escape(gap.camera),
            _time(gap.noted_ms),
            str(gap.boot),
            f"{gap.first} to {gap.last}" if gap.size > 1 else str(gap.first),
            str(gap.size),
            escape(gap.verdict),
            escape(gap.reason or "-"),
            escape(gap.place),
        ]
        for gap in report.gaps
    ]
    head = ["camera", "noted", "boot", "seq", "count", "verdict", "reason", "lost"]
    more = f"<p>{report.gaps_left_out} earlier ones are left out." if report.gaps_left_out else ""
    return f"<h2>What was lost</h2>{_table(head, rows)}{more}"


def _camera(report: Report, camera: str) -> str:
    parts = [f"<h2>{escape(camera)}</h2>"]
    if points := report.latencies.get(camera):
        parts.append(_latency(points, report.begin_ms, report.end_ms))
    periods = [period for period in report.periods if period.camera == camera]
    if len(periods) > 1:
        parts.append(_completeness(periods, report.begin_ms, report.end_ms))
    return "".join(parts)


def _latency(points: Sequence[tuple[int, int]], begin: int, end: int) -> str:
    top = max(1, *(latency for _, latency in points))
    dots = (
        f'<circle cx="{_x(at, begin, end):.1f}" cy="{_y(max(latency, 0) / top):.1f}" r="1.5"/>'
        for at, latency in points
    )
    return _plot("latency, ms", f"{top}", "0", dots, begin, end)


def _completeness(periods: Sequence[Period], begin: int, end: int) -> str:
    bars = []
    for period in periods:
        if period.completeness is None:
            continue
        left, right = _x(period.begin_ms, begin, end), _x(period.end_ms, begin, end)
        y = _y(period.completeness)
        colour = "--good" if period.completeness == 1 else "--bad"
        bars.append(
            f'<rect x="{left:.1f}" y="{y:.1f}" width="{max(right - left - 1, 1):.1f}" '
            f'height="{max(_HEIGHT - _BOTTOM - y, 1):.1f}" style="fill:var({colour})">'
            f"<title>{_time(period.begin_ms)}: {percent(period.completeness)}</title></rect>"
        )
    return _plot("complete", "100 %", "0 %", bars, begin, end)


def _plot(name: str, top: str, bottom: str, marks: Iterable[str], begin: int, end: int) -> str:
    base = _HEIGHT - _BOTTOM
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(name)}">'
        f'<text x="0" y="12">{escape(top)}</text><text x="0" y="{base}">{escape(bottom)}</text>'
        f'<text x="0" y="{base // 2}">{escape(name)}</text>'
        f'<path d="M{_LEFT} 4V{base}H{_WIDTH}" style="fill:none;stroke:var(--line)"/>'
        f"{''.join(marks)}"
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}">{_time(begin)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 5}" text-anchor="end">{_time(end)}</text></svg>'
    )


def _x(at: int, begin: int, end: int) -> float:
    return _LEFT + (at - begin) / max(end - begin, 1) * (_WIDTH - _LEFT)


def _y(part: float) -> float:
    return 4 + (1 - part) * (_HEIGHT - _BOTTOM - 4)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The cells are HTML."""
    heading = "".join(f"<th>{cell}" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<div><table><tr>{heading}{body}</table></div>"


def _coloured(text: str, *, bad: int) -> str:
    return f'<span class="{"bad" if bad else "good"}">{escape(text)}</span>'


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M")
