"""Stand-in for the firmware's csi: frames from sensor.py on the host (runs under MicroPython).

The frame buffer is one, outside the GC heap, and the next snapshot overwrites it.
"""

import os

import ffi
import uctypes

RGB565 = 3
GRAYSCALE = 2
JPEG = 7

_SIZES = ("QQVGA", "QVGA", "VGA", "SVGA", "XGA", "HD", "SXGA", "UXGA", "FHD")
QQVGA, QVGA, VGA, SVGA, XGA, HD, SXGA, UXGA, FHD = range(len(_SIZES))

_FRAME_BUFFER_BYTES = 4 << 20

_address = ffi.open(None).func("P", "malloc", "L")(_FRAME_BUFFER_BYTES)
_host = open(int(os.getenv("VIRTUAL_CAMERA_SENSOR_FD")), "r+b")


class Image:
    def __init__(self):
        self._size = 0

    def to_jpeg(self, quality=90):
        _host.write("jpeg %d\n" % quality)
        head = _host.read(4)
        self._size = head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3]
        # Whole unless the host is gone: the file waits for all of it.
        if _host.readinto(self.bytearray()) != self._size:
            raise RuntimeError("The host is gone.")
        return self

    def bytearray(self):
        return uctypes.bytearray_at(_address, self._size)

    def size(self):
        return self._size


class CSI:
    def __init__(self):
        self._framesize = None
        self._image = Image()

    def reset(self, hard=True):
        self._framesize = None

    def pixformat(self, pixformat):
        pass

    def framesize(self, framesize):
        self._framesize = _SIZES[framesize]

    def snapshot(self, *, time=-1):
        if self._framesize is None:
            raise RuntimeError("Frame size is not supported or is not set.")
        _host.write("snapshot %s\n" % self._framesize)
        if _host.read(1) != b"+":
            raise RuntimeError("Frame capture has timed out.")
        # With a time the camera throws away what comes in that time. This scene needs none.
        return self._image if time == -1 else None
