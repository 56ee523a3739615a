"""The heap: what a snapshot costs, and that nothing grows. Measured on the camera's interpreter.

These figures are of 64 bit words; a camera's are about half of them.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.virtual_camera.sensor import Folder
from tests.brokers import BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.device.test_publishing import jpeg_of

# Before main.py: every time a snapshot is taken, say what the one before has cost.
COUNTING = """
import gc
from camera import app
gc.disable()
take = app.App._capture
last = [0]
def take_and_count(self):
    print('cost', gc.mem_alloc() - last[0])
    gc.collect()
    last[0] = gc.mem_alloc()
    take(self)
app.App._capture = take_and_count
"""

# As many snapshots as go through, and the line is cut again and again.
EXERCISE = """
import gc
from camera import app, dialer, log
class At_once:
    random = staticmethod(lambda: 0)
dialer.random = At_once
log.line = lambda text: None
take = app.App._capture
taken = 0
marks = [(1000, 0), (10000, 1000)]
def take_and_cut(self):
    global taken
    self._interval_ms = 0
    session = self.routes[0]._session
    # With a connection each time: its buffers are in the heap too.
    connections = self.routes[0].dialer.conn
    if marks and session is not None and taken >= marks[0][0] and connections >= marks[0][1]:
        gc.collect()
        print('free', gc.mem_free(), 'at mark', len(marks), 'after', taken, 'and', connections)
        marks.pop(0)
    taken += 1
    if taken % 3 == 0 and session is not None:
        session.sock._tls.close()
        session.sock._tls = Dead
    take(self)
class Dead:
    def write(*args):
        raise OSError(104)
    readinto = staticmethod(write)
    write = staticmethod(write)
    close = staticmethod(lambda: None)
app.App._capture = take_and_cut
"""


def start(camera: CameraUnderTest, script: str) -> None:
    """Power the camera up with a script before main.py."""
    camera.power_on()
    camera.power_cut()
    camera.console.clear()
    main = camera.flash / "main.py"
    main.write_text(script + main.read_text())
    camera.restart()


@pytest.mark.parametrize("size", [30_000, 1 << 20])
def test_a_snapshot_of_any_size_costs_less_than_2_kib(
    size: int, make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    jpeg_of(size, folder)
    camera = make_camera(broker, frames=Folder(folder))
    camera.config["camera"]["health_s"] = 3600
    start(camera, COUNTING)

    def costs() -> list[int]:
        return [int(line.split()[1]) for line in camera.console if line.startswith("cost")]

    # The first few pay for the connection.
    wait_for(lambda: len(costs()) > 25, "25 snapshots")
    camera.power_cut()
    assert max(costs()[-10:]) < 2048


@pytest.mark.timeout(400)
def test_ten_thousand_snapshots_and_a_thousand_connections_leave_the_heap_as_it_was(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    jpeg_of(3000, folder)
    camera = make_camera(broker, frames=Folder(folder))
    start(camera, EXERCISE)
    lines = [camera.line(f"at mark {left}", wait_s=170) for left in (2, 1)]
    camera.power_cut()
    before, after = (int(line.split()[1]) for line in lines)
    assert abs(after - before) < 1024, lines
