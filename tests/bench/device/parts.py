"""What the scripts here share: a session, a frame, a clock (runs under MicroPython)."""

import hashlib
import json
import os
import time

from camera import stamp
from camera.anchors import Anchor
from camera.session import Session

VALUES = json.loads(os.getenv("VALUES"))


def tell(**fields):
    print(json.dumps(fields))


def frame(size):
    """A JPEG, as far as a stamp is concerned."""
    data = bytearray(size)
    data[:20] = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    return data


def stamped(data, seq):
    """The parts of a snapshot, as app._capture() makes them."""
    at = stamp.insertion_point(data)
    marker, body = stamp.segment(
        "cam1", 1, seq, 1700000000000 + seq, seq, len(data), hashlib.sha256(data).digest()
    )
    view = memoryview(data)
    return view[:at], marker, body, view[at:]


def session(broker):
    """A session, logged in."""
    made = Session(broker["user"], broker, "127.0.0.1", Anchor("root.der"), broker["limits"])
    made.connect()
    return made


def topic(broker):
    return b"cameras/%s/jpeg" % broker["user"].encode()


def timed(work, *args):
    """Microseconds."""
    started = time.ticks_us()
    work(*args)
    return time.ticks_diff(time.ticks_us(), started)
