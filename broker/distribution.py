"""Who is sent what, who may send it, and what is kept for whom (repairs 4, 9 and 10)."""

from collections.abc import Mapping

from amqtt.broker import Action, Broker
from amqtt.session import ApplicationMessage, OutgoingApplicationMessage, Session

from broker.accounts import Accounts
from broker.connection import Connection
from broker.errors import UserError
from broker.events import Emit
from broker.rules import may_publish, may_subscribe

# Messages kept for one client, in flight or while it is away: mosquitto's max_queued_messages.
BACKLOG_MAX = 1000
# And their payloads, in bytes: 1000 of the largest would be 2 GB, for each client that is away.
BACKLOG_BYTES = 64 * 1024 * 1024
# What a client chooses (its id, its account, topics) is up to 64 KB long; so much is told of it.
TOLD_MAX = 200


class Distributor(Broker):  # type: ignore[misc]
    """amqtt's broker with a distribution of our own; repairs.py has its connections."""

    def __init__(self, accounts: Accounts, prefix: str, emit: Emit) -> None:
        # bind None: amqtt opens no listener; {}: none of its plugins is loaded.
        super().__init__({"listeners": {"default": {"bind": None}}, "plugins": {}})
        self._accounts = accounts
        self._prefix = prefix
        self._emit_whole = emit
        self._live: dict[str, Connection] = {}
        self._dropping: set[str] = set()
        self._accounts_trouble = ""

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Store one subscription; the QoS granted, or 0x80 when it is refused."""
        topic_filter, qos = subscription
        # MQTT 3.1.1, 3.8.4: a second subscription to the same filter replaces the first.
        self._unsubscribe(topic_filter, session)
        return int(await super().add_subscription((topic_filter, min(qos, 1)), session))

    def _unsubscribe(self, topic_filter: str, session: Session) -> None:
        self._del_subscription(topic_filter, session)
        # amqtt keeps an empty list for every filter that there ever was.
        if self.subscriptions.get(topic_filter) == []:
            del self.subscriptions[topic_filter]

    async def _distribute(
        self, source: Session, topic: str, data: bytes, qos: int, retain: bool
    ) -> None:
        for topic_filter, subscribers in self.subscriptions.items():
            if self._matches(topic, topic_filter):
                for session, granted in subscribers:
                    self._deliver(session, topic, data, min(qos, granted))
        if retain:
            await self.retain_message(source, topic, data, qos)

    def _deliver(
        self, session: Session, topic: str, data: bytes, qos: int, retain: bool = False
    ) -> None:
        connection = self._live.get(session.client_id or "")
        if connection is None and (session.clean_session or not qos):
            return
        if not self._may(session, topic, Action.RECEIVE):
            return
        unsent = connection.outbox.qsize() if connection else 0
        unsent_bytes = connection.unsent_bytes if connection else 0
        if (
            max(unsent, session.inflight_out_count) >= BACKLOG_MAX
            or max(unsent_bytes, payload_bytes(session.inflight_out)) + len(data) > BACKLOG_BYTES
        ):
            self._tell_dropped(session.client_id)
            return
        self._dropping.discard(session.client_id)
        identifier = session.next_packet_id if qos else None
        message = OutgoingApplicationMessage(identifier, topic, qos, data, retain)
        if identifier:
            # Until it is acknowledged, over as many connections as that takes.
            session.inflight_out[identifier] = message
        if connection:
            connection.publish(message)

    def _tell_dropped(self, client_id: str) -> None:
        # Once for each time that it is full, and not for each message.
        if client_id not in self._dropping:
            self._dropping.add(client_id)
            limit = f"{BACKLOG_MAX} messages, or {BACKLOG_BYTES >> 20} MiB"
            reason = f"{limit}, wait for it: those that come now are lost"
            self._emit("dropped", client=client_id, reason=reason)

    def _may(self, session: Session, topic: str | None, action: Action) -> bool:
        # Each time: an account that was removed ends with its next message, not its next login.
        self._refresh_accounts()
        account = session.username or ""
        role = self._accounts.role(account)
        rule = may_publish if action == Action.PUBLISH else may_subscribe
        return role is not None and rule(self._prefix, account, role, topic or "")

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        """amqtt's question, when it adds a subscription."""
        return self._may(session, topic, action)

    def _refresh_accounts(self) -> None:
        trouble = ""
        try:
            self._accounts.refresh()
        except UserError as error:
            # Whoever was known stays known: a bad edit must not lock every camera out.
            trouble = str(error)
            if trouble != self._accounts_trouble:
                self._emit("warning", reason=trouble)
        self._accounts_trouble = trouble

    def _emit(self, event: str, **fields: object) -> None:
        """Tell of an event, as much of each word as there is room for in a log."""
        short = {
            name: f"{value[:TOLD_MAX]}..."
            if isinstance(value, str) and len(value) > TOLD_MAX
            else value
            for name, value in fields.items()
        }
        self._emit_whole(event, **short)


def payload_bytes(messages: Mapping[int, ApplicationMessage]) -> int:
    """Their payloads, in bytes."""
    return sum(len(message.data) for message in messages.values())
