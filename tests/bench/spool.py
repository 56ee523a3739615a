"""Target 6: the spool's own speed, and how fast the application drains a backlog."""

import hashlib
import statistics
from collections.abc import Iterator
from pathlib import Path

from camera import stamp
from tests.bench.camera import LIVE, power_on, virtual_camera
from tests.bench.lab import Lab
from tests.bench.rows import Row, medians, number
from tests.brokers import wait_for
from tests.device.test_publishing import jpeg_of
from tests.faults.proxy import proxied

_SIZE = 30_000
_BACKLOG = 1_000
_ROUNDS = 5
_CAPTURE_S = 0.2
_ROUND_TRIP_S = 0.05
# Says how long it took since the first snapshot was acknowledged, from time to time.
_TIMING = """
import time
from camera import route
acknowledged = route.Route._acknowledged
count = 0
started = 0
def count_and_tell(self, identity):
    global count, started
    acknowledged(self, identity)
    if count == 0:
        started = time.ticks_us()
    elif count % EVERY == 0:
        print('acknowledged', count, time.ticks_diff(time.ticks_us(), started))
    count += 1
route.Route._acknowledged = count_and_tell
"""


def measure(lab: Lab) -> Iterator[Row]:
    """On this machine's file system, which is faster than flash; what is compared is alike."""
    values = {"size": _SIZE, "count": 200, "rounds": 3}
    folder = lab.folder / "spool"
    folder.mkdir()
    for name in ("camera", "lib"):
        (folder / name).symlink_to(lab.flash() / name)
    write, drain = medians(lab.run("spool.py", values, flash=folder), "write", "drain")
    yield Row("spool", "30 KB: snapshots written", 1e6 / write, "/s", "with stamp and digests")
    yield Row("spool", "30 KB: read twice, checked, removed", 1e6 / drain, "/s")
    live, drained = [], []
    for _ in range(_ROUNDS):
        live.append(_live(lab))
        drained.append(_drained(lab))
    rates = statistics.median(drained), statistics.median(live)
    yield Row(
        "spool",
        f"a backlog of {_BACKLOG:,} drained, capture going on, over live",
        rates[0] / rates[1],
        "x",
        f"{number(rates[0])}/s, live {number(rates[1])}/s; the whole application",
        least=0.8,
    )
    with proxied(lab.mosquitto.port) as link:
        link.latency_s = _ROUND_TRIP_S / 2
        one, window = (_drained(lab, 100, link.port, size) for size in (1, 4))
    yield Row(
        "spool",
        "drained over a link of 50 ms: window of 4 over 1",
        window / one,
        "x",
        f"{number(window)}/s, {number(one)}/s; the whole application",
    )


def _live(lab: Lab) -> float:
    """Snapshots a second when each is taken as soon as the one before is acknowledged."""
    with virtual_camera(lab, _SIZE) as camera:
        power_on(camera, LIVE + _TIMING.replace("EVERY", "400"))
        return _rate(camera.line("acknowledged", wait_s=60))


def _drained(lab: Lab, count: int = _BACKLOG, port: int = 0, window: int = 1) -> float:
    with virtual_camera(lab, _SIZE) as camera:
        camera.broker["port"] = port or lab.mosquitto.port
        camera.config["camera"]["interval_s"] = _CAPTURE_S
        camera.config["delivery"] = {"first": "live", "window": window}
        camera.config["spool"]["most_kb"] = 1 << 20
        camera.write_flash()
        _fill(camera.flash, count, jpeg_of(_SIZE, camera.flash.parent))
        power_on(camera, _TIMING.replace("EVERY", str(count - count // 10)))
        line = camera.line("acknowledged", wait_s=60)
        wait_for(lambda: not list(camera.flash.glob("spool/0/00000001/*")), "an empty spool")
        return _rate(line)


def _rate(line: str) -> float:
    _, count, us = line.split()
    return int(count) / (int(us) / 1e6)


def _fill(flash: Path, count: int, jpeg: bytes) -> None:
    """Put snapshots of an earlier boot on the spool."""
    (flash / "state").mkdir()
    (flash / "state/boot").write_text("1")
    folder = flash / "spool/0/00000001"
    folder.mkdir(parents=True)
    at = stamp.insertion_point(jpeg)
    digest = hashlib.sha256(jpeg).digest()
    for seq in range(1, count + 1):
        segment = b"".join(stamp.segment("cam1", 1, seq, None, seq, len(jpeg), digest))
        data = jpeg[:at] + segment + jpeg[at:]
        (folder / f"{seq:08X}.JPG").write_bytes(data + hashlib.sha256(data).digest())
