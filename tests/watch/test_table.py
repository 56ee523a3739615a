"""What is drawn, at the two usual widths."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from host_tools.watch.events import Event
from host_tools.watch.evidence import Arrival, Health
from host_tools.watch.outcome import verified, why
from host_tools.watch.seen import CameraView
from host_tools.watch.subscriber import View
from host_tools.watch.table import render
from host_tools.watch.verdicts import Verdict


def camera(name: str = "cam1", **fields: object) -> CameraView:
    counts = dict.fromkeys(Verdict, 0) | {Verdict.DELIVERED: 1234, Verdict.MISSING: 2}
    values: dict[str, object] = {
        "name": name,
        "online": True,
        "health": Health(clock="ntp", clock_age_s=3599, anchor="test-root-x1.der"),
        "counts": counts,
        "run": counts,
        "last": Arrival(30_176, (7, 1236)),
        "last_at": time.time() - 2,
        "latency_ms": 12.4,
        "path": Path("data/watch") / name / "latest.jpg",
        "fault": "",
    }
    return CameraView(**(values | fields))  # type: ignore[arg-type]


def view(*cameras: CameraView, trouble: str = "", connected: bool = True) -> View:
    events = [Event("note", "something [bold]happened[/bold]")]
    return View("localhost:8883", connected, connected, trouble, list(cameras), events)


def drawn(shown: View, width: int, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, color_system="standard" if color else None
    )
    console.print(render(shown, width, ["a line of the demo's"]))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_everything_that_matters_fits(width: int) -> None:
    text = drawn(view(camera(), camera("a-camera-with-a-long-name-1234567")), width)
    heading, first, *_ = text.splitlines()
    assert "…" not in heading + first
    for shown in (
        *("cam1", "online", "ntp 60 min", "test-root-x1", "#1236 30 kB 2 s", "1234", " 12"),
        *("deliv", "miss", "dup", "corr", "data/watch/cam1/latest.jpg"),
        *("something [bold]happened[/bold]", "connected to localhost:8883"),
        "a line of the demo's",
    ):
        assert shown in text
    assert max(map(len, text.splitlines())) <= width
    assert ("reord" in heading) == (width == 120)


def test_rare_verdicts_show_on_a_narrow_terminal_once_there_are_any() -> None:
    counts = dict.fromkeys(Verdict, 1)
    assert "1 reordered, 1 dropped-by-camera" in drawn(view(camera(counts=counts)), 100)


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_spooled_and_dropped_is_shown(width: int) -> None:
    counts = dict.fromkeys(Verdict, 0) | {Verdict.DROPPED: 17}
    text = drawn(view(camera(counts=counts, health=Health(spooled=12))), width)
    assert "12 still in its spool" in text
    assert ("17 dropped-by-camera" if width == 80 else " 17 ") in text
    assert max(map(len, text.splitlines())) <= width
    assert "spool" not in drawn(view(camera()), width)


def test_no_colour_but_on_a_terminal() -> None:
    assert "\x1b" not in drawn(view(camera()), 80)
    assert "\x1b[" in drawn(view(camera()), 80, color=True)


def test_nothing_known_yet() -> None:
    blank = camera(online=None, health=Health(), last=None, latency_ms=None, path=None)
    assert "none yet" in drawn(view(connected=False), 80)
    assert "connecting to localhost:8883" in drawn(view(connected=False), 80)
    assert "cam1" in drawn(view(blank), 80)


def test_a_clock_that_is_decades_off_is_said_to_be() -> None:
    assert "clock?" in drawn(view(camera(latency_ms=8e11)), 120)


def test_trouble_is_in_the_last_lines() -> None:
    assert "nothing listens" in drawn(view(trouble="nothing listens"), 80)


@pytest.mark.parametrize(
    ("shown", "part"),
    [
        (view(connected=False, trouble="refused by"), "never connected: refused by"),
        (view(connected=False), "never connected: localhost:8883 has not answered"),
        (view(), "no camera has sent anything"),
        (view(camera(run=dict.fromkeys(Verdict, 1), fault="too long")), "too long"),
        (view(camera(online=False, health=Health(last_error="dns"))), "offline, its last error: d"),
    ],
)
def test_why_nothing_more_came(shown: View, part: str) -> None:
    assert part in why(shown)


def test_only_the_verified_are_counted() -> None:
    assert verified(view(camera(run=dict.fromkeys(Verdict, 1)))) == 2
