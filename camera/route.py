"""One path for snapshots: to a broker, by way of the spool while that is out of reach.

With mode failover there is one route to the first broker that works, with mode mirror one
route to each.
"""

import sys

from camera import drops, health, log, topics
from camera.dialer import Dialer
from camera.drops import Drops
from camera.errors import CameraError, code_of
from camera.flight import Flight
from camera.spool import Spool


class Route:
    """app: the app.App; name: of the route, in file names; brokers: of the settings, ordered.

    held: ((boot, seq), parts) of the newest snapshot while it is in the frame buffer and not
    acknowledged. No method raises.
    """

    def __init__(self, app, name, brokers, settings):
        self.held = None
        self.dialer = Dialer(app, name, brokers, settings)
        self.drops = Drops("drops" + name)
        # Everything that is not acknowledged is in the spool, in a copy of the flight's, or
        # held: in this order, oldest first. It leaves when its PUBACK comes.
        self._flight = Flight(settings["delivery"]["window"], len(settings["brokers"]))
        in_flight = self._flight.in_flight
        self.spool = Spool(settings["spool"], name, self.drops, app.uptime, in_flight)
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
        return self._health_at_ms if self._next() is None else 0

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
        """Make room in the frame buffer: what is held is needed until it is acknowledged."""
        if self.held is None:
            return
        identity, parts = self.held
        if identity in self._flight.in_flight and self._flight.copy(identity, parts):
            self.held = None
        else:
            self.store()

    def store(self):
        """Put on the spool what is nowhere else, oldest first."""
        self._store_copies()
        if self.held is not None:
            identity, parts = self.held
            self.held = None
            self.spool.put(identity, parts)

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
        self._flight.lost(False)
        self._store_copies()

    def oldest(self):
        """The (boot, seq) of the oldest snapshot that is not acknowledged, or None."""
        return self.spool.index.first() or self._oldest_in_ram()

    def settled_seq(self):
        """Every snapshot of this boot up to here was acknowledged or dropped."""
        first = self.spool.index.first_of(self._app.boot) or self._oldest_in_ram()
        return self._app.seq if first is None else first[1] - 1

    def _store_copies(self):
        copy = self._flight.oldest_copy()
        while copy is not None:
            self.spool.put(copy[0], copy[1])
            self._flight.drop_copy(copy[0])
            copy = self._flight.oldest_copy()

    def _oldest_in_ram(self):
        oldest = self._flight.oldest_copy() or self.held
        return None if oldest is None else oldest[0]

    def _begin(self, session):
        self._session = session
        session.set_callback(self._take)
        session.on_puback = self._acknowledged
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
        refused = self._flight.lost(code_of(error) == "broker_closed")
        self._store_copies()
        if refused is not None:
            self._give_up(refused)
        self.dialer.failed(error)

    def _next(self):
        """The (boot, seq) of what may be sent now, or None."""
        if not self._flight.has_room():
            return None
        identity = None
        if self.held is not None and self.held[0] not in self._flight.in_flight:
            identity = self.held[0]
        if identity is None or not self._live_first:
            identity = self.spool.index.waiting() or identity
        if identity is None or not self._flight.may_send(identity):
            return None
        return identity

    def _send_next(self):
        identity = self._next()
        if identity is None:
            return
        if self._holds(identity):
            # Before the first byte: what is in flight stays where it is.
            self._flight.in_flight.append(identity)
            self._app.is_sending_frame = True
            self._session.send(self._jpeg_topic, self.held[1], False, identity)
            self._app.is_sending_frame = False
        else:
            self._send_stored()

    def _send_stored(self):
        stored = self.spool.next()
        if stored is None:
            return
        self._flight.in_flight.append(stored.identity)
        try:
            self._session.send(self._jpeg_topic, (stored,), False, stored.identity)
        finally:
            stored.file.close()

    def _acknowledged(self, identity):
        """The broker has it: it need not be kept."""
        self._flight.landed(identity)
        self._app.succeeded()
        if self._holds(identity):
            self.held = None
        elif not self._flight.drop_copy(identity):
            self.spool.remove(identity)

    def _give_up(self, identity):
        if self._holds(identity):
            self.held = None
            boot, seq = identity
            self.drops.add(boot, seq, seq, drops.REFUSED)
            self.drops.keep()
        else:
            self.spool.drop(identity, drops.REFUSED)

    def _holds(self, identity):
        return self.held is not None and self.held[0] == identity

    def _send_health(self, now):
        self._health_at_ms = now + self._health_ms
        self._app.collect()
        self._session.publish(self._health_topic, health.health(self._app, self))
        self.drops.told()

    def _take(self, topic, message):
        # A publish may be under way: the application runs it between two steps.
        self._app.commands.take(message, self)
