"""Target 3: what a publish costs on the wire, counted in a relay."""

import math
from collections.abc import Iterator
from dataclasses import replace

from tests.bench.counting import counting
from tests.bench.lab import Lab
from tests.bench.rows import Row, number
from tests.brokers import wait_for

_RECORD_BYTES = 4096
_COUNT = 10
# Of the PUBLISH before its payload: fixed header, topic with its length, packet id.
_TOPIC = len("cameras/cam1/jpeg")


def measure(lab: Lab) -> Iterator[Row]:
    """Bytes and TLS records of one snapshot, from the first record to the last."""
    for size, most in ((3_000, None), (30_000, 1.02), (200_000, None)):
        with counting(lab.mosquitto.port) as counted:
            broker = lab.account(replace(lab.mosquitto, port=counted.port))
            values = {"broker": broker, "sizes": [size], "count": _COUNT}
            (said,) = lab.run("wire.py", values, heap="4m")
        packet = said["payload"] + 2 + _TOPIC + 2
        packet += 1 + math.ceil(packet.bit_length() / 7)
        fewest = math.ceil(packet / _RECORD_BYTES)
        # The first one is the CONNECT.
        wait_for(lambda: len(counted.records) > _COUNT, "the records to be counted")
        records = counted.records[1:]
        per_publish = len(records) / _COUNT
        wire = sum(records) / _COUNT
        what = f"{size // 1000} KB"
        yield Row(
            "wire",
            f"{what}: bytes on the wire over payload",
            wire / said["payload"],
            "x",
            f"{number(wire)} of {said['payload']:,}, which is the frame and its stamp",
            most=most,
        )
        yield Row(
            "wire",
            f"{what}: TLS records",
            per_publish,
            "",
            f"of 4 KiB; fewer than {fewest} cannot hold it",
            most=fewest,
        )
