"""camera.stamp, on both interpreters."""

import hashlib
import sys

from camera import stamp
from tests.unit.pure import raised

APP0 = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
BODY = b"\xff\xdb\x00\x03\x01\xff\xd9"
WITH_APP0 = b"\xff\xd8" + APP0 + BODY
WITHOUT_APP0 = b"\xff\xd8" + BODY


def stamped(jpeg, ts=1800000000000, camera_id="cam1"):
    digest = hashlib.sha256(jpeg).digest()
    at = stamp.insertion_point(jpeg)
    segment = b"".join(stamp.segment(camera_id, 3, 7, ts, 1234, len(jpeg), digest))
    return jpeg[:at] + segment + jpeg[at:]


def with_body(body):
    size = 2 + len(stamp.NAME) + len(body)
    segment = b"\xff\xe9" + bytes((size >> 8, size & 255)) + stamp.NAME + body
    return b"\xff\xd8" + segment + BODY


def test_what_is_put_in_comes_out():
    for jpeg in (WITH_APP0, WITHOUT_APP0):
        data = stamped(jpeg)
        start, end, fields = stamp.find(data)
        assert data[:start] + data[end:] == jpeg
        assert (fields["cam"], fields["boot"], fields["seq"]) == ("cam1", 3, 7)
        assert (fields["ts"], fields["up_ms"], fields["n"]) == (1800000000000, 1234, len(jpeg))


def test_it_stands_behind_the_first_app0():
    assert stamp.insertion_point(WITH_APP0) == 2 + len(APP0)
    assert stamp.insertion_point(WITHOUT_APP0) == 2
    assert stamp.insertion_point(memoryview(WITH_APP0)) == 2 + len(APP0)


def test_without_a_clock_there_is_no_time():
    _, _, fields = stamp.find(stamped(WITH_APP0, None))
    assert "ts" not in fields


def test_ids_of_any_length_fit():
    for length in (1, 32):
        assert stamp.find(stamped(WITH_APP0, camera_id="x" * length))[2]["cam"] == "x" * length


def test_not_a_jpeg():
    for data in (
        b"",
        b"\xff",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n",
        b"\xff\xd8\xff\xe0",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\xff\xd8\xff\xe0\0\0\0\0",
    ):
        error = raised(stamp.StampError, stamp.insertion_point, data)
        assert error.args[0] == "not_jpeg", data


def test_no_stamp():
    for data in (
        WITH_APP0,
        WITHOUT_APP0,
        b"\xff\xd8\xff\xe9\0\x0cOther\0more",
        b"\xff\xd8\xff\xe9",
    ):
        assert raised(stamp.StampError, stamp.find, data).args[0] == "no_stamp", data


def test_cut_short_at_every_byte():
    data = stamped(WITH_APP0)
    _, end, _ = stamp.find(data)
    for length in range(end):
        code = raised(stamp.StampError, stamp.find, data[:length]).args[0]
        assert code in ("not_jpeg", "no_stamp", "bad_stamp"), length


GOOD = '{"v":1,"cam":"c","boot":1,"seq":1,"up_ms":0,"n":9,"sha256":"' + "0" * 64 + '"}'


def test_nonsense():
    assert stamp.find(with_body(GOOD.encode()))
    for old, new in (
        ('"v":1', '"v":2'),
        ('"v":1', '"v":"1"'),
        ('"cam":"c"', '"cam":"../c"'),
        ('"cam":"c",', ""),
        ('"boot":1', '"boot":0'),
        ('"boot":1', '"boot":true'),
        ('"boot":1', '"boot":4294967296'),
        ('"seq":1', '"seq":-1'),
        ('"seq":1', '"seq":1.5'),
        ('"seq":1', '"seq":"1"'),
        ('"up_ms":0', '"up_ms":null'),
        ('"n":9', '"n":[]'),
        ('"n":9', '"ts":"now","n":9'),
        ("000", "00g"),
        ("000", "00"),
    ):
        body = GOOD.replace(old, new, 1)
        assert body != GOOD
        assert raised(stamp.StampError, stamp.find, with_body(body.encode())).args[0] == "bad_stamp"
    # MicroPython's JSON parser lets a missing end pass; the stamp is read on the host.
    ends = (GOOD[:-1].encode(),) if sys.implementation.name == "cpython" else ()
    for body in ends + (b"", b"[]", b"1", b"\xff\xfe", b"null", b"[" * 5000, b'{"v":1}'):
        assert raised(stamp.StampError, stamp.find, with_body(body)).args[0] == "bad_stamp"
