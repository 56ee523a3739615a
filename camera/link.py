"""Wi-Fi or Ethernet: up within a limit, or a reason why not."""

import time

import network

from camera import waiting
from camera.errors import CameraError


class Link:
    """The network interface of the board.

    network_settings: the section of config.json with the key from secrets.json;
    limit_s: for the link to come up.
    """

    def __init__(self, network_settings, limit_s):
        self._settings = network_settings
        self._limit_ms = int(limit_s * 1000)
        self._interface = None

    def up(self):
        """Bring the link up unless it is. Raises CameraError("link")."""
        if self._interface is None:
            self._interface = self._make()
        try:
            self._bring_up()
        except (OSError, ValueError, RuntimeError) as error:
            # Never its text: NINA's firmware puts the Wi-Fi key in it.
            number = getattr(error, "errno", None)
            code = " %d" % number if isinstance(number, int) else ""
            raise CameraError("link", type(error).__name__ + code)

    def _bring_up(self):
        if self._interface.isconnected():
            return
        self._interface.active(True)
        if self._settings["kind"] == "wifi":
            # The firmware goes on trying by itself; a second connect() starts it afresh.
            key = self._settings["key"]
            if key is None:
                self._interface.connect(self._settings["ssid"])
            else:
                self._interface.connect(self._settings["ssid"], key)
        started = time.ticks_ms()
        while not self._interface.isconnected():
            if time.ticks_diff(time.ticks_ms(), started) > self._limit_ms:
                raise CameraError("link", "not up after %d ms" % self._limit_ms)
            waiting.sleep(50)

    def dns_server(self):
        """The DNS server as "host" or "host:port". Raises CameraError("dns") when none is known."""
        server = self._settings["dns"]
        if server is None:
            try:
                server = self._interface.ifconfig()[3]
            except (AttributeError, OSError, IndexError):
                server = ""
        if not server or server.startswith("0."):
            raise CameraError("dns", "the network names no DNS server: set network.dns")
        return server

    def reset(self):
        """Switch the radio off; the next up() starts it afresh."""
        interface, self._interface = self._interface, None
        try:
            if interface is not None:
                interface.active(False)
        except (OSError, ValueError, RuntimeError):  # up() will say so
            pass
        waiting.sleep(1000)

    def rssi(self):
        """The Wi-Fi signal in dBm, None where the board cannot tell."""
        try:
            return self._interface.status("rssi")
        except (AttributeError, ValueError, OSError, TypeError):
            return None

    def _make(self):
        if hasattr(network, "WINC"):
            raise CameraError(
                "link",
                "the WINC1500 shield is not supported: its time-outs do not work in TLS,"
                " so a connection could hang for ever; use a board with built-in Wi-Fi",
            )
        try:
            if self._settings["kind"] == "wifi":
                return network.WLAN(network.STA_IF)
            return network.LAN()
        except Exception as error:
            raise CameraError("link", "no %s: %s" % (self._settings["kind"], type(error)))
