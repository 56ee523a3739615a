"""The telemetry: the birth, the will and the health message. Codes only, never free text."""

import gc
import json
import sys

import machine

from camera import watchdog


def will(boot, conn):
    """What the broker publishes when this connection dies, or the camera leaves: JSON as bytes."""
    return json.dumps({"state": "offline", "boot": boot, "conn": conn}).encode()


def birth(app, dialer):
    """What says that its connection is up: JSON as bytes (docs/protocol.md)."""
    return json.dumps(
        {
            "state": "online",
            "boot": app.boot,
            "conn": dialer.conn,
            "reset_cause": reset_cause(),
            "restarted_for": app.restarted_for,
            "firmware": _firmware(),
            "micropython": "%d.%d.%d" % sys.implementation[1][:3],
            "board": getattr(sys.implementation, "_machine", None),
            "watchdog_s": watchdog.timeout_ms and watchdog.timeout_ms // 1000,
            "broker": dialer.broker["host"],
            "anchor": dialer.anchor.name,
            "anchors": app.sent.digests(dialer.broker),
            "chain_changed": dialer.chain_changed,
        }
    ).encode()


def health(app, route):
    """The health of the application as one route's brokers are told it: JSON as bytes."""
    now_ms = app.clock.unix_ms()
    dialer = route.dialer
    fields = {
        "boot": app.boot,
        "seq": route.settled_seq(),
        "captured": app.seq,
        "spooled": route.spool.index.count,
        "spool_bytes": route.spool.index.bytes,
        "spool_from": route.oldest(),
        "drops": route.drops.to_tell(),
        "conn": dialer.conn,
        "reconnects": max(dialer.conn - 1, 0),
        "up_s": app.uptime.ms() // 1000,
        "last_error": app.last_error,
        "frame_errors": app.sensor.errors,
        "heap_free": gc.mem_free(),
        "heap_min": app.heap_min,
        "rssi": app.link.rssi(),
        "clock": "unset" if now_ms is None else "ntp",
        "clock_source": app.clock.source,
        "clock_age_s": app.clock.age_s(),
        "clock_step_ms": app.clock.step_ms,
        "clock_steps": app.clock.steps,
        "clock_refused": app.clock.refused,
        "watchdog": watchdog.timeout_ms is not None,
        "broker": dialer.broker["host"],
        "anchor": dialer.anchor.name,
    }
    for code, count in app.failures.items():
        fields["failed_" + code] = count
    if now_ms is not None and dialer.anchor.client_end is not None:
        fields["client_days"] = (dialer.anchor.client_end - now_ms // 1000) // 86400
    if now_ms is not None and dialer.chain:
        days = [(end - now_ms // 1000) // 86400 for end in dialer.chain]
        fields["leaf_days"] = days[0]
        fields["chain_days"] = days[1:-1]
        fields["anchor_days"] = days[-1]
    return json.dumps(fields).encode()


def reset_cause():
    """Why the board started: a word of machine's names for it, or None."""
    for name in ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET"):
        if getattr(machine, name, None) == machine.reset_cause():
            return name[:-6].lower()
    return None


def _firmware():
    try:
        import omv

        return omv.version_string()
    except (ImportError, AttributeError):
        return None
