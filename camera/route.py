"""One path for snapshots: to a broker, by way of the spool while that is out of reach.

With mode failover there is one route to the first broker that works, with mode mirror one
route to each.
"""

import sys

from camera import drops, health, log, topics
from camera.dialer import Dialer
from camera.drops import Drops
from camera.errors import CameraError, code_of
from camera.spool import Spool

# A snapshot that a broker ends the connection for, such as one over its limit, must not
# keep all others back for ever.
SEND_TRIES = 5


class _Tries:
    """How often one snapshot was sent in vain."""

    def __init__(self):
        self.identity = None
        self.count = 0

    def one_more(self, identity):
        self.count = self.count + 1 if identity == self.identity else 1
        self.identity = identity


class Route:
    """app: the app.App; name: of the route, in file names; brokers: of the settings, ordered.

    held: (seq, parts) of the newest snapshot, still in the frame buffer and not acknowledged.
    No method raises.
    """

    def __init__(self, app, name, brokers, settings):
        self.held = None
        self.dialer = Dialer(app, name, brokers, settings)
        self.drops = Drops("drops" + name)
        self.spool = Spool(settings["spool"], name, self.drops, app.uptime)
        self._app = app
        self._health_ms = int(settings["camera"]["health_s"] * 1000)
        self._live_first = settings["delivery"]["first"] == "live"
        prefix = settings["topics"]["prefix"]
        camera_id = settings["camera"]["id"]
        self._jpeg_topic = topics.topic(prefix, camera_id, topics.JPEG).encode()
        self._state_topic = topics.topic(prefix, camera_id, topics.STATE).encode()
        self._health_topic = topics.topic(prefix, camera_id, topics.HEALTH).encode()
        self._cmd_topic = topics.topic(prefix, camera_id, topics.CMD).encode()
        self._result_topic = topics.topic(prefix, camera_id, topics.CMD_RESULT).encode()
        self._session = None
        self._health_at_ms = 0
        self._held_tries = _Tries()
        self._stored_tries = _Tries()
        self._tries = None  # of the snapshot that is being sent

    def is_connected(self):
        return self._session is not None

    def step(self):
        """Connect, if it is time to, or send what is next."""
        now = self._app.uptime.ms()
        try:
            if self._session is None:
                if now >= self.dialer.try_at_ms:
                    self._begin(self.dialer.connect(self._state_topic))
                return
            if now >= self._health_at_ms:
                self._send_health(now)
            return_at_ms = self.dialer.return_at_ms
            if return_at_ms is not None and now >= return_at_ms:
                self._try_to_return()
            self._send_next()
        # A ValueError out of mbedTLS, an IndexError out of umqtt.simple: whatever it is, it
        # ends this connection and nothing else.
        except Exception as error:
            self._failed(error)

    def serve(self, limit_ms):
        """The broker's turn for at most limit_ms."""
        try:
            self._session.service(limit_ms)
        except Exception as error:
            self._failed(error)

    def due_ms(self):
        """The uptime at which step() has something to do."""
        if self._session is None:
            return self.dialer.try_at_ms
        if self.held is not None or self.spool.count:
            return 0
        return self._health_at_ms

    def health_now(self):
        """The next step sends a health message."""
        self._health_at_ms = 0

    def answer(self, text):
        """Send the answer to a command."""
        if self._session is not None:
            try:
                self._session.publish(self._result_topic, text)
            except Exception as error:
                self._failed(error)

    def put_away(self):
        """Store the held snapshot: its place is needed for the next."""
        if self.held is not None:
            seq, parts = self.held
            self.held = None
            self.spool.put(self._app.boot, seq, parts)

    def leave(self):
        """Take leave of the broker."""
        if self._session is None:
            return
        session, self._session = self._session, None
        try:
            # A broker publishes no will after a DISCONNECT: its subscribers would see the
            # camera online for ever.
            offline = health.will(self._app.boot, self.dialer.conn)
            session.publish(self._state_topic, offline, True)
        except Exception as error:
            log.line("taking leave: " + code_of(error))
        session.disconnect()

    def oldest(self):
        """The (boot, seq) of the oldest snapshot that is not acknowledged, or None."""
        first = self.spool.first()
        if first is None and self.held is not None:
            first = (self._app.boot, self.held[0])
        return first

    def settled_seq(self):
        """Every snapshot of this boot up to here was acknowledged or dropped."""
        first = self.spool.first_of(self._app.boot)
        if first is None and self.held is not None:
            first = self.held[0]
        return self._app.seq if first is None else first - 1

    def _begin(self, session):
        self._session = session
        session.set_callback(self._take)
        session.publish(self._state_topic, health.birth(self._app, self.dialer), True)
        # Only now: whoever sees the answer to a command sees a camera that is online.
        session.subscribe(self._cmd_topic, 1)
        log.line("listening for commands")
        self.dialer.succeeded()
        self._health_at_ms = 0

    def _try_to_return(self):
        """Go back to a preferred broker, keeping the connection until that works."""
        session = self.dialer.connect_to_better(self._state_topic)
        if session is not None:
            self.leave()
            self._begin(session)

    def _failed(self, error):
        if isinstance(error, CameraError):
            log.line(str(error))
        else:
            sys.print_exception(error)
        self._app.is_sending_frame = False
        if self._session is not None:
            self._session.close()
            self._session = None
        tries, self._tries = self._tries, None
        if tries and tries.count >= SEND_TRIES and code_of(error) == "broker_closed":
            self._give_up(tries.identity)
        self.dialer.failed(error)

    def _send_next(self):
        if self.held is not None and (self._live_first or not self.spool.count):
            self._send_held()
        elif self.spool.count:
            self._send_stored()

    def _send_held(self):
        held = self.held
        seq, parts = held
        self._sending(self._held_tries, (self._app.boot, seq))
        self._app.is_sending_frame = True
        self._session.send(self._jpeg_topic, parts)
        self._app.is_sending_frame = False
        self._session.await_puback()
        self._sent()
        if self.held is held:
            self.held = None
        else:
            # It was put away, for the next was due before the PUBACK came.
            self.spool.remove(self._app.boot, seq)

    def _send_stored(self):
        stored = self.spool.oldest()
        if stored is None:
            return
        self._sending(self._stored_tries, (stored.boot, stored.seq))
        try:
            self._session.send(self._jpeg_topic, (stored,))
            self._session.await_puback()
        finally:
            self.spool.close(stored)
        self._sent()
        self.spool.remove(stored.boot, stored.seq)

    def _sending(self, tries, identity):
        tries.one_more(identity)
        self._tries = tries

    def _sent(self):
        self._tries = None
        self._app.succeeded()

    def _give_up(self, identity):
        boot, seq = identity
        if self.held is not None and identity == (self._app.boot, self.held[0]):
            self.held = None
            self.drops.add(boot, seq, seq, drops.REFUSED)
            self.drops.keep()
        else:
            self.spool.drop(boot, seq, drops.REFUSED)

    def _send_health(self, now):
        self._health_at_ms = now + self._health_ms
        self._app.collect()
        self._session.publish(self._health_topic, health.health(self._app, self))
        self.drops.told()

    def _take(self, topic, message):
        # A publish may be under way: the application runs it between two steps.
        self._app.commands.take(message, self)
