"""What a message proves: a JPEG checked against its stamp, a health message, a state. Pure.

Whatever is in a payload was written by someone else: nothing here raises for any bytes.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from camera import stamp
from host_tools.watch.verdicts import Dropped

# More than any camera sends (1 MiB), as much as the test broker lets through.
SNAPSHOT_MAX = 2 * 1024 * 1024
# Health with as many drops as there can be is under 6 KB; whatever is much longer is not one.
REPORT_MAX = 16 * 1024
# As many as a camera tells at a time.
DROPS_MAX = 64
# Deeper than anything a camera says.
_DEPTH = 6
_DAYS_MAX = 1_000_000


class Arrival(NamedTuple):
    """A payload on a camera's jpeg topic, checked.

    identity: (boot, seq) when the stamp could be read; sent_ms: Unix time by the camera's
    clock or None; fault: why it is not the snapshot that the camera sent, or None;
    unproven: the fault is that there is nothing to check it with; digest: SHA-256 of the
    original JPEG, empty unless the snapshot is intact.
    """

    size: int
    identity: tuple[int, int] | None = None
    sent_ms: int | None = None
    digest: bytes = b""
    fault: str | None = None
    unproven: bool = False


@dataclass(frozen=True)
class Health:
    """What is used of a health message; None for what it does not say, or says wrongly.

    days: until the first certificate of the broker's chain or the anchor expires; said: all
    of it that is plain JSON.
    """

    boot: int | None = None
    seq: int | None = None
    held: tuple[int, int] | None = None  # the oldest (boot, seq) not acknowledged
    spooled: int = 0
    drops: tuple[Dropped, ...] = ()
    clock: str | None = None
    clock_age_s: int | None = None
    anchor: str | None = None
    last_error: str | None = None
    heap_free: int | None = None
    rssi: int | None = None
    reconnects: int | None = None
    days: int | None = None
    up: tuple[int, int] | None = None  # (connections, seconds) of this boot
    said: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class State:
    """A birth or a will: is connection number conn of this boot up?"""

    online: bool
    boot: int
    conn: int
    said: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def check(camera: str, payload: bytes | memoryview) -> Arrival:
    """Check a snapshot that came on the topic of this camera."""
    size = len(payload)
    if size > SNAPSHOT_MAX:
        return refused(size)
    try:
        start, end, fields = stamp.find(payload)
    except stamp.StampError as error:
        code, text = error.args
        if code == "bad_stamp":
            return Arrival(size, fault=f"the stamp is not usable: {text}")
        return Arrival(size, fault=f"there is no stamp: {text}", unproven=True)
    if fields["cam"] != camera:
        return Arrival(size, fault=f"its stamp is of another camera, {fields['cam']}")
    identity, sent_ms = (fields["boot"], fields["seq"]), fields.get("ts")
    original = size - (end - start)
    if original != fields["n"]:
        fault = f"it is {original} bytes, its stamp says {fields['n']}"
        return Arrival(size, identity, sent_ms, fault=fault)
    digest = hashlib.sha256(payload[:start])
    digest.update(memoryview(payload)[end:])
    if digest.hexdigest() != fields["sha256"]:
        return Arrival(size, identity, sent_ms, fault="its SHA-256 is not the one in its stamp")
    return Arrival(size, identity, sent_ms, digest.digest())


def refused(size: int) -> Arrival:
    """A snapshot of so many bytes that it is not looked at."""
    limit = SNAPSHOT_MAX // 1024
    return Arrival(size, fault=f"{size} bytes is over the limit of {limit} KiB", unproven=True)


def read_health(payload: bytes) -> Health | None:
    """The health message in this payload; None: it is none."""
    fields = _object(payload)
    if fields is None:
        return None
    return Health(
        boot=_count(fields.get("boot"), 1),
        seq=_count(fields.get("seq")),
        held=_identity(fields.get("spool_from")),
        spooled=_count(fields.get("spooled")) or 0,
        drops=_drops(fields.get("drops")),
        clock=_word(fields.get("clock")),
        clock_age_s=_count(fields.get("clock_age_s")),
        anchor=_word(fields.get("anchor")),
        last_error=_word(fields.get("last_error")),
        heap_free=_count(fields.get("heap_free")),
        rssi=_number(fields.get("rssi"), -1000, 1000),
        reconnects=_count(fields.get("reconnects")),
        days=_days(fields),
        up=_up(fields),
        said=fields,
    )


def read_state(payload: bytes) -> State | None:
    """The birth or will in this payload; None: it is neither."""
    fields = _object(payload)
    if fields is None or fields.get("state") not in ("online", "offline"):
        return None
    boot, conn = _count(fields.get("boot")), _count(fields.get("conn"))
    if boot is None or conn is None:
        return None
    return State(fields["state"] == "online", boot, conn, fields)


def printable(text: str, most: int) -> str:
    """The text cut to `most` characters, without any that could command a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def _object(payload: bytes) -> dict[str, Any] | None:
    if len(payload) > REPORT_MAX:
        return None
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return _plain(fields, _DEPTH) if isinstance(fields, dict) else None


def _plain(value: Any, depth: int) -> Any:
    """The value, without what other readers of JSON choke on: infinities, and deep nests."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {name: _plain(each, depth - 1) for name, each in value.items()}
    return [_plain(each, depth - 1) for each in value]


def _count(value: object, least: int = 0) -> int | None:
    return _number(value, least, stamp.COUNT_MAX)


def _number(value: object, least: int, most: int) -> int | None:
    # bool is an int to isinstance, and true is no count.
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    return None


def _days(fields: Mapping[str, Any]) -> int | None:
    chain = fields.get("chain_days")
    said = [fields.get("leaf_days"), fields.get("anchor_days")]
    said += chain if isinstance(chain, list) else []
    known = [days for each in said if (days := _number(each, -_DAYS_MAX, _DAYS_MAX)) is not None]
    return min(known, default=None)


def _up(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    conn, seconds = _count(fields.get("conn")), _count(fields.get("up_s"))
    return None if conn is None or seconds is None else (conn, seconds)


def _identity(value: object) -> tuple[int, int] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    boot, seq = _count(value[0], 1), _count(value[1], 1)
    return (boot, seq) if boot and seq else None


def _drops(value: object) -> tuple[Dropped, ...]:
    drops = []
    for entry in value[:DROPS_MAX] if isinstance(value, list) else ():
        if not isinstance(entry, list) or len(entry) != 4:
            continue
        boot, first, last = (_count(number, 1) for number in entry[:3])
        reason = _word(entry[3])
        if boot and first and last and reason and first <= last:
            drops.append(Dropped(boot, first, last, reason))
    return tuple(drops)


def _word(value: object) -> str | None:
    return printable(value, 40) if isinstance(value, str) and value else None
