"""Which broker, with which anchor, and when again: connecting, back-off, fail-over."""

import random

from camera import health, log, state, waiting
from camera.errors import CameraError, code_of
from camera.session import Session
from camera.transport import shake_hands

# Failures that another anchor may mend: a root was replaced, or its file is bad.
_OTHER_ANCHOR = ("untrusted", "expired", "anchor")
# Failures after which the clock is asked again.
_CLOCK_IN_DOUBT = ("expired", "not_yet_valid")


class Dialer:
    """app: the app.App; name: of the route, in file names; brokers: of the settings, ordered.

    broker, anchor: in use, or last in use; chain: its verified path, see anchors.Anchor;
    chain_changed: what of it is not as it was at the last connection with this broker,
    "leaf" or "issuers"; conn: counts the connections; try_at_ms: the uptime of the next try;
    return_at_ms: that of the next look whether a preferred broker works again, or None.
    """

    def __init__(self, app, name, brokers, settings):
        self.conn = 0
        self.broker = brokers[0]
        self.anchor = None
        self.chain = ()
        self.chain_changed = None
        self.try_at_ms = 0
        self.return_at_ms = None
        self._app = app
        self._name = name
        self._brokers = brokers
        self._at = 0  # in brokers
        self._trusted = [None] * len(brokers)  # of the anchors of each, the last that was
        self._id = settings["camera"]["id"]
        self._limits = settings["limits_s"]
        self._recovery = settings["recovery"]
        self._failures = 0  # since the last success
        self._failures_here = 0  # of those, at this broker
        self._rounds = 0  # through all brokers

    def connect(self, state_topic):
        """A session, logged in. Raises CameraError, or whatever umqtt.simple raises."""
        return self._attempt(self._at, state_topic)

    def connect_to_better(self, state_topic):
        """A session with a broker before the one in use, or None when none of them works."""
        self._wait_to_return()
        for at in range(self._at):
            try:
                return self._attempt(at, state_topic)
            except Exception as error:
                where = self._brokers[at]["host"]
                log.line("%s is still out of reach: %s" % (where, code_of(error)))
        return None

    def try_anchor(self, path):
        """Shake hands with the broker in use, beside the session, trusting this file only.

        Raises CameraError, or whatever is raised for want of memory.
        """
        broker = self.broker
        waiting.limit_attempt(int(self._limits["attempt"] * 1000))
        try:
            anchor = self._app.anchor(path, broker)
            address = self._app.resolver.resolve(broker["host"])
            self._app.collect()
            pins = broker["pin_sha256"]
            shake_hands(broker["host"], address, broker["port"], anchor, self._limits, pins)
        finally:
            waiting.limit_attempt(None)

    def forget_anchor(self, path):
        """Drop the context of a file that is there no longer."""
        self._app.forget_anchor(path)

    def succeeded(self):
        """The broker has taken the birth."""
        self._failures = self._failures_here = self._rounds = 0
        self._wait_to_return()
        self._app.clock.proved()
        self._app.succeeded()

    def failed(self, error):
        """Count it, and decide which broker is tried when. Raises nothing."""
        code = self._app.count(error)
        if code in _CLOCK_IN_DOUBT:
            self._app.clock.doubt()
        self._failures += 1
        self._failures_here += 1
        if self._failures_here == self._recovery["next_broker_after"] and len(self._brokers) > 1:
            self._failures_here = 0
            self._at = (self._at + 1) % len(self._brokers)
            self._rounds += not self._at
        if self._failures % self._recovery["radio_after"] == 0 and not self._app.is_connected():
            log.line("resetting the network interface")
            self._app.link.reset()
        exponent = self._failures_here + self._rounds * self._recovery["next_broker_after"] - 1
        most_s = min(
            self._recovery["first_s"] * 2 ** min(max(exponent, 0), 16), self._recovery["most_s"]
        )
        # Full jitter: a hundred cameras whose broker restarts do not come back as one.
        wait_ms = int(random.random() * most_s * 1000)
        where = self._brokers[self._at]["host"]
        log.line("trying again in %d ms, %s" % (wait_ms, where))
        self.try_at_ms = self._app.uptime.ms() + wait_ms

    def _attempt(self, at, state_topic):
        waiting.limit_attempt(int(self._limits["attempt"] * 1000))
        try:
            self._app.link.up()
            self._app.set_clock_if_due()
            return self._with_an_anchor(at, state_topic)
        finally:
            waiting.limit_attempt(None)

    def _with_an_anchor(self, at, state_topic):
        """Its anchors in turn, the last good one first."""
        paths = self._app.sent.paths(self._brokers[at])
        trusted = self._trusted[at]
        if trusted in paths:
            paths = paths[paths.index(trusted) :] + paths[: paths.index(trusted)]
        for path in paths:
            try:
                session = self._log_in(self._brokers[at], path, state_topic)
            except CameraError as error:
                if error.code not in _OTHER_ANCHOR or path == paths[-1]:
                    raise
                self._app.count(error)
                log.line("%s: trying the next anchor" % path)
                continue
            self._trusted[at] = path
            self._at = at
            self._note_chain()
            return session

    def _log_in(self, broker, anchor_path, state_topic):
        anchor = self._app.anchor(anchor_path, broker)
        address = self._app.resolver.resolve(broker["host"])
        # mbedTLS needs its record buffers in one piece each.
        self._app.collect()
        self.conn += 1
        session = Session(self._id, broker, address, anchor, self._limits)
        session.set_last_will(state_topic, health.will(self._app.boot, self.conn), True, 1)
        session.connect()
        self.broker = broker
        self.anchor = anchor
        self.chain = anchor.chain
        where = "%s:%d" % (broker["host"], broker["port"])
        log.line("connected to %s, verified with %s" % (where, anchor.name))
        return session

    def _note_chain(self):
        name = "chain%s%d" % (self._name, self._at)
        chain = self.anchor.leaf + " " + self.anchor.issuers
        before = state.recall(name)
        if chain in (before, " "):
            return
        if before:
            same_issuers = before.split(" ")[-1] == self.anchor.issuers
            self.chain_changed = "leaf" if same_issuers else "issuers"
            log.line("the broker's chain has changed: " + self.chain_changed)
        try:
            state.keep(name, chain)
        except OSError as error:
            log.line("the chain cannot be noted: %s" % error)

    def _wait_to_return(self):
        self.return_at_ms = None
        if self._at:
            wait_ms = int(self._recovery["return_after_s"] * 1000)
            self.return_at_ms = self._app.uptime.ms() + wait_ms
