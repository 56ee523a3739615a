"""Walks from the camera to its brokers with the application's own code, a line of JSON a step.

Each is [step, "good" or "bad" or "note", what there is to say]. Runs under MicroPython, at the
prompt, with the application stopped.
"""

import json
import os
import sys

os.chdir("/flash")
if "" not in sys.path:
    sys.path.insert(0, "")


def _say(step, state, text):
    print(json.dumps([step, state, text]))


def _read(path):
    with open(path) as file:
        return file.read()


def _settings():
    from camera import settings

    try:
        return settings.load(_read("config.json"), _read("secrets.json"))
    except settings.SettingsError as error:
        for problem in error.problems:
            _say("config", "bad", "%s %s; right would be: %s" % problem)
    return None


def _look_for(name):
    """Is the Wi-Fi in the air?"""
    import network

    interface = network.WLAN(network.STA_IF)
    interface.active(True)
    try:
        seen = interface.scan()
    except (AttributeError, OSError, ValueError):
        _say("Wi-Fi seen", "note", "this firmware cannot look for networks")
        return
    names = sorted({entry[0].decode() for entry in seen if entry[0]})
    if name in names:
        strength = max(entry[3] for entry in seen if entry[0].decode() == name)
        _say("Wi-Fi seen", "good", "%s, %d dBm" % (name, strength))
    else:
        _say("Wi-Fi seen", "bad", "%s is not among %s" % (name, ", ".join(names) or "(none)"))


def _walk(complete):
    from camera import log
    from camera.anchors import Anchor
    from camera.clock import Clock
    from camera.errors import CameraError
    from camera.link import Link
    from camera.resolver import Resolver
    from camera.transport import shake_hands

    limits = complete["limits_s"]
    step = "link"
    try:
        if complete["network"]["kind"] == "wifi":
            _look_for(complete["network"]["ssid"])
        link = Link(complete["network"], limits["link"])
        link.up()
        _say(step, "good", "up, name server %s" % link.dns_server())
        step = "NTP"
        resolver = Resolver(link, limits["dns"])
        clock = Clock(complete["clock"], limits["clock"], log.uptime, resolver)
        clock.sync()
        _say(step, "good", "clock set by %s" % clock.source)
    except CameraError as error:
        _say(step, "bad", str(error))
        return
    for broker in complete["brokers"]:
        where = "%s:%d" % (broker["host"], broker["port"])
        try:
            step = "DNS"
            address = resolver.resolve(broker["host"])
            _say(step, "good", "%s is %s" % (broker["host"], address))
        except CameraError as error:
            _say(step, "bad", str(error))
            continue
        for name in broker["anchors"]:
            client = None
            if broker.get("client_cert"):
                client = ("keys/" + broker["client_cert"], "keys/" + broker["client_key"])
            try:
                anchor = Anchor("anchors/" + name, client)
                pins = broker.get("pin_sha256", ())
                shake_hands(broker["host"], address, broker["port"], anchor, limits, pins)
                _say("TCP and TLS", "good", "%s, verified by mbedTLS with %s" % (where, name))
            except CameraError as error:
                _say("TCP and TLS", "bad", "%s with %s: %s" % (where, name, error))


_complete = _settings()
if _complete is not None:
    _say("config", "good", "of %s" % _complete["camera"]["id"])
    _walk(_complete)
