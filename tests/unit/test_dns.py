"""camera.dns, on both interpreters: what an answer may be. Asking is in tests/device."""

from camera.dns import NoAddress, is_address, query, read_answer
from tests.unit.pure import raised

ASKED = query("broker.example.org", b"\x12\x34")
A = b"\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\x01\x02\x03"
POINTER = b"\xc0\x0c"


def response(*records, code=0, flags=0x81, identity=b"\x12\x34", question=ASKED[12:]):
    head = identity + bytes((flags, 0x80 | code)) + b"\0\x01" + bytes((0, len(records)))
    return bytes(head + b"\0\0\0\0" + question + b"".join(records))


def test_a_query_is_what_rfc_1035_says():
    assert bytes(ASKED) == (
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06broker\x07example\x03org\0\0\x01\0\x01"
    )


def test_an_address():
    assert read_answer(response(POINTER + A), ASKED) == "10.1.2.3"


def test_the_address_behind_an_alias():
    name = b"\x04real\x03org\0"
    alias = POINTER + b"\0\x05\0\x01\0\0\0\x3c\0\x07\x04real" + b"\xc0\x13"
    assert read_answer(response(alias, name + A), ASKED) == "10.1.2.3"


def test_the_name_in_capitals_is_the_same():
    question = b"\x06BROKER" + bytes(ASKED[19:])
    assert read_answer(response(POINTER + A, question=question), ASKED) == "10.1.2.3"


def test_who_says_that_there_is_none():
    for packet in (response(code=3), response()):
        assert raised(NoAddress, read_answer, packet, ASKED)


def test_what_is_no_answer():
    for packet in (
        b"",
        b"\x12\x34",
        bytes(ASKED),
        response(POINTER + A, identity=b"\x12\x35"),
        response(POINTER + A, question=b"\x06banker" + bytes(ASKED[19:])),
        response(code=2),
        response(POINTER + A)[:-1],
        response(POINTER),
        response(b"\x3f" + bytes(60)),
        response(b"\x01"),
    ):
        assert read_answer(packet, ASKED) is None, packet


def test_addresses():
    for text in ("127.0.0.1", "1.1.1.1", "255.255.255.255"):
        assert is_address(text)
    for text in ("", "1.2.3", "1.2.3.256", "a.b.c.d", "1.2.3.4.5", "1..2.3"):
        assert not is_address(text)
