"""camera.der, on both interpreters."""

from binascii import unhexlify

from camera import der
from tests.unit.pure import raised


def element(tag, *contents):
    body = b"".join(contents)
    if len(body) < 128:
        return bytes((tag, len(body))) + body
    return bytes((tag, 0x82, len(body) >> 8, len(body) & 255)) + body


# A SubjectPublicKeyInfo: an algorithm, and 65 bytes.
KEY = element(0x30, element(0x30, b"\x06\x01\x2a"), element(0x03, bytes(66)))


def certificate(not_after, version=True):
    """The skeleton of a certificate, RFC 5280, 4.1."""
    tbs = element(
        0x30,
        unhexlify("a003020102") if version else b"",
        element(0x02, b"\x01"),
        element(0x30, b"\x06\x01\x2a"),
        element(0x30, bytes(200)),
        element(0x30, element(0x17, b"260101000000Z"), not_after),
        element(0x30),
        KEY,
    )
    return element(0x30, tbs, element(0x30), element(0x03, b"\x00"))


def test_one_whole_certificate():
    assert der.problem(certificate(element(0x17, b"270101000000Z"))) is None


def test_what_is_wrong_is_said():
    good = certificate(element(0x17, b"270101000000Z"))
    for data, words in (
        (b"", "empty"),
        (b"-----BEGIN CERTIFICATE-----\n", "PEM"),
        (b"<html>", "not a DER certificate"),
        (b"\x30", "not a DER certificate"),
        (b"\x30\x84\xff\xff\xff\xff", "not a DER certificate"),
        (good[:-1], "ends after"),
        (good + good, "one file holds one"),
    ):
        assert words in der.problem(data), words


def test_until_when():
    for text, unix in (
        (b"700101000000Z", 0),
        (b"991231235959Z", 946684799),
        (b"000229120000Z", 951825600),
        (b"261123222600Z", 1795472760),
        (b"491231235959Z", 2524607999),
        (b"500101000000Z", -631152000),
    ):
        assert der.not_after(certificate(element(0x17, text))) == unix, text
    for text, unix in ((b"20500301000000Z", 2529705600), (b"99991231235959Z", 253402300799)):
        assert der.not_after(certificate(element(0x18, text))) == unix, text
    assert der.not_after(memoryview(certificate(element(0x17, b"700101000000Z"), False))) == 0


def test_cut_short_at_every_byte():
    data = certificate(element(0x17, b"270101000000Z"))
    for length in range(220):
        raised(ValueError, der.not_after, data[:length])


def test_the_public_key():
    for version in (True, False):
        data = certificate(element(0x17, b"270101000000Z"), version)
        start, end = der.public_key(data)
        assert data[start:end] == KEY
        start, end = der.public_key(memoryview(data))
        assert bytes(data[start:end]) == KEY
        for length in range(data.find(KEY) + len(KEY)):
            raised(ValueError, der.public_key, data[:length])


def test_a_public_key_that_claims_to_be_longer():
    data = bytearray(certificate(element(0x17, b"270101000000Z")))
    at = bytes(data).find(KEY)
    for length in (b"\x30\x82\xff\xff", b"\x30\x83\xff\xff\xff", b"\x30\x84\x00\x00\x00\x01"):
        data[at : at + len(length)] = length
        raised(ValueError, der.public_key, data)


def test_nonsense_dates():
    for text in (b"", b"Z", b"271301000000Z", b"2701010000Z", b"270101000000+", b"xx0101000000Z"):
        raised(ValueError, der.not_after, certificate(element(0x17, text)))
