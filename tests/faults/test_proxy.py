"""The proxy does to a connection what it says."""

import socket
import time
from collections.abc import Iterator

import pytest

from tests.brokers import wait_for
from tests.faults.proxy import SLOW_BYTES_PER_S, FaultProxy, Mode, proxied
from tests.scripted import listening


def echo(stream: socket.socket) -> None:
    while data := stream.recv(65536):
        stream.sendall(data)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """In front of a server that says everything again."""
    with listening(echo) as port, proxied(port) as proxy:
        yield proxy


def dial(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        assert piece, f"closed after {data!r}"
        data += piece
    return data


def is_silent(stream: socket.socket) -> bool:
    stream.settimeout(0.2)
    try:
        return stream.recv(1) is None
    except TimeoutError:
        return True
    finally:
        stream.settimeout(5)


def test_pass(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        stream.sendall(b"x" * 300_000)
        assert exactly(stream, 300_000) == b"x" * 300_000


def test_stall_keeps_everything_for_later(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        stream.sendall(b"a")
        assert exactly(stream, 1) == b"a"
        proxy.set_mode(Mode.STALL)
        stream.sendall(b"b")
        assert is_silent(stream)
        proxy.set_mode(Mode.PASS)
        assert exactly(stream, 1) == b"b"


def test_half_open_tells_nobody(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        stream.sendall(b"a")
        assert exactly(stream, 1) == b"a"
        proxy.set_mode(Mode.HALF_OPEN)
        stream.sendall(b"b")
        assert is_silent(stream)
        proxy.set_mode(Mode.PASS)
        stream.sendall(b"c")
        assert is_silent(stream)
    with dial(proxy) as stream:
        stream.sendall(b"d")
        assert exactly(stream, 1) == b"d"


def test_cut_after_so_many_bytes(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        proxy.cut("up", 10)
        stream.sendall(b"0123456789abc")
        got = b""
        try:
            while data := stream.recv(100):
                got += data
        except ConnectionError:
            pass
        assert got in (b"", b"0123456789")
    assert proxy.connections() == 0 or wait_for(lambda: proxy.connections() == 0, "the end")


def test_reset(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        stream.sendall(b"a")
        assert exactly(stream, 1) == b"a"
        proxy.cut_now(reset=True)
        with pytest.raises(ConnectionResetError):
            exactly(stream, 1)


def test_garbage_comes_in_between(proxy: FaultProxy) -> None:
    with dial(proxy) as stream:
        stream.sendall(b"a")
        assert exactly(stream, 1) == b"a"
        proxy.garbage(5)
        exactly(stream, 5)
        stream.sendall(b"b")
        assert exactly(stream, 1) == b"b"


def test_refuse_and_the_same_port_again(proxy: FaultProxy) -> None:
    proxy.set_mode(Mode.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.set_mode(Mode.PASS)
    with dial(proxy) as stream:
        stream.sendall(b"a")
        assert exactly(stream, 1) == b"a"


@pytest.mark.parametrize("slow", [True, False])
def test_slow_and_late(proxy: FaultProxy, slow: bool) -> None:
    if slow:
        proxy.set_mode(Mode.SLOW)
    else:
        proxy.latency_s = 0.2
    with dial(proxy) as stream:
        began = time.monotonic()
        stream.sendall(b"x" * (SLOW_BYTES_PER_S // 4))
        exactly(stream, SLOW_BYTES_PER_S // 4)
        # At least: a machine under load takes longer.
        assert time.monotonic() - began >= 0.24
