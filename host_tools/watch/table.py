"""The live table: a watcher's view drawn for a terminal. Draws, and nothing else."""

import time
from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_tools.watch.seen import CameraView
from host_tools.watch.subscriber import View
from host_tools.watch.verdicts import Verdict

# From this many columns on the anchor and the rarer verdicts have columns of their own;
# below, they follow the path of the camera's latest snapshot.
WIDE = 118
_RARE = (Verdict.REORDERED, Verdict.DROPPED, Verdict.UNVERIFIABLE)

# Heading on a narrow and on a wide terminal, and the style of a number that is not 0.
_COUNTS = {
    Verdict.DELIVERED: ("deliv", "delivered", "green"),
    Verdict.MISSING: ("miss", "missing", "bold red"),
    Verdict.DUPLICATE: ("dup", "dup", "yellow"),
    Verdict.REORDERED: ("reord", "reord", "yellow"),
    Verdict.CORRUPT: ("corr", "corrupt", "bold red"),
    Verdict.DROPPED: ("drop", "drop", "yellow"),
    Verdict.UNVERIFIABLE: ("unver", "unver", "bold red"),
}

FOOTER = ("Ctrl-C stops",)


def render(view: View, width: int, footer: Sequence[str] = FOOTER) -> RenderableType:
    """The view for a terminal of this many columns; footer: lines for its end."""
    wide = width >= WIDE
    return Group(
        _table(view, wide=wide),
        "",
        *(line for camera in view.cameras if (line := _below(camera, wide=wide))),
        *(_event(event.at, event.text) for event in view.events),
        "",
        _connection(view),
        Text(
            "* ms: median of the last snapshots, with the error of the camera's clock in it", "dim"
        ),
        *(Text(line, "dim") for line in footer),
    )


def _table(view: View, *, wide: bool) -> Table:
    shown = [verdict for verdict in _COUNTS if wide or verdict not in _RARE]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("camera", no_wrap=True, overflow="ellipsis", max_width=14 if wide else 12)
    table.add_column("state", no_wrap=True)
    table.add_column("clock", no_wrap=True)
    if wide:
        table.add_column("anchor", no_wrap=True, overflow="ellipsis", max_width=16)
    table.add_column("last snapshot", no_wrap=True)
    for verdict in shown:
        table.add_column(_COUNTS[verdict][wide], justify="right", no_wrap=True)
    table.add_column("ms*", justify="right", no_wrap=True)
    for camera in view.cameras:
        anchor = camera.health.anchor or "-"
        table.add_row(
            Text(camera.name, style="bold"),
            _state(camera),
            _clock(camera),
            *([Text(anchor.removesuffix(".der"))] if wide else []),
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
    return Text(str(count), style=_COUNTS[verdict][2] if count else "dim")


def _latency(camera: CameraView) -> Text:
    if camera.latency_ms is None:
        return Text("-", style="dim")
    # A clock that is decades off says nothing about the network.
    far = abs(camera.latency_ms) >= 1e6
    return Text("clock?" if far else f"{camera.latency_ms:.0f}", style="yellow" if far else "")


def _below(camera: CameraView, *, wide: bool) -> Text | None:
    parts: list[str | tuple[str, str]] = []
    if camera.path:
        parts.append((str(camera.path), "cyan"))
    if camera.health.spooled:
        parts.append((f"{camera.health.spooled} still in its spool", "yellow"))
    if not wide:
        if camera.health.anchor:
            parts.append(f"anchor {camera.health.anchor}")
        parts += [f"{camera.counts[each]} {each}" for each in _RARE if camera.counts[each]]
    listed = Text(", ").join(Text.assemble(part) for part in parts)
    return Text.assemble((f"{camera.name}: ", "dim"), listed) if parts else None


def _event(at: float, line: str) -> Text:
    moment = datetime.fromtimestamp(at).strftime("%H:%M:%S")
    return Text.assemble((f"{moment} ", "dim"), line)


def _connection(view: View) -> Text:
    if view.trouble:
        return Text(view.trouble, style="bold red")
    if view.connected:
        return Text(f"connected to {view.address}, TLS verified", style="dim")
    return Text(f"connecting to {view.address}", style="dim")


def _size(count: int) -> str:
    return f"{count} B" if count < 1000 else f"{count / 1000:.0f} kB"


def _span(seconds: float) -> str:
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 100 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
