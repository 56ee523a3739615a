"""Names are looked up within a limit, whatever the server does."""

import socket
import struct
from collections.abc import Callable

import pytest

from camera.dns import query
from tests.brokers import BrokerProcess
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.scripted import clock_answering as udp_answering


def response(asked: bytes, *, code: int = 0, address: str = "127.0.0.1") -> bytes:
    head = asked[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, not code, 0, 0)
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\x04" + socket.inet_aton(address)
    return head + asked[12:] + (b"" if code else record)


def loop(asked: bytes) -> bytes:
    """A name that points at itself, again and again."""
    return response(asked)[: len(asked)] + b"\xc0\x0c\0\5\0\1\0\0\0\0\0\2\xc0\x0c" * 30


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda asked: None, "no answer in 1000 ms"),
        (lambda asked: b"\xff" * 500, "no answer in 1000 ms"),
        (lambda asked: response(query("x", b"\0\0")), "no answer in 1000 ms"),
        (lambda asked: response(asked, code=2), "no answer in 1000 ms"),
        (loop, "it has no IPv4 address"),
        (lambda asked: response(asked, code=3), "there is no such name"),
    ],
    ids=["silent", "garbage", "of another query", "SERVFAIL", "pointers", "no such name"],
)
def test_a_server_that_does_not_help(
    answer: Callable[[bytes], bytes | None], words: str, camera: CameraUnderTest
) -> None:
    with udp_answering(answer) as server:
        camera.config["network"]["dns"] = server
        with camera:
            camera.line("dns: the broker's name was not found", words)
            camera.line("trying again")


def test_a_server_that_fails_at_first(camera: CameraUnderTest, broker: BrokerProcess) -> None:
    asked = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return response(request, code=2 if len(asked) == 1 else 0)

    camera.config["limits_s"]["dns"] = 5
    with udp_answering(answer) as server, receiving(broker.endpoint()) as receiver:
        camera.config["network"]["dns"] = server
        with camera:
            receiver.snapshot()
    assert not [line for line in camera.console if "trying again" in line]


def test_a_server_that_goes_away_later(
    make_camera: Callable[..., CameraUnderTest], broker: BrokerProcess
) -> None:
    works = [True]
    camera = make_camera(broker, dns_works=lambda: works[0])
    # It goes away, and so does the connection: the last good address will do.
    camera.broker["keepalive_s"] = 5
    with receiving(broker.endpoint()) as receiver, camera:
        receiver.snapshot()
        works[0] = False
        after = len(camera.console)
        broker.endpoint().raw("cam1").vanish()
        camera.line("connected to localhost", after=after)
