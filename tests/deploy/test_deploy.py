"""`anchorcam deploy`, by the real mpremote, to a virtual camera at a serial port."""

import time
from collections.abc import Callable

import pytest

from host_tools.deploy.device import Device
from host_tools.deploy.ports import Port
from tests.deploy.bench import Bench
from tests.scripted import self_signed


def test_from_an_empty_flash_to_a_verified_snapshot(bench: Bench) -> None:
    before = bench.board.pid()
    done = bench.deploy()
    assert done.status == 0, done.out + done.err
    assert "VIRTUAL, OpenMV 4.8.1" in done.out
    assert "localhost" in done.out
    assert "accepted" in done.out
    assert "✓ first verified snapshot" in done.out
    assert "boot 1, seq" in done.out
    # What runs there is what runs after a power cut.
    assert bench.board.pid() != before
    bench.board.power_cut()
    seen = len(bench.console)
    bench.board.power_on()
    bench.line("connected to localhost", after=seen)
    assert not (bench.flash / "deploy").exists()
    assert not (bench.flash / "boot.py").exists()


def test_only_what_changed_is_transferred(bench: Bench) -> None:
    assert bench.deploy().status == 0
    bench.config["camera"]["interval_s"] = 0.3
    (bench.flash / "state/boot").write_text("41")
    done = bench.deploy()
    assert done.status == 0, done.out + done.err
    assert "0 new, 1 changed, 0 removed" in done.out
    assert "changed  config.json" in done.out
    assert "boot 42" in done.out
    assert (bench.flash / "config.json").read_bytes() == (bench.folder / "config.json").read_bytes()


def test_what_is_not_needed_any_more_is_removed(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    (bench.flash / "anchors/mine.der").write_bytes(b"mine")
    bench.config["brokers"][0]["anchors"] = ["other.der"]
    (bench.folder / "anchors/root.der").rename(bench.folder / "anchors/other.der")
    done = bench.deploy("--no-wait")
    assert done.status == 0, done.out + done.err
    assert "1 removed" in done.out
    assert sorted(path.name for path in (bench.flash / "anchors").iterdir()) == [
        "mine.der",
        "other.der",
    ]


def test_a_watchdog_that_bites_does_not_come_in_between(make_bench: Callable[..., Bench]) -> None:
    # The application runs, and its watchdog would bite in the middle of this slow transfer.
    bench = make_bench(watchdog_most_ms=1500, bytes_per_s=40_000)
    assert bench.deploy().status == 0
    bench.config["camera"]["quality"] = 50
    for path in (bench.flash / "camera").iterdir():
        path.unlink()
    done = bench.deploy("--force")
    assert done.status == 0, done.out + done.err
    assert "the watchdog has bitten" not in bench.console
    assert bench.files()["camera/app.py"]


def test_a_card_that_shadows_the_flash(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(sd_bytes=1 << 20, sd_boots=True)
    done = bench.deploy()
    assert done.status == 0, done.out + done.err
    assert "an SD card is in" in done.out
    bench.board.power_cut()
    seen = len(bench.console)
    bench.board.power_on()
    bench.line("connected to localhost", after=seen)


@pytest.mark.parametrize("edited", ["camera/app.py", "main.py"])
def test_a_file_that_was_changed_on_the_camera(bench: Bench, edited: str) -> None:
    assert bench.deploy("--no-wait").status == 0
    seen = len(bench.console)
    (bench.flash / edited).write_bytes((bench.flash / edited).read_bytes() + b"# mine\n")
    before = bench.files()
    done = bench.deploy()
    assert done.status == 1
    assert f"changed on the camera and not by anchorcam: {edited}" in done.err
    assert "--force" in done.err
    assert bench.files() == before
    # It goes on as it was.
    bench.line("connected to localhost", after=seen)
    assert bench.deploy("--force").status == 0
    assert b"# mine" not in bench.files()[edited]


def test_settings_for_another_camera(bench: Bench) -> None:
    assert bench.deploy("--no-wait").status == 0
    before = bench.files()
    bench.config["camera"]["id"] = "cam2"
    done = bench.deploy()
    assert done.status == 2
    assert "this camera is cam1, the settings are for cam2" in done.err
    assert bench.files() == before


def test_an_anchor_that_is_refused(bench: Bench) -> None:
    (bench.folder / "anchors/root.der").write_bytes(self_signed().der)
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert "a camera with these anchors would not connect" in done.err
    assert bench.files() == {}
    assert bench.deploy("--no-wait", "--force").status == 0


def test_a_flash_that_is_too_small(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(flash_bytes=200_000)
    done = bench.deploy("--no-wait")
    assert done.status == 1
    assert "bytes must be free" in done.err
    assert bench.files() == {}


def test_the_clock_is_set_in_utc(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    # No other clock than this machine's.
    bench.config["clock"]["servers"] = ["127.0.0.1:9"]
    assert bench.deploy("--no-wait").status == 0
    with Device(Port(str(bench.port))) as device:
        device.interrupt()
        unix_s = device.ask("__import__('time').time()")
    assert abs(time.time() - unix_s) < 600


def test_what_the_firmware_puts_onto_an_empty_flash(bench: Bench) -> None:
    (bench.flash / "main.py").write_text(FACTORY_MAIN)
    assert bench.deploy("--no-wait").status == 0


# openmv, scripts/libraries/_boot.py at 11caeff.
FACTORY_MAIN = """import time
from machine import LED

led = LED("LED_BLUE")

while True:
    led.on()
    time.sleep_ms(150)
    led.off()
    time.sleep_ms(100)
    led.on()
    time.sleep_ms(150)
    led.off()
    time.sleep_ms(600)
"""
