"""Target 1: a QoS 1 publish against what the TLS socket itself can do, and umqtt.simple."""

from collections.abc import Iterator

from tests.bench.lab import Lab
from tests.bench.limit import limit_server
from tests.bench.rows import Row, medians, number

# Bytes; rounds; of these with umqtt.simple, which takes 43 ms each time. All of it several times
# over, for what else goes on on a machine comes and goes.
SIZES = ((3_000, 400, 12), (30_000, 200, 12), (200_000, 80, 8)) * 4
_MOST_OF_LIMIT, _MOST_OF_BOTH = 1.5, 1.1
# The longest for which the targets can be met at all.
_SHORT = 30_000
_LEAST_OF_UMQTT = 50


def measure(lab: Lab) -> Iterator[Row]:
    """Our session with stamp and SHA-256; in turn with the two others, on one MicroPython.

    As the application does, the next snapshot is taken, copied and proven while the PUBACK is
    awaited.
    """
    with limit_server(lab.server_file) as port:
        for name, endpoint in lab.brokers.items():
            values = {
                "broker": lab.account(endpoint),
                "umqtt": lab.account(endpoint, "cam2"),
                "limit_port": port,
                "sizes": SIZES,
            }
            measured = lab.run("publish.py", values, heap="4m")
            for size in dict.fromkeys(size for size, _, _ in SIZES):
                mine = [row for row in measured if row["size"] == size]
                limit, ours, alone, proof, umqtt = medians(
                    mine, "limit", "ours", "alone", "proof", "umqtt"
                )
                what = f"{size // 1000} KB, {name}"
                # amqtt's part of the time is the limit's neither in kind nor in size.
                counts = name == "mosquitto"
                # At 200 KB the socket does not wait long enough for a digest: without overlap
                # the two take 1.5 times as long as the one.
                short = size <= _SHORT
                yield Row(
                    "publish",
                    f"{what}: time over the socket's own",
                    ours / limit,
                    "x",
                    f"{number(ours)} us, the socket {number(limit)} us,"
                    f" stamp and digest {number(proof)} us",
                    most=_MOST_OF_LIMIT if counts and short else None,
                )
                yield Row(
                    "publish",
                    f"{what}: time over the socket's own and the digest's",
                    ours / (limit + proof),
                    "x",
                    f"the two alone are {number((limit + proof) / limit)} x the socket's own",
                    most=None if short or not counts else _MOST_OF_BOTH,
                )
                yield Row(
                    "publish",
                    f"{what}: the same, with nothing done while the PUBACK is awaited",
                    alone / limit,
                    "x",
                    f"{number(alone)} us; on a board that has no room for a second frame",
                )
                # At 200 KB nobody can be 50 times as fast: the socket itself is not.
                yield Row(
                    "publish",
                    f"{what}: umqtt.simple over ours",
                    umqtt / ours,
                    "x",
                    f"{number(umqtt)} us; the most that can be: {number(umqtt / limit)} x",
                    least=_LEAST_OF_UMQTT if counts and short else None,
                )
