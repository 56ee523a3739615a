"""Snapshots as a camera makes them, and ways to spoil them."""

import hashlib
import json
import time

from camera import stamp

_HEAD = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


def jpeg(seq: int, size: int = 3000) -> bytes:
    """What a JPEG looks like from outside; no two are equal."""
    return _HEAD + hashlib.shake_256(seq.to_bytes(4, "big")).digest(size) + b"\xff\xd9"


def stamped(
    camera: str,
    seq: int,
    *,
    boot: int = 1,
    original: bytes | None = None,
    ts: int | None = None,
    stamp_of: str | None = None,
) -> bytes:
    """The snapshot `seq` of this camera; stamp_of: another camera named in the stamp."""
    original = original or jpeg(seq)
    at = stamp.insertion_point(original)
    digest = hashlib.sha256(original).digest()
    ts = time.time_ns() // 1_000_000 if ts is None else ts
    segment = b"".join(stamp.segment(stamp_of or camera, boot, seq, ts, 5, len(original), digest))
    return original[:at] + bytes(segment) + original[at:]


def flipped(snapshot: bytes) -> bytes:
    """The same with one bit of the picture changed."""
    return snapshot[:-20] + bytes([snapshot[-20] ^ 1]) + snapshot[-19:]


def nonsense_stamp(body: bytes = b'{"v":1,"seq":"two"}') -> bytes:
    """A JPEG whose stamp has the right name and this body."""
    segment = b"\xff\xe9" + (2 + 10 + len(body)).to_bytes(2, "big") + stamp.NAME + body
    return _HEAD + segment + jpeg(1)[len(_HEAD) :]


def health(boot: int = 1, seq: int = 0, **fields: object) -> bytes:
    """A health message with this high-water mark."""
    return json.dumps({"boot": boot, "seq": seq, **fields}).encode()


def state(word: str, boot: int = 1, conn: int = 1) -> bytes:
    """A birth ("online") or a will ("offline")."""
    return json.dumps({"state": word, "boot": boot, "conn": conn}).encode()
