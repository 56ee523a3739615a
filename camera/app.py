"""The supervisor: capture on schedule, publish, and on any failure begin again, later."""

import gc
import hashlib
import random
import sys
import time

import machine

from camera import health, log, stamp, state, topics, waiting
from camera.anchors import Anchor
from camera.clock import Clock
from camera.commands import Commands
from camera.errors import CameraError, code_of
from camera.link import Link
from camera.sensor import Sensor
from camera.session import Session

HEALTH_INTERVAL_MS = 30000
# A snapshot that a broker ends the connection for, such as one over its limit, must not
# keep all later ones back for ever.
SEND_TRIES = 3
# Names of state files. The second keeps main.py from starting, so that files can be copied
# without the watchdog biting.
_RESTARTED_BY = "restarted_by"
MAINTENANCE = "maintenance"


class App:
    """The application on one power-up.

    settings: what settings.load() returned; changes: a changes.Changes.
    """

    def __init__(self, settings, changes):
        changes.apply(settings["camera"])
        limits = settings["limits_s"]
        self.uptime = log.uptime
        self.boot = state.next_boot()
        self.conn = 0
        self.acknowledged_seq = 0
        self.dropped = 0
        self.last_error = None
        self.link = Link(settings["network"], limits["link"])
        self.clock = Clock(
            settings["clock"]["servers"],
            limits["clock"],
            settings["clock"]["resync_s"],
            self.uptime,
        )
        self.sensor = Sensor(settings["camera"]["framesize"], settings["camera"]["quality"])
        self.broker = settings["brokers"][0]
        self.anchor = None
        self._limits = limits
        self._id = settings["camera"]["id"]
        self._interval_ms = int(settings["camera"]["interval_s"] * 1000)
        self._retry = settings["retry_s"]
        prefix = settings["topics"]["prefix"]
        self._jpeg_topic = topics.topic(prefix, self._id, topics.JPEG).encode()
        self._state_topic = topics.topic(prefix, self._id, topics.STATE).encode()
        self._health_topic = topics.topic(prefix, self._id, topics.HEALTH).encode()
        self._cmd_topic = topics.topic(prefix, self._id, topics.CMD).encode()
        self._result_topic = topics.topic(prefix, self._id, topics.CMD_RESULT).encode()
        self._changes = changes
        self._commands = Commands(self, state.recall(_RESTARTED_BY))
        self._session = None
        self._seq = 0
        self._unsent = None  # (seq, parts) of the snapshot that no broker has acknowledged
        self._tries = 0  # at sending it
        self._due_ms = 0
        self._health_due_ms = 0

    def run(self):
        """Publish for ever."""
        failures = 0
        while True:
            try:
                self._connect()
                while True:
                    self._step()
                    failures = 0
            # A ValueError out of mbedTLS, an IndexError out of umqtt.simple: whatever it
            # is, it ends this connection and nothing else.
            except Exception as error:
                self._failed(error)
            failures += 1
            self._back_off(failures)

    def _connect(self):
        self.link.up()
        if self.clock.due():
            self._set_clock()
        if self.anchor is None:
            self.anchor = Anchor("anchors/" + self.broker["anchors"][0])
        # mbedTLS needs its record buffers in one piece each.
        gc.collect()
        self.conn += 1
        session = Session(self._id, self.broker, self.anchor, self._limits)
        session.set_last_will(self._state_topic, health.will(self.boot, self.conn), True, 1)
        self._session = session
        session.set_callback(self._commands.take)
        session.connect()
        log.line(
            "connected to %s:%d, verified with %s"
            % (self.broker["host"], self.broker["port"], self.anchor.name)
        )
        birth = health.birth(self.boot, self.conn, _reset_cause())
        session.publish(self._state_topic, birth, True, 1)
        # Only now: whoever sees the answer to a command sees a camera that is online.
        session.subscribe(self._cmd_topic, 1)
        log.line("listening for commands")
        self._health_due_ms = self.uptime.ms()

    def _set_clock(self):
        try:
            self.clock.sync()
        except CameraError as error:
            # TLS without a clock is no TLS; with one that was right it goes on.
            if self.clock.unix_ms() is None:
                raise
            self.last_error = error.code
            log.line(str(error))
            return
        log.line("clock set by " + self.clock.source)

    def _step(self):
        """What is due now, then the broker's turn until something else is."""
        if self.uptime.ms() >= self._due_ms and self._unsent is None:
            self._due_ms = max(self._due_ms + self._interval_ms, self.uptime.ms())
            self._capture()
        if self._unsent is not None:
            seq, parts = self._unsent
            self._tries += 1
            self._session.publish(self._jpeg_topic, parts, False, 1)
            self._unsent = None
            self.acknowledged_seq = seq
        if self.clock.due():
            self._set_clock()
        if self.uptime.ms() >= self._health_due_ms:
            self._health_due_ms = self.uptime.ms() + HEALTH_INTERVAL_MS
            self._session.publish(self._health_topic, health.health(self), False, 1)
        # Last: a command may have come in during any of the publishes above.
        self._commands.run(self._answer)
        due_ms = min(self._due_ms, self._health_due_ms)
        self._session.service(max(due_ms - self.uptime.ms(), 0))

    def _answer(self, answer):
        self._session.publish(self._result_topic, answer, False, 1)

    # What commands.py asks for.

    def snapshot_now(self):
        """The next step takes a snapshot; the seq that it will have."""
        self._due_ms = self.uptime.ms()
        return self._seq + 1

    def health_now(self):
        """The next step sends a health message."""
        self._health_due_ms = self.uptime.ms()

    def change(self, values):
        """Change settings from now on; None, or what is wrong with them."""
        try:
            problem = self._changes.change(values)
        except OSError:
            return "the flash cannot be written"
        if problem is None:
            self.sensor.quality = values.get("quality", self.sensor.quality)
            if "interval_s" in values:
                self._interval_ms = int(values["interval_s"] * 1000)
                self._due_ms = min(self._due_ms, self.uptime.ms() + self._interval_ms)
        return problem

    def prepare_restart(self, command_id, maintenance):
        """Note on flash what restart() is for; None, or why it cannot be."""
        try:
            state.keep(_RESTARTED_BY, command_id)
            if maintenance:
                state.keep(MAINTENANCE, command_id)
        except OSError:
            return "the flash cannot be written"
        return None

    def restart(self):
        """Take leave of the broker and reset the board."""
        self._session.disconnect()
        log.line("restarting, as the command said")
        machine.reset()

    def _capture(self):
        """Take a snapshot and stamp it; it is kept until a broker has acknowledged it.

        The frame is not copied: the stamp goes between two slices of it.
        """
        waiting.turn()
        try:
            frame = self.sensor.capture()
            at = stamp.insertion_point(frame)
        except (CameraError, stamp.StampError) as error:
            # The sensor's fault; the connection is none the worse for it.
            self.last_error = "camera"
            log.line(str(error))
            return
        self._seq += 1
        segment = stamp.segment(
            self._id,
            self.boot,
            self._seq,
            self.clock.unix_ms(),
            self.uptime.ms(),
            len(frame),
            hashlib.sha256(frame).digest(),
        )
        view = memoryview(frame)
        self._unsent = (self._seq, (view[:at], segment, view[at:]))
        self._tries = 0

    def _failed(self, error):
        self.last_error = code_of(error)
        if isinstance(error, CameraError):
            log.line(str(error))
        else:
            sys.print_exception(error)
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._unsent is not None and self._tries == SEND_TRIES:
            log.line("snapshot %d is given up, it was sent %d times" % (self._seq, SEND_TRIES))
            self._unsent = None
            self.dropped += 1

    def _back_off(self, failures):
        # Full jitter: a hundred cameras whose broker restarts do not come back as one.
        most_s = min(self._retry["first"] * 2 ** min(failures - 1, 16), self._retry["most"])
        wait_ms = int(random.random() * most_s * 1000)
        log.line("trying again in %d ms" % wait_ms)
        until = self.uptime.ms() + wait_ms
        while self.uptime.ms() < until:
            waiting.turn()
            time.sleep_ms(min(100, max(until - self.uptime.ms(), 0)))


def _reset_cause():
    for name in ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET"):
        if getattr(machine, name, None) == machine.reset_cause():
            return name[:-6].lower()
    return None
