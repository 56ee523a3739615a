"""amqtt 0.12.1, repaired: a subclass of its broker and one of its connection handler.

Here are admission and conversation; who is sent what is in distribution.py.

Taken from amqtt: the packet codec, the check of a CONNECT, sessions, the stores of
subscriptions and of retained messages, and topic matching. Each fault below has its tests in
tests/broker/test_repairs.py, which plain amqtt fails and mosquitto, the reference, passes (1 and
7: test_broker_server.py); an upgrade of amqtt is the occasion to see which repairs can go.

 1. TLS: one SSLContext per listener made from file names, CERT_OPTIONAL hard-coded.
    -> listeners of our own (server.py); amqtt has none.
 2. Keepalive is never enforced (handle_read_timeout does nothing), so a will is not sent after
    a silent death, and a client that stops inside a packet is waited for without any limit.
 3. Take-over: a second connection with the same client id leaves the first one open
    (clean session), or the first one's end marks the new one as disconnected (persistent).
 4. Retained messages: a client that connects is sent those of *anyone's* subscription.
 5. Authentication comes last: a CONNECT with a wrong password deletes the victim's session.
    Wills are published without asking whether the client may publish there.
 6. No limit to a packet's size, and after a packet that cannot be decoded, reading goes on in
    the middle of it. No limit to the wait for a CONNECT.
 7. Shutdown waits for clients without limit.
 8. Packets of one client are handled by tasks that overtake each other: a DISCONNECT overtakes
    acknowledged messages, which are lost (seen with a topic plugin and 3000 of them).
 9. A QoS 1 message that is not acknowledged within 5 s, or before the connection ends, is
    lost, though the session is persistent; messages kept for an absent client arrive marked
    as retained.
10. QoS: a subscriber is sent a message at the subscription's QoS, also if it was published at
    a lower one; subscribing again does not change the QoS.

Known and left alone: QoS 2 is accepted from publishers but not granted to subscribers; MQTT 5
and $share are refused; sessions and retained messages live in memory only.
"""

import asyncio
import time

from amqtt.broker import AMQTT_MAGIC_VALUE_RET_SUBSCRIBED as SUBSCRIPTION_REFUSED
from amqtt.broker import Action
from amqtt.mqtt.connack import (
    CONNECTION_ACCEPTED,
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    ConnackPacket,
)
from amqtt.mqtt.disconnect import DisconnectPacket
from amqtt.mqtt.pingreq import PingReqPacket
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.pubrel import PubrelPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket
from amqtt.session import (
    IncomingApplicationMessage,
    Session,
)

from broker.accounts import Accounts
from broker.connection import Connection, Limits, decode, packet_id, read_connect, refuse
from broker.distribution import BACKLOG_BYTES, Distributor, payload_bytes
from broker.events import Emit
from broker.rules import may_use_client_id
from broker.streams import BoundedWriter, PacketReader, Refused

# Refusals told of one connection: a client may try as many topics as it likes.
COMPLAINTS_MAX = 20


class RepairedBroker(Distributor):
    """A broker for connections that someone else accepted: serve() takes each of them."""

    def __init__(self, accounts: Accounts, prefix: str, limits: Limits, emit: Emit) -> None:
        super().__init__(accounts, prefix, emit)
        self._limits = limits

    async def serve(
        self, reader: asyncio.StreamReader, stream: asyncio.StreamWriter, listener: str
    ) -> None:
        """One connection, from its CONNECT to its end."""
        packets = PacketReader(reader, self._limits.max_packet)
        writer = BoundedWriter(stream, self._limits.write_s)
        address = "{}:{}".format(*writer.get_peer_info())
        tls = writer.tls_version()
        try:
            connection = await self._admit(packets, writer)
        except Refused as refused:
            self._emit("refused", address=address, listener=listener, reason=str(refused))
        else:
            await self._converse_to_the_end(connection, address=address, listener=listener, tls=tls)
        finally:
            await writer.close()
            await writer.wait_closed(self._limits.close_s)

    async def shutdown(self) -> None:
        """End every connection and stop."""
        await asyncio.gather(*(live.close("broker stopped") for live in self._live.values()))
        await super().shutdown()

    # Admission

    async def _admit(self, reader: PacketReader, writer: BoundedWriter) -> Connection:
        """Judge the CONNECT; nothing of a session is touched before it is found good."""
        connection, session = await read_connect(
            reader, writer, self._limits.connect_s, self.plugins_manager
        )
        account, client_id = session.username, session.client_id or ""
        if not self._login(account, session.password):
            who = f" as {account}" if account else " without an account"
            await refuse(writer, NOT_AUTHORIZED, f"wrong account or password{who}")
        session.password = None
        if (device := writer.device_name()) not in (None, account):
            reason = f"{account} showed the certificate of {device or 'nobody'}"
            await refuse(writer, NOT_AUTHORIZED, reason)
        if not may_use_client_id(account or "", client_id):
            reason = f"client id {client_id} does not belong to account {account}"
            await refuse(writer, IDENTIFIER_REJECTED, reason)
        if session.will_flag and not self._may(session, session.will_topic, Action.PUBLISH):
            reason = f"{client_id} may not have a will on {session.will_topic}"
            await refuse(writer, NOT_AUTHORIZED, reason)

        while live := self._live.get(client_id):
            await live.close("taken over by a new connection")
        # From here to the end nothing waits, so no third connection can come between.
        self._live[client_id] = connection
        session = await self._session_for(session)
        connection.open(session, reader, writer)
        session.transitions.connect()
        self._sessions[client_id] = (session, connection)
        # MQTT 3.1.1, 3.1.2.10: one and a half times the keepalive; 0 switches it off.
        reader.idle_s = session.keep_alive * 1.5 or None
        connection.send(ConnackPacket.build(session.parent, CONNECTION_ACCEPTED))
        for message in session.inflight_out.values():
            connection.publish(message)
        return connection

    def _login(self, account: str | None, password: str | None) -> bool:
        self._refresh_accounts()
        return self._accounts.login(account, password)

    async def _session_for(self, new: Session) -> Session:
        """The session to go on with: a persistent one that is there, else the new one."""
        old, _ = self._sessions.get(new.client_id, (None, None))
        if old is None or old.clean_session or new.clean_session:
            await self._delete_session(new.client_id)
            return new
        for name in (
            "clean_session",
            "keep_alive",
            "username",
            "will_flag",
            "will_topic",
            "will_message",
            "will_qos",
            "will_retain",
        ):
            setattr(old, name, getattr(new, name))
        old.parent = 1
        return old

    # Conversation

    async def _converse_to_the_end(self, connection: Connection, **where: str) -> None:
        session = connection.session
        reason, is_clean = "internal error", False
        try:
            self._emit("connect", client=session.client_id, account=session.username, **where)
            is_clean = await self._converse(connection)
            reason = "by the client" if is_clean else "closed without a DISCONNECT"
        except Refused as refused:
            reason = str(refused)
        finally:
            await self._end(connection, connection.out.cut_off or reason, is_clean)

    async def _end(self, connection: Connection, reason: str, is_clean: bool) -> None:
        session = connection.session
        if not is_clean:
            connection.out.abort(reason)
        await connection.stop()
        session.transitions.disconnect()
        del self._live[session.client_id]
        self._emit(
            "disconnect",
            client=session.client_id,
            reason=reason,
            connected_s=round(time.monotonic() - connection.began, 1),
        )
        if session.will_flag and not is_clean and session.will_topic:
            await self._distribute(
                session,
                session.will_topic,
                bytes(session.will_message or b""),
                session.will_qos or 0,
                bool(session.will_retain),
            )
        if session.clean_session:
            await self._delete_session(session.client_id)
        else:
            # Without the connection: its TLS buffers are 256 KiB, for each client that is away.
            self._sessions[session.client_id] = (session, None)
        connection.ended.set()

    async def _converse(self, connection: Connection) -> bool:
        """Handle packets one after the other; True when the client took its leave."""
        session = connection.session
        while raw := await connection.stream.packet():
            packet = await decode(raw)
            match packet:
                case PublishPacket():
                    await self._take(connection, packet)
                case PubackPacket():
                    session.inflight_out.pop(packet_id(packet), None)
                case PubrelPacket():
                    await self._release(connection, packet)
                case SubscribePacket():
                    await self._subscribe(connection, packet)
                case UnsubscribePacket(payload=payload) if payload:
                    for topic_filter in payload.topics:
                        self._unsubscribe(topic_filter, session)
                    connection.send(UnsubackPacket.build(packet_id(packet)))
                case PingReqPacket():
                    connection.send(PingRespPacket.build())
                case DisconnectPacket():
                    return True
                case _:
                    raise Refused(f"sent a {type(packet).__name__}, which has no place here")
        return False

    async def _take(self, connection: Connection, packet: PublishPacket) -> None:
        topic, data, qos = packet.topic_name or "", packet.data or b"", packet.qos or 0
        session = connection.session
        if qos == 2:
            if payload_bytes(session.inflight_in) + len(data) > BACKLOG_BYTES:
                raise Refused("more QoS 2 messages than there is room for, none of them released")
            # A repetition replaces the first: it is distributed once, on release.
            session.inflight_in[packet_id(packet)] = IncomingApplicationMessage(
                packet.packet_id, topic, qos, data, packet.retain_flag
            )
            connection.send(PubrecPacket.build(packet_id(packet)))
            return
        if qos > 2:
            raise Refused("a PUBLISH with QoS 3")
        await self._publish(connection, topic, data, qos, packet.retain_flag)
        if qos == 1:
            connection.send(PubackPacket.build(packet_id(packet)))

    async def _release(self, connection: Connection, packet: PubrelPacket) -> None:
        message = connection.session.inflight_in.pop(packet_id(packet), None)
        if message:
            data = bytes(message.data)
            await self._publish(connection, message.topic, data, 2, message.retain)
        connection.send(PubcompPacket.build(packet_id(packet)))

    async def _publish(
        self, connection: Connection, topic: str, data: bytes, qos: int, retain: bool
    ) -> None:
        # Acknowledged all the same: MQTT 3.1.1 has no other answer (3.3.5), and mosquitto's
        # is this one too.
        if self._may(connection.session, topic, Action.PUBLISH):
            await self._distribute(connection.session, topic, data, qos, retain)
        else:
            self._complain(connection, f"may not publish to {topic}")

    async def _subscribe(self, connection: Connection, packet: SubscribePacket) -> None:
        session = connection.session
        wanted = packet.payload.topics if packet.payload else []
        codes = [await self.add_subscription(subscription, session) for subscription in wanted]
        connection.send(SubackPacket.build(packet_id(packet), codes))
        for (topic_filter, _), code in zip(wanted, codes, strict=True):
            if code == SUBSCRIPTION_REFUSED:
                self._complain(connection, f"may not subscribe to {topic_filter}")
                continue
            for topic, kept in self.retained_messages.items():
                if self._matches(topic, topic_filter):
                    qos = min(kept.qos or 0, code)
                    self._deliver(session, topic, bytes(kept.data), qos, retain=True)

    def _complain(self, connection: Connection, reason: str) -> None:
        # Once per connection: a camera with a wrong prefix tries at every snapshot.
        if reason not in connection.complained and len(connection.complained) < COMPLAINTS_MAX:
            connection.complained.add(reason)
            self._emit("denied", client=connection.session.client_id, reason=reason)
