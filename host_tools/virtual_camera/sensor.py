"""The virtual camera's image sensor: a generated scene, or the user's own JPEGs."""

import io
import math
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Protocol

from PIL import Image, ImageDraw, ImageFont

from broker.errors import UserError

# firmware/csi.py has a frame buffer of 4 MiB; the promise is 1 MiB.
FRAME_MAX_BYTES = 1 << 20

# Width and height in pixels, as the firmware's csi has them.
SIZES = {
    "QQVGA": (160, 120),
    "QVGA": (320, 240),
    "VGA": (640, 480),
    "SVGA": (800, 600),
    "XGA": (1024, 768),
    "HD": (1280, 720),
    "SXGA": (1280, 1024),
    "UXGA": (1600, 1200),
    "FHD": (1920, 1080),
}


# By how much red, green and blue of a scene are darker.
_TINTS = tuple(permutations((1, 2, 3, 5), 3))


class Frames(Protocol):
    """Where frames come from."""

    def jpeg(self, framesize: str, quality: int) -> bytes:
        """The next frame. framesize: a key of SIZES; quality: 1 to 100."""
        ...


class Scene:
    """A moving scene with its number and the time burnt in: no two frames are equal."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._count = 0
        # Another colour for each title, so that cameras can be told apart at a glance.
        self._tint = _TINTS[zlib.crc32(title.encode()) % len(_TINTS)]

    def jpeg(self, framesize: str, quality: int) -> bytes:
        width, height = SIZES[framesize]
        self._count += 1
        now = time.time()
        image = Image.linear_gradient("L").resize((width, height))
        image = Image.merge("RGB", [image.point(lambda v, s=share: v // s) for share in self._tint])
        draw = ImageDraw.Draw(image)
        self._draw_balls(draw, width, height, now)
        font = ImageFont.load_default(size=height // 16)
        stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
        margin = height // 40
        draw.rectangle((0, height - 4 * margin, width, height), fill=(0, 0, 0))
        draw.text(
            (margin, margin), f"{self._title}  #{self._count}", font=font, fill=(255, 255, 255)
        )
        draw.text((margin, height - 3.5 * margin), stamp, font=font, fill=(255, 220, 90))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        return out.getvalue()

    @staticmethod
    def _draw_balls(draw: ImageDraw.ImageDraw, width: int, height: int, now: float) -> None:
        radius = height // 12
        for index, colour in enumerate(((240, 90, 70), (90, 200, 120), (250, 190, 60))):
            x = width / 2 + (width / 2 - radius) * math.sin(now * (0.7 + index / 3) + index)
            y = height / 2 + (height / 3) * math.sin(now * (1.1 + index / 5))
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


class Folder:
    """The JPEGs of a folder in the order of their names, again and again, each as it is.

    Raises UserError (exit code 2) when there is none, or one that no camera could give.
    """

    def __init__(self, folder: Path) -> None:
        paths = sorted(
            path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg")
        )
        if not paths:
            raise UserError(f"{folder} has no .jpg files: name a folder that has", exit_code=2)
        frames = [(path, path.read_bytes()) for path in paths]
        for path, data in frames:
            if data[:3] != b"\xff\xd8\xff":
                raise UserError(f"{path} is no JPEG: remove it from the folder", exit_code=2)
            if len(data) > FRAME_MAX_BYTES:
                raise UserError(
                    f"{path} has {len(data)} bytes: the most is {FRAME_MAX_BYTES}, scale it down",
                    exit_code=2,
                )
        self._next: Iterator[bytes] = self._cycle([data for _, data in frames])

    @staticmethod
    def _cycle(frames: list[bytes]) -> Iterator[bytes]:
        while True:
            yield from frames

    def jpeg(self, framesize: str, quality: int) -> bytes:
        return next(self._next)


class Sensor:
    """Serves frames to firmware/csi.py over a socket pair.

    works: asked at each snapshot; False makes it the time-out of a real sensor.
    """

    def __init__(self, frames: Frames, works: Callable[[], bool] = lambda: True) -> None:
        self._frames = frames
        self._works = works
        self._ours, self.theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="sensor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the camera is off by then."""
        self._ours.close()
        self.theirs.close()

    def _serve(self) -> None:
        framesize = "VGA"
        try:
            with self._ours.makefile("rb") as requests:
                for request in requests:
                    verb, value = request.decode().split()
                    if verb == "snapshot":
                        framesize = value
                        self._ours.sendall(b"+" if self._works() else b"-")
                    else:
                        data = self._frames.jpeg(framesize, int(value))
                        self._ours.sendall(len(data).to_bytes(4, "big") + data)
        except (OSError, ValueError):
            # Closed, or the camera was killed in the middle of a request.
            return
