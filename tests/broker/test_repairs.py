"""One test per fault of amqtt that broker/repairs.py mends; mosquitto passes each of them too.

The numbers are those of the list in broker/repairs.py.
"""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.brokers import Endpoint, wait_for
from tests.packets import CONNACK, DISCONNECT, PINGREQ, PUBACK, RawClient, connect, packet, publish

ALL = ("cameras/#", 1)
WILL = ("cameras/cam1/state", b"gone")


@contextlib.contextmanager
def watching(broker: Endpoint) -> Iterator[RawClient]:
    """A watcher subscribed to everything at QoS 1."""
    watcher = broker.raw("watcher")
    assert watcher.subscribe(ALL) == [1]
    yield watcher
    watcher.leave()


class TestKeepalive:
    """Fault 2."""

    def test_will_after_a_silent_death(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1", keepalive=1, will=WILL)
            assert watcher.message().payload == b"gone"
            camera.wait_closed()

    def test_will_after_a_death_inside_a_packet(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1", keepalive=1, will=WILL)
            camera.send(publish("cameras/cam1/jpeg", bytes(900))[:500])
            assert watcher.message().payload == b"gone"
            camera.wait_closed()

    def test_pings_keep_it_alive(self, any_broker: Endpoint) -> None:
        camera = any_broker.raw("cam1", keepalive=1, will=WILL)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert camera.is_idle()
            time.sleep(0.4)
        camera.leave()

    def test_a_packet_that_takes_longer_than_the_keepalive(self, any_broker: Endpoint) -> None:
        data = publish("cameras/cam1/jpeg", bytes(20_000))
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1", keepalive=1, will=WILL)
            for start in range(0, len(data), 3000):
                camera.send(data[start : start + 3000])
                time.sleep(0.5)
            assert len(watcher.message().payload) == 20_000
            camera.leave()


class TestTakeOver:
    """Fault 3."""

    @pytest.mark.parametrize("clean", [True, False])
    def test_the_old_connection_is_closed_and_the_new_one_works(
        self, any_broker: Endpoint, clean: bool
    ) -> None:
        old = any_broker.raw("watcher", client_id="watcher/1", clean=clean)
        old.subscribe(ALL)
        new = any_broker.raw("watcher", client_id="watcher/1", clean=clean)
        assert new.has_session is not clean
        old.wait_closed()
        if clean:
            new.subscribe(ALL)
        camera = any_broker.raw("cam1")
        camera.send(publish("cameras/cam1/jpeg", b"picture"))
        assert new.message().payload == b"picture"
        new.leave()
        camera.leave()

    def test_the_will_of_the_old_connection_is_sent(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            any_broker.raw("cam1", will=WILL)
            again = any_broker.raw("cam1", will=("cameras/cam1/state", b"second"))
            assert watcher.message().payload == b"gone"
            again.leave()
            assert watcher.is_idle()


class TestRetained:
    """Fault 4."""

    def test_only_to_those_who_subscribed(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1")
            camera.send(publish("cameras/cam1/state", b"online", 1, retain=True))
            assert camera.receive()[0] == PUBACK
            assert not watcher.message().retain
            other = any_broker.raw("cam2")
            assert other.is_idle()
            late = any_broker.raw("watcher", client_id="watcher/late")
            assert late.is_idle()
            late.subscribe(("cameras/+/state", 1))
            state = late.message()
            assert (state.payload, state.retain, state.qos) == (b"online", True, 1)
            for client in (camera, other, late):
                client.leave()

    def test_a_resumed_session_is_not_sent_them_again(self, any_broker: Endpoint) -> None:
        watcher = any_broker.raw("watcher", clean=False)
        watcher.subscribe(ALL)
        camera = any_broker.raw("cam1")
        camera.send(publish("cameras/cam1/state", b"online", 1, retain=True))
        watcher.acknowledge(watcher.message())
        assert watcher.is_idle()
        watcher.leave()
        again = any_broker.raw("watcher", clean=False)
        assert again.has_session
        assert again.is_idle()

    def test_an_empty_one_clears(self, any_broker: Endpoint) -> None:
        camera = any_broker.raw("cam1")
        for payload in (b"online", b""):
            camera.send(publish("cameras/cam1/state", payload, 1, retain=True))
            assert camera.receive()[0] == PUBACK
        with watching(any_broker) as watcher:
            assert watcher.is_idle()


class TestAuthenticationOrder:
    """Fault 5."""

    def test_a_wrong_password_does_not_touch_a_live_client(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as victim:
            attacker = RawClient(any_broker.tls())
            attacker.send(connect("watcher", "watcher", "wrong"))
            kind, _, body = attacker.receive()
            assert kind == CONNACK
            assert body[1] in (4, 5)
            attacker.wait_closed()
            camera = any_broker.raw("cam1")
            camera.send(publish("cameras/cam1/jpeg", b"picture"))
            assert victim.message().payload == b"picture"

    def test_a_wrong_password_does_not_touch_a_session(self, any_broker: Endpoint) -> None:
        victim = any_broker.raw("watcher", clean=False)
        victim.subscribe(ALL)
        victim.leave()
        attacker = RawClient(any_broker.tls())
        attacker.send(connect("watcher", "watcher", "wrong"))
        attacker.wait_closed()
        again = any_broker.raw("watcher", clean=False)
        assert again.has_session
        camera = any_broker.raw("cam1")
        camera.send(publish("cameras/cam1/jpeg", b"picture"))
        assert again.message().payload == b"picture"

    def test_no_account(self, any_broker: Endpoint) -> None:
        client = RawClient(any_broker.tls())
        client.send(connect("cam1"))
        kind, _, body = client.receive()
        assert kind == CONNACK
        assert body[1] in (4, 5)
        client.wait_closed()

    def test_a_will_where_the_client_may_not_publish(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            liar = RawClient(any_broker.tls())
            will = ("cameras/cam2/state", b"gone")
            liar.send(connect("cam1", "cam1", any_broker.passwords["cam1"], will=will))
            assert liar.receive()[0] == CONNACK
            liar.vanish()
            # The order of events is the broker's: what cam1 left behind comes before this.
            camera = any_broker.raw("cam1")
            camera.send(publish("cameras/cam1/jpeg", b"picture"))
            assert watcher.message().payload == b"picture"


class TestPackets:
    """Fault 6."""

    def test_too_large_is_cut_off_before_its_payload(self, any_broker: Endpoint) -> None:
        camera = any_broker.raw("cam1")
        whole = publish("cameras/cam1/jpeg", bytes(5 * 1024 * 1024))
        camera.send(whole[:100])
        camera.wait_closed()

    def test_as_large_as_allowed(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1")
            payload = bytes(2 * 1024 * 1024 - 100)
            camera.send(publish("cameras/cam1/jpeg", payload, 1))
            assert camera.receive()[0] == PUBACK
            assert watcher.message().payload == payload

    def test_a_packet_that_cannot_be_decoded_ends_the_connection(
        self, any_broker: Endpoint
    ) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1")
            # amqtt would read on and take the payload for a packet.
            camera.send(publish("cameras/+/jpeg", publish("cameras/cam1/jpeg", b"smuggled")))
            camera.wait_closed()
            assert watcher.is_idle()

    @pytest.mark.parametrize(
        "garbage",
        [
            b"\x00\x00",
            b"\x30\xff\xff\xff\xff\x01",
            packet(2, b"\x00\x00"),
            publish("cameras/cam1/jpeg", b"", qos=3),
            connect("cam1"),
        ],
        ids=["type 0", "endless length", "CONNACK", "QoS 3", "second CONNECT"],
    )
    def test_protocol_errors_end_the_connection(self, any_broker: Endpoint, garbage: bytes) -> None:
        camera = any_broker.raw("cam1")
        camera.send(garbage)
        camera.wait_closed()
        assert any_broker.raw("cam1").is_idle()

    def test_a_protocol_error_sends_the_will(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1", will=WILL)
            camera.send(packet(2, bytes(2)))
            assert watcher.message().payload == b"gone"


class TestOrder:
    """Fault 8."""

    def test_a_burst_and_a_leave_taking_in_one_piece(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1", will=WILL)
            burst = b"".join(
                publish("cameras/cam1/jpeg", str(n).encode(), 1, packet_id=n + 1)
                for n in range(100)
            )
            camera.send(burst + packet(DISCONNECT))
            for number in range(100):
                message = watcher.message()
                watcher.acknowledge(message)
                assert message.payload == str(number).encode()
            wait_for(watcher.is_idle, "no will")

    def test_nothing_published_is_lost_when_connect_and_leave_follow_at_once(
        self, any_broker: Endpoint
    ) -> None:
        with watching(any_broker) as watcher:
            camera = RawClient(any_broker.tls())
            camera.send(
                connect("cam1", "cam1", any_broker.passwords["cam1"], will=WILL)
                + publish("cameras/cam1/jpeg", b"picture", 1)
                + packet(DISCONNECT)
            )
            message = watcher.message()
            watcher.acknowledge(message)
            assert message.payload == b"picture"
            camera.wait_closed()
            assert watcher.is_idle()


class TestRedelivery:
    """Fault 9."""

    def test_what_was_not_acknowledged_comes_again(self, any_broker: Endpoint) -> None:
        watcher = any_broker.raw("watcher", clean=False)
        watcher.subscribe(ALL)
        camera = any_broker.raw("cam1")
        camera.send(publish("cameras/cam1/jpeg", b"picture", 1))
        first = watcher.message()
        assert not first.dup
        watcher.vanish()
        again = any_broker.raw("watcher", clean=False)
        second = again.message()
        assert (second.payload, second.dup) == (b"picture", True)
        again.acknowledge(second)
        assert again.is_idle()
        again.leave()
        assert any_broker.raw("watcher", clean=False).is_idle()

    def test_what_came_while_it_was_away(self, any_broker: Endpoint) -> None:
        watcher = any_broker.raw("watcher", clean=False)
        watcher.subscribe(ALL)
        watcher.leave()
        camera = any_broker.raw("cam1")
        for number in (1, 2, 3):
            camera.send(publish("cameras/cam1/jpeg", str(number).encode(), 1, number))
            assert camera.receive()[0] == PUBACK
        camera.send(publish("cameras/cam1/jpeg", b"not kept", 0))
        assert camera.is_idle()
        again = any_broker.raw("watcher", clean=False)
        for number in (1, 2, 3):
            message = again.message()
            assert (message.payload, message.retain, message.dup) == (
                str(number).encode(),
                False,
                False,
            )
            again.acknowledge(message)
        assert again.is_idle()


class TestQos:
    """Fault 10."""

    def test_the_lower_of_both(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1")
            camera.send(publish("cameras/cam1/jpeg", b"zero", 0))
            assert watcher.message().qos == 0
            watcher.subscribe(("cameras/#", 0))
            camera.send(publish("cameras/cam1/jpeg", b"one", 1))
            assert watcher.message().qos == 0

    def test_qos_2_is_distributed_once(self, any_broker: Endpoint) -> None:
        with watching(any_broker) as watcher:
            camera = any_broker.raw("cam1")
            data = publish("cameras/cam1/jpeg", b"picture", 2)
            for _ in range(2):
                camera.send(data)
                assert camera.receive()[0] == 5  # PUBREC
            for _ in range(2):
                camera.send(packet(6, b"\x00\x01", 2))  # PUBREL
                assert camera.receive()[0] == 7  # PUBCOMP
            message = watcher.message()
            assert message.payload == b"picture"
            assert watcher.is_idle()
            camera.send(packet(PINGREQ))
