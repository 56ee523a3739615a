"""The stamp: the proof of identity and integrity inside each JPEG (docs/protocol.md). Pure.

An APP9 segment, inserted after the first APP0 (with no APP0: after SOI):

    FF E9 | length, 2 bytes, itself included | "anchorcam" NUL | JSON, ASCII

    {"v":1,"cam":ID,"boot":B,"seq":S,"ts":MS,"up_ms":U,"n":N,"sha256":HEX}

ts: Unix time in ms, absent while the clock is not believed; up_ms: ms since boot.
n and sha256 are of the original JPEG: removing the segment gives those bytes back
exactly. (ITU-T T.81, annex B: APPn segments are skipped by every decoder.)
"""

import json
from binascii import hexlify

from camera.topics import is_id

VERSION = 1
NAME = b"anchorcam\0"
# With the name in it, so that the whole is copied once less.
_FORMAT = 'anchorcam\0{"v":1,"cam":"%s","boot":%d,"seq":%d,%s"up_ms":%d,"n":%d,"sha256":"%s"}'
# Boot and seq are 32 bit counters; a stamp that says more was not written by a camera.
COUNT_MAX = 0xFFFFFFFF

_SOI = 0xD8
_APP0 = 0xE0
_APP9 = 0xE9


class StampError(ValueError):
    """A payload without a stamp that can be used.

    args: (code, text). code is "not_jpeg", "no_stamp" or "bad_stamp".
    """


def insertion_point(jpeg):
    """The offset at which the stamp of this JPEG belongs.

    jpeg: bytes-like. Raises StampError("not_jpeg") when it does not begin as a JPEG does.
    """
    if len(jpeg) < 4 or jpeg[0] != 0xFF or jpeg[1] != _SOI or jpeg[2] != 0xFF:
        raise StampError("not_jpeg", "it does not begin with a JPEG's SOI marker")
    if jpeg[3] != _APP0:
        return 2
    if len(jpeg) < 6:
        raise StampError("not_jpeg", "it ends inside its APP0 segment")
    end = 4 + (jpeg[4] << 8 | jpeg[5])
    if end < 6 or end > len(jpeg):
        raise StampError("not_jpeg", "its APP0 segment is longer than the file")
    return end


def segment(camera_id, boot, seq, ts, up_ms, n, sha256):
    """The stamp as the bytes to insert, in two parts.

    ts: Unix time in ms or None; n: length of the original JPEG in bytes; sha256: the
    32 byte digest of it.
    """
    text = _FORMAT % (
        camera_id,
        boot,
        seq,
        "" if ts is None else '"ts":%d,' % ts,
        up_ms,
        n,
        hexlify(sha256).decode(),
    )
    size = 2 + len(text)
    # Two, for to put them together would copy them once more.
    return bytes((0xFF, _APP9, size >> 8, size & 0xFF)), text.encode()


def find(data):
    """The stamp of a stamped JPEG: (start, end, fields).

    data[start:end] is the segment, fields the JSON body as a dict whose types and
    ranges were checked (whether n and sha256 are true is the caller's to check).
    Raises StampError.
    """
    start = insertion_point(data)
    if len(data) < start + 4 or data[start] != 0xFF or data[start + 1] != _APP9:
        raise StampError("no_stamp", "there is no APP9 segment where the stamp belongs")
    end = start + 2 + (data[start + 2] << 8 | data[start + 3])
    body = start + 4 + len(NAME)
    if bytes(data[start + 4 : body]) != NAME:
        raise StampError("no_stamp", "the APP9 segment is another program's")
    if end > len(data) or end <= body:
        raise StampError("bad_stamp", "its segment is longer than the file")
    try:
        fields = json.loads(bytes(data[body:end]).decode())
    except (ValueError, RuntimeError):  # RuntimeError: nested beyond the parser's stack
        raise StampError("bad_stamp", "its body is not JSON") from None
    _check(fields)
    return start, end, fields


def _check(fields):
    if not isinstance(fields, dict):
        raise StampError("bad_stamp", "its body is not a JSON object")
    if fields.get("v") != VERSION:
        raise StampError("bad_stamp", "its version is not %d" % VERSION)
    if not is_id(fields.get("cam")):
        raise StampError("bad_stamp", '"cam" is not a camera id')
    for name, least, most in (
        ("boot", 1, COUNT_MAX),
        ("seq", 1, COUNT_MAX),
        ("up_ms", 0, 1 << 48),
        ("n", 4, COUNT_MAX),
    ):
        if not _is_count(fields.get(name), least, most):
            raise StampError("bad_stamp", '"%s" is not a whole number in its range' % name)
    if "ts" in fields and not _is_count(fields["ts"], 0, 1 << 48):
        raise StampError("bad_stamp", '"ts" is not a time in ms')
    digest = fields.get("sha256")
    if not isinstance(digest, str) or len(digest) != 64 or digest.strip("0123456789abcdef"):
        raise StampError("bad_stamp", '"sha256" is not 64 lower-case hexadecimal digits')


def _is_count(value, least, most):
    # bool is an int to isinstance, and true is no count.
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
