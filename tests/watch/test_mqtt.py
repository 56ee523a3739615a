"""MQTT as the watcher reads it: any cut of the stream, and whatever a broker may send."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.watch import mqtt
from host_tools.watch.mqtt import Connack, Message, MqttError, Pingresp, Reader, Suback
from tests.packets import CONNACK, PINGRESP, SUBACK, packet, publish

MOST = 200_000


def feed(reader: Reader, stream: bytes) -> Iterator[mqtt.Packet]:
    """The packets that these bytes complete, as they are at that moment."""
    for at in range(0, len(stream), mqtt.READ_MAX):
        data = stream[at : at + mqtt.READ_MAX]
        reader.room()[: len(data)] = data
        for each in reader.packets(len(data)):
            yield each._replace(payload=bytes(each.payload)) if isinstance(each, Message) else each


def read(stream: bytes, cuts: list[int]) -> list[mqtt.Packet]:
    """The packets in a stream that arrives in pieces."""
    reader, found, at = Reader(MOST), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        found += feed(reader, stream[at:cut])
        at = max(at, cut)
    assert reader._begin == reader._end
    return found


STREAM = [
    (packet(CONNACK, b"\1\0"), Connack(0, True)),
    (publish("a/b", b"one", qos=1, packet_id=700), Message(b"a/b", b"one", 3, 1, False, 700)),
    (publish("a/b", b"", retain=True), Message(b"a/b", b"", 0, 0, True, 0)),
    (packet(SUBACK, b"\0\1\1\x80"), Suback([True, False])),
    (publish("big", bytes(MOST), qos=1), Message(b"big", bytes(MOST), MOST, 1, False, 1)),
    (publish("over", bytes(MOST + 1), qos=1), Message(b"over", b"", MOST + 1, 1, False, 1)),
    (publish("huge", bytes(4 * MOST), qos=1), Message(b"huge", b"", 4 * MOST, 1, False, 1)),
    (packet(PINGRESP), Pingresp()),
]


@given(
    order=st.permutations(range(len(STREAM))),
    cuts=st.lists(st.integers(0, 1_300_000), max_size=30),
)
def test_any_order_in_any_pieces(order: list[int], cuts: list[int]) -> None:
    stream = b"".join(STREAM[index][0] for index in order)
    cuts = [cut for cut in cuts if cut < len(stream)]
    assert read(stream, cuts) == [STREAM[index][1] for index in order]


def test_byte_by_byte() -> None:
    stream = b"".join(each[0] for each in STREAM[:4])
    assert read(stream, list(range(len(stream)))) == [each[1] for each in STREAM[:4]]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400\r\n\r\n",
        b"\x30\xff\xff\xff\xff\x01",
        packet(3, b""),
        packet(3, b"\0"),
        packet(3, b"\0\5a", flags=2),
        packet(3, b"\0\1a\0\0", flags=2),
        publish("a", b"x", qos=2),
        packet(CONNACK, b"\0"),
        packet(SUBACK, b"\0\1"),
        packet(1, b"\0\4MQTT"),
    ],
)
def test_what_is_not_for_a_subscriber_is_refused(nonsense: bytes) -> None:
    with pytest.raises(MqttError):
        list(feed(Reader(MOST), nonsense))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        list(feed(Reader(MOST), data))
    except MqttError:
        pass


def test_what_is_too_long_is_not_kept() -> None:
    reader, stream = Reader(MOST), publish("a", bytes(50 * MOST), qos=1)
    assert len(list(feed(reader, stream))) == 1
    assert len(reader._view) < 2 * MOST
