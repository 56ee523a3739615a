"""The live table: a watcher's view drawn for a terminal. Draws, and nothing else."""

import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_tools.watch.intake import CameraView
from host_tools.watch.subscriber import View
from host_tools.watch.verdicts import Verdict

# From this many columns on the anchor and the rarer verdicts have columns of their own.
WIDE = 110
_WIDE_ONLY = (Verdict.REORDERED, Verdict.DROPPED, Verdict.UNVERIFIABLE)

_HEADS = {
    Verdict.DELIVERED: ("deliv", "green"),
    Verdict.MISSING: ("miss", "bold red"),
    Verdict.DUPLICATE: ("dup", "yellow"),
    Verdict.REORDERED: ("reord", "yellow"),
    Verdict.CORRUPT: ("corr", "bold red"),
    Verdict.DROPPED: ("drop", "yellow"),
    Verdict.UNVERIFIABLE: ("unver", "bold red"),
}


def render(view: View, width: int, footer: Sequence[str] = ()) -> RenderableType:
    """The view for a terminal of this many columns; footer: more lines for the end."""
    parts: list[RenderableType] = [_table(view, width)]
    parts += [_files(camera, width) for camera in view.cameras if camera.path]
    parts += [_event(event.at, event.text) for event in view.events]
    parts += [_footer(view), *(Text(line, style="dim") for line in footer)]
    return Group(*parts)


def _table(view: View, width: int) -> Table:
    wide = width >= WIDE
    shown = [
        verdict
        for verdict in _HEADS
        if wide
        or verdict not in _WIDE_ONLY
        or any(camera.counts[verdict] for camera in view.cameras)
    ]
    table = Table(box=None, expand=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("camera", no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    table.add_column("clock", no_wrap=True)
    if wide:
        table.add_column("anchor", no_wrap=True, overflow="ellipsis", max_width=20)
    table.add_column("last snapshot", no_wrap=True)
    for verdict in shown:
        table.add_column(_HEADS[verdict][0], justify="right", no_wrap=True)
    table.add_column("ms*", justify="right", no_wrap=True)
    for camera in view.cameras:
        table.add_row(
            Text(camera.name, style="bold"),
            _state(camera),
            _clock(camera),
            *([Text(camera.health.anchor or "-")] if wide else []),
            _last(camera),
            *(_number(camera, verdict) for verdict in shown),
            _latency(camera),
        )
    if not view.cameras:
        table.add_row(Text("none yet", style="dim"))
    return table


def _state(camera: CameraView) -> Text:
    if camera.online is None:
        return Text("-", style="dim")
    return Text("online", style="green") if camera.online else Text("offline", style="bold red")


def _clock(camera: CameraView) -> Text:
    health = camera.health
    if not health.clock:
        return Text("-", style="dim")
    age = "" if health.clock_age_s is None else f" {_span(health.clock_age_s)}"
    return Text(f"{health.clock[:8]}{age}", style="yellow" if health.clock == "unset" else "")


def _last(camera: CameraView) -> Text:
    if camera.last is None or camera.last.identity is None:
        return Text("-", style="dim")
    age = max(0.0, time.time() - camera.last_at)
    return Text(f"#{camera.last.identity[1]} {_size(camera.last.size)} {_span(age)}")


def _number(camera: CameraView, verdict: Verdict) -> Text:
    count = camera.counts[verdict]
    return Text(str(count), style=_HEADS[verdict][1] if count else "dim")


def _latency(camera: CameraView) -> Text:
    if camera.latency_ms is None:
        return Text("-", style="dim")
    # A clock that is decades off says nothing about the network.
    far = abs(camera.latency_ms) >= 1e6
    return Text("clock?" if far else f"{camera.latency_ms:.0f}", style="yellow" if far else "")


def _files(camera: CameraView, width: int) -> Text:
    anchor = f", anchor {camera.health.anchor}" if camera.health.anchor and width < WIDE else ""
    text = Text(f"{camera.name}: ", style="dim")
    text.append(str(camera.path), style="cyan")
    text.append(anchor)
    return text


def _event(at: float, line: str) -> Text:
    moment = datetime.fromtimestamp(at).strftime("%H:%M:%S")
    return Text.assemble((f"{moment} ", "dim"), line)


def _footer(view: View) -> Text:
    if view.trouble:
        return Text(view.trouble, style="bold red")
    if view.connected:
        line = f"connected to {view.address}, verified TLS"
    else:
        line = f"connecting to {view.address}"
    return Text(f"{line}; * median, with the camera's clock error; Ctrl-C stops", style="dim")


def _size(count: int) -> str:
    return f"{count} B" if count < 1000 else f"{count / 1000:.0f} kB"


def _span(seconds: float) -> str:
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
