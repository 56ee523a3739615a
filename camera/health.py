"""The telemetry: the birth, the will and the health message. Codes only, never free text."""

import gc
import json
import sys


def will(boot, conn):
    """What the broker publishes when this connection dies: JSON as bytes."""
    return json.dumps({"state": "offline", "boot": boot, "conn": conn}).encode()


def birth(boot, conn, reset_cause):
    """What says that connection `conn` of boot `boot` is up: JSON as bytes."""
    version = sys.implementation[1]
    return json.dumps(
        {
            "state": "online",
            "boot": boot,
            "conn": conn,
            "reset_cause": reset_cause,
            "micropython": "%d.%d.%d" % (version[0], version[1], version[2]),
        }
    ).encode()


def health(app):
    """The health of the application, flat JSON as bytes (docs/protocol.md)."""
    now_ms = app.clock.unix_ms()
    fields = {
        "boot": app.boot,
        # The sent high-water mark: everything up to here was acknowledged by the broker, but
        # for what was dropped.
        "seq": app.acknowledged_seq,
        "dropped": app.dropped,
        "conn": app.conn,
        "up_s": app.uptime.ms() // 1000,
        "reconnects": max(app.conn - 1, 0),
        "last_error": app.last_error,
        "frame_errors": app.sensor.errors,
        "heap_free": gc.mem_free(),
        "rssi": app.link.rssi(),
        "clock": "unset" if now_ms is None else "ntp",
        "clock_source": app.clock.source,
        "clock_age_s": app.clock.age_s(),
        "clock_refused": app.clock.refused,
        "broker": app.broker["host"],
        "anchor": app.anchor.name if app.anchor else None,
    }
    if now_ms is not None and app.anchor and app.anchor.chain:
        days = [(end - now_ms // 1000) // 86400 for end in app.anchor.chain]
        fields["leaf_days"] = days[0]
        fields["chain_days"] = min(days[1:-1]) if len(days) > 2 else None
        fields["anchor_days"] = days[-1]
    return json.dumps(fields).encode()
