"""The clock service, asked over UDP as an SNTP client does (RFC 5905)."""

import socket
import struct
import time

import pytest

from broker.clock import answer
from tests.broker.local import LocalBroker

# Seconds from 1900 to 1970.
EPOCH = 2_208_988_800
NONCE = b"\x01\x23\x45\x67\x89\xab\xcd\xef"


def request(version: int = 3, mode: int = 3) -> bytes:
    """As ntptime.py sends it, with a transmit timestamp to recognise."""
    return bytes([version << 3 | mode]) + bytes(39) + NONCE


def ask(broker: LocalBroker, *datagrams: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", broker.server.clock_port))
        for datagram in datagrams:
            client.send(datagram)
        return client.recv(1024)


def unix_time(timestamp: bytes) -> float:
    seconds, fraction = struct.unpack("!II", timestamp)
    return float(seconds - EPOCH + fraction / (1 << 32))


def test_an_answer(local_broker: LocalBroker) -> None:
    before = time.time()
    reply = ask(local_broker, request(version=4))
    after = time.time()
    assert len(reply) == 48
    assert reply[0] == 4 << 3 | 4  # no leap warning, the version of the request, server
    assert reply[1] == 10
    assert reply[12:16] == b"LOCL"
    assert reply[24:32] == NONCE
    for timestamp in (reply[32:40], reply[40:48]):
        assert before - 1e-3 <= unix_time(timestamp) <= after + 1e-3
    # Not whole seconds.
    fractions = {ask(local_broker, request())[44:48] for _ in range(5)}
    assert len(fractions) == 5


def test_the_version_is_the_requests(local_broker: LocalBroker) -> None:
    assert ask(local_broker, request(version=3))[0] == 3 << 3 | 4


def test_an_offset(local_broker: LocalBroker) -> None:
    local_broker.server.clock.offset_s = -86400
    assert abs(unix_time(ask(local_broker, request())[40:48]) - time.time() + 86400) < 60


@pytest.mark.parametrize(
    "malformed",
    [b"", b"\x1b", request()[:47], request(mode=4), request(mode=1), request(version=0)],
    ids=["empty", "one byte", "short", "a reply", "symmetric", "version 0"],
)
def test_anything_else_is_ignored(local_broker: LocalBroker, malformed: bytes) -> None:
    # The one reply is to the good request that follows.
    assert ask(local_broker, malformed, request())[24:32] == NONCE
    assert answer(malformed, 0.0) is None


def test_after_2036() -> None:
    # RFC 5905: the 32 bits of seconds begin anew in February 2036.
    reply = answer(request(), 2_085_978_496.5)
    assert reply
    assert struct.unpack("!II", reply[40:48]) == (0, 1 << 31)
