"""The service around the repaired amqtt: hostile input, renewal while it runs, and its end."""

import gc
import io
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from broker import distribution, repairs
from broker.authority import Authority
from broker.certificates import Chain
from broker.connection import Connection, Limits
from broker.errors import UserError
from broker.events import emit_json, emit_line
from broker.streams import BoundedWriter
from tests.broker.local import NAMES, LocalBroker
from tests.brokers import Endpoint, wait_for
from tests.packets import PINGREQ, RawClient, connect, packet, publish

StartBroker = Callable[..., LocalBroker]


def plain(broker: LocalBroker) -> RawClient:
    """A TCP connection without TLS."""
    address = ("127.0.0.1", broker.endpoint.port)
    return RawClient(socket.create_connection(address, timeout=20))


def leaf_seen_by(endpoint: Endpoint) -> x509.Certificate:
    with endpoint.tls() as stream:
        der = stream.getpeercert(binary_form=True)
    assert der
    return x509.load_der_x509_certificate(der)


class TestHostile:
    """Each costs its own connection and one line, and nothing else."""

    @pytest.mark.parametrize(
        "garbage",
        [b"GET / HTTP/1.1\r\n\r\n", connect("cam1"), bytes(1000), b"\x16\x03\x01\xff\xff" * 100],
        ids=["HTTP", "MQTT without TLS", "zeros", "almost TLS"],
    )
    def test_garbage_instead_of_tls(self, local_broker: LocalBroker, garbage: bytes) -> None:
        client = plain(local_broker)
        client.send(garbage)
        client.wait_closed()
        assert local_broker.event("refused")["reason"].startswith("TLS: ")
        assert local_broker.endpoint.raw("cam1").is_idle()

    @pytest.mark.parametrize(
        ("garbage", "reason"),
        [
            (b"GET / HTTP/1.1\r\n\r\n" * 20, "not MQTT: the first packet is no CONNECT"),
            (packet(PINGREQ), "not MQTT: the first packet is no CONNECT"),
            (packet(1, b"\x00\x04MQTT"), "malformed CONNECT"),
            (packet(1, b""), "malformed CONNECT"),
            (packet(1, b"\xff" * 50), "malformed CONNECT"),
            (packet(1, connect("cam1")[2:].replace(b"MQTT", b"\xff\x00\x1b[")), "malformed CONN"),
            (packet(1, connect("cam1")[2:].replace(b"MQTT\x04", b"MQTT\x05")), "malformed CONNECT"),
            (b"\x10\xff\xff\xff\xff\xff", "not MQTT: malformed packet length"),
            (b"\x10\xff\xff\xff\x7f", "a packet of 268435460 bytes, more than the limit"),
        ],
    )
    def test_garbage_instead_of_mqtt(
        self, local_broker: LocalBroker, garbage: bytes, reason: str
    ) -> None:
        client = RawClient(local_broker.endpoint.tls())
        client.send(garbage)
        client.wait_closed()
        assert local_broker.event("refused")["reason"].startswith(reason)
        assert local_broker.endpoint.raw("cam1").is_idle()

    def test_who_never_begins_tls(self, start_broker: StartBroker) -> None:
        broker = start_broker(Limits(handshake_s=0.2))
        plain(broker).wait_closed()
        assert broker.event("refused")["reason"].startswith("TLS: ")

    def test_who_never_sends_connect(self, start_broker: StartBroker) -> None:
        broker = start_broker(Limits(connect_s=0.2))
        RawClient(broker.endpoint.tls()).wait_closed()
        assert broker.event("refused")["reason"] == "sent no CONNECT within 0.2 s"

    def test_who_sends_connect_too_slowly(self, start_broker: StartBroker) -> None:
        broker = start_broker(Limits(connect_s=0.3))
        client = RawClient(broker.endpoint.tls())
        client.send(connect("cam1")[:5])
        client.wait_closed()
        assert broker.event("refused")["reason"] == "sent no CONNECT within 0.3 s"

    def test_who_does_not_read(self, start_broker: StartBroker) -> None:
        broker = start_broker(Limits(write_s=0.5))
        slow = broker.endpoint.raw("watcher")
        slow.subscribe(("cameras/#", 0))
        camera = broker.endpoint.raw("cam1")
        for _ in range(16):
            camera.send(publish("cameras/cam1/jpeg", bytes(1024 * 1024)))
        # Nobody else has to wait for it.
        assert camera.is_idle()
        assert broker.event("disconnect")["reason"] == "did not read for 0.5 s"

    def test_who_reads_slowly(
        self, local_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The limit is for each small piece of a packet, so that steady progress is enough."""
        pieces: list[int] = []
        write = BoundedWriter.write

        def counted(writer: BoundedWriter, data: bytes) -> None:
            pieces.append(len(data))
            write(writer, data)

        monkeypatch.setattr(BoundedWriter, "write", counted)
        watcher = local_broker.endpoint.raw("watcher")
        watcher.subscribe(("cameras/#", 0))
        sent = os.urandom(1_000_000)
        local_broker.endpoint.raw("cam1").send(publish("cameras/cam1/jpeg", sent))
        assert watcher.message().payload == sent
        assert max(pieces) <= 65536

    def test_a_payload_of_5_mib(self, local_broker: LocalBroker) -> None:
        with local_broker.endpoint.paho("cam1") as camera:
            left = threading.Event()
            camera.on_disconnect = lambda *_: left.set()
            camera.publish("cameras/cam1/jpeg", bytes(5 * 1024 * 1024), 1)
            assert left.wait(20)
        reason = local_broker.event("disconnect")["reason"]
        assert reason.endswith("more than the limit of 2097152")

    def test_too_many_messages_for_who_is_away(self, local_broker: LocalBroker) -> None:
        endpoint = local_broker.endpoint
        watcher = endpoint.raw("watcher", clean=False)
        watcher.subscribe(("cameras/#", 1))
        watcher.leave()
        camera = endpoint.raw("cam1")
        for number in range(1005):
            camera.send(publish("cameras/cam1/jpeg", b"x", 1, number + 1))
            camera.receive()
        assert local_broker.event("dropped")["client"] == "watcher"
        assert [e["event"] for e in local_broker.events].count("dropped") == 1

    def test_too_many_bytes_for_who_is_away(
        self, local_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(distribution, "BACKLOG_BYTES", 100_000)
        endpoint = local_broker.endpoint
        watcher = endpoint.raw("watcher", clean=False)
        watcher.subscribe(("cameras/#", 1))
        watcher.leave()
        local_broker.event("disconnect")
        camera = endpoint.raw("cam1")
        for number in range(1, 4):
            camera.send(publish("cameras/cam1/jpeg", bytes(40_000), 1, number))
            camera.receive()
        assert local_broker.event("dropped")["client"] == "watcher"
        watcher = endpoint.raw("watcher", clean=False)
        for _ in range(2):
            watcher.acknowledge(watcher.message())
        assert watcher.is_idle()

    def test_qos_2_that_is_never_released(
        self, local_broker: LocalBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(repairs, "BACKLOG_BYTES", 100_000)
        camera = local_broker.endpoint.raw("cam1")
        for number in range(1, 4):
            camera.send(publish("cameras/cam1/jpeg", bytes(40_000), 2, number))
        camera.wait_closed()
        assert "none of them released" in local_broker.event("disconnect")["reason"]

    def test_long_words_do_not_fill_the_log(self, local_broker: LocalBroker) -> None:
        endpoint = local_broker.endpoint
        long = "x" * 60_000
        stranger = RawClient(endpoint.tls())
        stranger.send(connect("cam1", long, "wrong"))
        stranger.wait_closed()
        camera = endpoint.raw("cam1", client_id=f"cam1/{long}")
        for number in range(100):
            camera.send(publish(f"{number}{long}", b"", 1))
            camera.receive()
        told = [event for event in local_broker.events if event["event"] == "denied"]
        assert 0 < len(told) <= 20
        assert len(repr(local_broker.events)) < 20_000

    def test_the_events_hold_no_secret(self, local_broker: LocalBroker) -> None:
        endpoint = local_broker.endpoint
        endpoint.raw("cam1").leave()
        client = RawClient(endpoint.tls())
        client.send(connect("cam1", "cam1", "a wrong password"))
        client.wait_closed()
        local_broker.event("refused")
        told = repr(local_broker.events)
        for secret in (*endpoint.passwords.values(), "a wrong password"):
            assert secret not in told


class TestRenewal:
    def test_without_dropping_a_connection(self, start_broker: StartBroker, data: Path) -> None:
        # A leaf that was issued 61 of its 90 days ago.
        past = datetime.now(UTC) - timedelta(days=61)
        Authority(data / "authority", NAMES, now=lambda: past).ensure()
        broker = start_broker(renewal_check_s=0.1, now=lambda: past)
        try:
            old = leaf_seen_by(broker.endpoint)
            connections = [
                Endpoint(port, broker.endpoint.anchor, broker.endpoint.passwords).raw(
                    "cam1", client_id=f"cam1/{port}"
                )
                for port in broker.server.ports.values()
            ]
        finally:
            broker.server.authority.now = lambda: datetime.now(UTC)
        broker.event("renewed")
        wait_for(lambda: [e["event"] for e in broker.events].count("renewed") == 2, "both renewals")
        new = leaf_seen_by(broker.endpoint)
        assert new.serial_number != old.serial_number
        assert new.not_valid_after_utc - old.not_valid_after_utc > timedelta(days=60)
        assert all(connection.is_idle() for connection in connections)

    def test_a_failure_is_told_and_changes_nothing(
        self, start_broker: StartBroker, data: Path
    ) -> None:
        broker = start_broker(renewal_check_s=0.1)
        before = leaf_seen_by(broker.endpoint)
        (data / "authority" / "x1.key").write_bytes(b"damaged")
        assert "not renewed" in broker.event("warning")["reason"]
        assert leaf_seen_by(broker.endpoint) == before

    def test_one_chain_renewed_and_then_a_failure(
        self, start_broker: StartBroker, data: Path
    ) -> None:
        broker = start_broker(renewal_check_s=0.1)
        before = leaf_seen_by(broker.endpoint)
        ensure = broker.server.authority.ensure

        def ensure_half() -> list[Chain]:
            (data / "authority" / "ecdsa.pem").unlink(missing_ok=True)
            ensure()
            broker.server.authority.ensure = ensure  # type: ignore[method-assign]
            raise UserError("the disk is full")

        broker.server.authority.ensure = ensure_half  # type: ignore[method-assign]
        assert "the disk is full" in broker.event("warning")["reason"]
        assert broker.event("renewed")["listener"] == "ecdsa"
        assert leaf_seen_by(broker.endpoint) != before


class TestAccounts:
    def test_a_file_that_cannot_be_read_locks_nobody_out(
        self, local_broker: LocalBroker, data: Path
    ) -> None:
        local_broker.endpoint.raw("cam1").leave()
        (data / "accounts.json").unlink()
        (data / "accounts.json").mkdir()
        assert local_broker.endpoint.raw("cam1").is_idle()
        assert "cannot read the accounts" in local_broker.event("warning")["reason"]

    def test_one_that_is_removed_loses_its_rights_at_once(
        self, local_broker: LocalBroker, data: Path
    ) -> None:
        watcher = local_broker.endpoint.raw("watcher")
        watcher.subscribe(("cameras/#", 1))
        camera = local_broker.endpoint.raw("cam1")
        kept = json.loads((data / "accounts.json").read_text())
        del kept["accounts"]["cam1"]
        (data / "accounts.json").write_text(json.dumps(kept))
        camera.send(publish("cameras/cam1/jpeg", b"stolen", 1))
        camera.receive()
        assert local_broker.event("denied")["client"] == "cam1"
        assert watcher.is_idle()


def test_a_client_that_is_away_keeps_no_connection(local_broker: LocalBroker) -> None:
    for _ in range(2):
        local_broker.endpoint.raw("cam1", clean=False).leave()
        local_broker.event("disconnect")
        local_broker.events.clear()

    def none_left() -> bool:
        gc.collect()
        return not any(isinstance(each, Connection) for each in gc.get_objects())

    wait_for(none_left, "the connections to go")


class TestEnd:
    def test_whatever_clients_do(self, start_broker: StartBroker) -> None:
        broker = start_broker()
        clients = [
            broker.endpoint.raw("cam1"),
            broker.endpoint.raw("cam2", keepalive=0),
            plain(broker),
            RawClient(broker.endpoint.tls()),
        ]
        clients[0].send(publish("cameras/cam1/jpeg", bytes(100_000))[:50_000])
        stuck = broker.endpoint.raw("watcher")
        stuck.subscribe(("cameras/#", 0))
        for _ in range(16):
            clients[1].send(publish("cameras/cam2/jpeg", bytes(1024 * 1024)))
        assert clients[1].is_idle()
        began = time.monotonic()
        broker.run(broker.server.stop())
        assert time.monotonic() - began < 5
        for client in clients:
            client.wait_closed()
        with pytest.raises(OSError):
            plain(broker)

    def test_start_again_on_the_same_data(self, start_broker: StartBroker) -> None:
        first = start_broker()
        first.run(first.server.stop())
        second = start_broker()
        assert second.server.anchors == first.server.anchors
        assert second.endpoint.passwords == first.endpoint.passwords
        assert second.endpoint.raw("cam1").is_idle()


def test_each_listener_has_its_own_kind_of_key(local_broker: LocalBroker) -> None:
    kinds = {"ecdsa": "ECDHE-ECDSA-AES256-GCM-SHA384", "rsa": "ECDHE-RSA-AES256-GCM-SHA384"}
    for name, port in local_broker.server.ports.items():
        context = local_broker.endpoint.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as stream:
            assert stream.cipher()[0] == kinds[name]  # type: ignore[index]


def test_a_log_on_a_full_disk_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for name, emit in (("stdout", emit_json), ("stderr", emit_line)):
            with monkeypatch.context() as patch:
                patch.setattr(sys, name, io.TextIOWrapper(io.FileIO(full, "w", closefd=False)))
                emit("connect", client="cam1")
    finally:
        os.close(full)
