"""The supervisor: capture on schedule, keep every route going, escalate when nothing helps."""

import gc
import hashlib

import machine

from camera import log, maintenance, stamp, state, waiting
from camera.anchors import Anchor
from camera.clock import Clock
from camera.commands import Commands
from camera.errors import CameraError, code_of
from camera.link import Link
from camera.resolver import Resolver
from camera.route import Route
from camera.sensor import Sensor
from camera.sent import Sent

# While there is nothing to do; a command that came in is noticed at once all the same.
_IDLE_MS = 1000
_SENSOR_BACK_OFF_MAX_MS = 60000
# Names of state files.
_RESTARTED_BY = "restarted_by"
_RESTARTED_FOR = "restarted_for"
_ANCHORED_BY = "anchored_by"
# Of the commands about anchors, how many ids are kept on flash.
_ANCHORED_BY_MAX = 8


class App:
    """The application on one power-up.

    settings: what settings.load() returned; changes: a changes.Changes.
    """

    def __init__(self, settings, changes):
        changes.apply(settings["camera"])
        limits = settings["limits_s"]
        self.uptime = log.uptime
        self.boot = state.next_boot()
        log.line("boot %d" % self.boot)
        self.seq = 0
        self.failures = {}  # reason code: how often
        self.last_error = None
        # The reason code for which the camera restarted itself, until a broker was told.
        self.restarted_for = state.recall(_RESTARTED_FOR) or None
        self.heap_min = gc.mem_free()
        self.link = Link(settings["network"], limits["link"])
        self.resolver = Resolver(self.link, limits["dns"])
        self.clock = Clock(settings["clock"], limits["clock"], self.uptime, self.resolver)
        self.sensor = Sensor(settings["camera"]["framesize"], settings["camera"]["quality"])
        ran = [state.recall(_RESTARTED_BY)] + state.recall(_ANCHORED_BY).split()
        self.commands = Commands(self, ran)
        self.sent = Sent(changes.config, settings["brokers"], settings["camera"]["accept_anchors"])
        self._id = settings["camera"]["id"]
        self._interval_ms = int(settings["camera"]["interval_s"] * 1000)
        self._reboot_after_ms = int(settings["recovery"]["reboot_after_s"] * 1000)
        self._changes = changes
        self._anchors = {}
        self._due_ms = 0
        self._sensor_failures = 0
        self._is_capturing = False
        # Set by the route that does; no other frame may come into the buffer.
        self.is_sending_frame = False
        self._succeeded_at_ms = 0
        brokers = settings["brokers"]
        if settings["delivery"]["mode"] == "mirror":
            self.routes = [
                Route(self, str(at), brokers[at : at + 1], settings) for at in range(len(brokers))
            ]
        else:
            self.routes = [Route(self, "0", brokers, settings)]

    def run(self):
        """Publish for ever."""
        waiting.meanwhile(self._capture_if_due, self._capture_in_ms)
        while True:
            waiting.turn()
            for route in self.routes:
                route.step()
                route.drops.keep_sometimes(self.uptime.ms())
            self.commands.run()
            if self.clock.due() and self.is_connected():
                self._try_to_set_clock()
            if self.uptime.ms() - self._succeeded_at_ms > self._reboot_after_ms:
                self._reboot()
            self._wait()

    # What routes ask for.

    def anchor(self, path, broker):
        """The anchors.Anchor of this file for this broker: one context for each, made once."""
        client = None
        if broker["client_cert"]:
            client = ("keys/" + broker["client_cert"], "keys/" + broker["client_key"])
        if (path, client) not in self._anchors:
            self._anchors[path, client] = Anchor(path, client)
        return self._anchors[path, client]

    def forget_anchor(self, path):
        """Drop the contexts of a file that is there no longer."""
        for key in [key for key in self._anchors if key[0] == path]:
            del self._anchors[key]

    def set_clock_if_due(self):
        """Raises CameraError while no time can be believed: TLS without a clock is no TLS."""
        if self.clock.due():
            try:
                self.clock.sync()
            except CameraError as error:
                # With a clock that was right it goes on.
                if self.clock.unix_ms() is None:
                    raise
                self.count(error)
                log.line(str(error))
            else:
                log.line("clock set by " + self.clock.source)

    def collect(self):
        """Collect garbage now, and not when a frame is due; note how much is left."""
        gc.collect()
        self.heap_min = min(self.heap_min, gc.mem_free())

    def count(self, error):
        """Count a failure; its reason code."""
        code = self.last_error = code_of(error)
        self.failures[code] = self.failures.get(code, 0) + 1
        return code

    def succeeded(self):
        """A broker has acknowledged something."""
        self._succeeded_at_ms = self.uptime.ms()
        if self.restarted_for is not None:
            self.restarted_for = None
            self._keep(_RESTARTED_FOR, "")

    def is_connected(self):
        """True when any route is."""
        return any(route.is_connected() for route in self.routes)

    # What commands ask for.

    def snapshot_now(self):
        """The next step takes a snapshot; the seq that it will have."""
        self._due_ms = 0
        return self.seq + 1

    def health_now(self):
        """The next step sends a health message."""
        for route in self.routes:
            route.health_now()

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

    def change_anchors(self, route, command_id, request):
        """Take or remove an anchor; (what is wrong or None, {field: value} to tell)."""
        problem = self.sent.problem(request)
        if problem:
            return problem, {}
        # Not to be run again by a retained message after a restart.
        ran = (state.recall(_ANCHORED_BY).split() + [command_id])[-_ANCHORED_BY_MAX:]
        if not self._keep(_ANCHORED_BY, " ".join(ran)):
            return "the flash cannot be written", {}
        return self.sent.run(route.dialer, request)

    def prepare_restart(self, command_id, for_maintenance):
        """Note on flash what restart() is for; None, or why it cannot be."""
        if not self._keep(_RESTARTED_BY, command_id):
            return "the flash cannot be written"
        if for_maintenance and not self._keep(maintenance.NAME, command_id):
            return "the flash cannot be written"
        return None

    def restart(self):
        """Take leave of the brokers and reset the board; nothing is lost by it."""
        for route in self.routes:
            route.store()
            route.drops.keep()
            route.leave()
        log.line("restarting")
        machine.reset()

    # The schedule.

    def _wait(self):
        now = self.uptime.ms()
        limit_ms = min(self._capture_in_ms(), _IDLE_MS)
        connected = 0
        for route in self.routes:
            limit_ms = min(limit_ms, route.due_ms() - now)
            connected += route.is_connected()
        limit_ms = max(limit_ms, 0)
        if not connected:
            waiting.sleep(limit_ms)
        for route in self.routes:
            if route.is_connected():
                route.serve(limit_ms // connected)

    def _capture_in_ms(self):
        # A frame that is being sent must not be overwritten: its PUBACK may be awaited, its
        # bytes not.
        if self._is_capturing or self.is_sending_frame:
            return _IDLE_MS
        return max(self._due_ms - self.uptime.ms(), 0)

    def _capture_if_due(self):
        """Take a snapshot if it is time; every wait for the network calls this."""
        if self._capture_in_ms() > 0:
            return
        self._is_capturing = True
        try:
            self._due_ms = max(self._due_ms + self._interval_ms, self.uptime.ms())
            for route in self.routes:
                route.put_away()
            self._capture()
        # Whoever waits has nothing to do with it.
        except Exception as error:
            self._sensor_failed(error)
        finally:
            self._is_capturing = False

    def _capture(self):
        """A snapshot, stamped, for every route.

        The frame is not copied: the stamp goes between two slices of it.
        """
        frame = self.sensor.capture()
        at = stamp.insertion_point(frame)
        self._sensor_failures = 0
        self.seq += 1
        marker, body = stamp.segment(
            self._id,
            self.boot,
            self.seq,
            self.clock.unix_ms(),
            self.uptime.ms(),
            len(frame),
            hashlib.sha256(frame).digest(),
        )
        view = memoryview(frame)
        held = ((self.boot, self.seq), (view[:at], marker, body, view[at:]))
        for route in self.routes:
            route.held = held

    def _sensor_failed(self, error):
        log.line(str(error))
        self.count(CameraError("camera") if isinstance(error, stamp.StampError) else error)
        # To set it up afresh takes seconds, in which the network has to wait.
        self._sensor_failures += 1
        wait_ms = min(1000 << min(self._sensor_failures - 1, 6), _SENSOR_BACK_OFF_MAX_MS)
        self._due_ms = self.uptime.ms() + max(wait_ms, self._interval_ms)

    def _try_to_set_clock(self):
        try:
            self.set_clock_if_due()
        except CameraError as error:
            log.line(str(error))

    def _reboot(self):
        log.line("no broker was reached for %d s" % (self._reboot_after_ms // 1000))
        self._keep(_RESTARTED_FOR, self.last_error or "")
        self.restart()

    def _keep(self, name, text):
        try:
            state.keep(name, text)
        except OSError as error:
            log.line("state/%s cannot be written: %s" % (name, error))
            return False
        return True
