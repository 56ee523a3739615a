"""The whole application on a virtual camera, in front of the lab's mosquitto."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from host_tools.virtual_camera.sensor import Folder
from tests.bench.lab import Lab
from tests.cameras import CameraUnderTest
from tests.device.test_publishing import jpeg_of

# Before main.py: the next snapshot is taken as soon as the one before is acknowledged.
LIVE = """
from camera import app, log
def in_ms(self):
    busy = self._is_capturing or self.is_sending_frame or self.routes[0].held is not None
    return 1000 if busy or not self.is_connected() else 0
app.App._capture_in_ms = in_ms
"""


@contextmanager
def virtual_camera(lab: Lab, size: int) -> Iterator[CameraUnderTest]:
    """A camera whose frames have this size; it is off, and off again behind the block."""
    with tempfile.TemporaryDirectory(dir=lab.folder) as name:
        folder = Path(name)
        frames = folder / "frames"
        frames.mkdir()
        jpeg_of(size, frames)
        camera = CameraUnderTest(folder, lab.runtime, lab.library, lab.amqtt, Folder(frames))
        camera.broker["port"] = lab.mosquitto.port
        try:
            yield camera
        finally:
            camera.power_cut()


def power_on(
    camera: CameraUnderTest, script: str, prepare: Callable[[Path], None] = lambda flash: None
) -> None:
    """Switch on with a script before main.py; prepare(flash) first."""
    camera.write_flash()
    main = camera.flash / "main.py"
    main.write_text(script + main.read_text())
    prepare(camera.flash)
    camera.restart()
