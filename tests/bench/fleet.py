"""Target 8: where two cores end. Cameras as fast as they are acknowledged, broker beside them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from host_tools.fleet.camera import Target
from host_tools.fleet.command import frame_of
from host_tools.fleet.run import Report, run
from tests.bench.lab import FLEET, Lab
from tests.bench.rows import Row, number
from tests.brokers import Endpoint

_SIZE = 30_000
_SECONDS = 6.0
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(lab: Lab) -> Iterator[Row]:
    """10, 100 and 1,000 cameras, on each broker in turn."""
    frame = frame_of(_SIZE)
    digest = hashlib.sha256(frame).digest()
    lost = 0
    for count in (10, 100, 1_000):
        for name, endpoint in lab.brokers.items():
            target = Target(endpoint.host, endpoint.port, "cameras", 0, frame, digest)
            report, cpu_us, memory_kb = _one(endpoint, target, count)
            lost += report.unacknowledged
            what = f"{count:,} cameras, {name}"
            yield Row(
                "fleet",
                f"{what}: held to the end",
                report.held,
                "",
                f"connected in {number(report.connect_s)} s; " + "; ".join(report.troubles),
                least=count,
            )
            yield Row(
                "fleet",
                f"{what}: snapshots acknowledged",
                report.rate,
                "/s",
                f"half within {_ms(report.p50_s)}, 95 % {_ms(report.p95_s)},"
                f" 99 % {_ms(report.p99_s)}",
            )
            yield Row(
                "fleet",
                f"{what}: the broker's CPU time for one",
                cpu_us,
                "us",
                f"{number(memory_kb)} KiB of memory for a connection",
            )
    yield Row("fleet", "snapshots not acknowledged, in all", lost, "", most=0)


def _one(endpoint: Endpoint, target: Target, count: int) -> tuple[Report, float, float]:
    """What the fleet says; the broker's CPU time for a snapshot in us; KiB for a connection."""
    at_rest = _memory_kb(endpoint.pid)
    before: list[tuple[float, int]] = []

    def connected(connect_s: float) -> None:
        before.append((_cpu_s(endpoint.pid), _memory_kb(endpoint.pid)))

    passwords = {name: endpoint.passwords[name] for name in FLEET[:count]}
    report = run(target, endpoint.anchor.read_bytes(), passwords, _SECONDS, connected)
    cpu_s, memory = before[0]
    cpu_us = (_cpu_s(endpoint.pid) - cpu_s) * 1e6 / max(report.acknowledged, 1)
    return report, cpu_us, (memory - at_rest) / count


def _cpu_s(pid: int) -> float:
    # proc(5), /proc/pid/stat: 14 and 15, counted from behind the name.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _ms(seconds: float) -> str:
    return f"{number(seconds * 1000)} ms"
