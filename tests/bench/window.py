"""Target 2: publishing over a link with a round trip of 50 ms, with a window of 4."""

from collections.abc import Iterator
from dataclasses import replace

from tests.bench.lab import Lab
from tests.bench.rows import Row, medians, number
from tests.faults.proxy import proxied

_ROUND_TRIP_S = 0.05
_WINDOW = 4
_SIZE = 30_000
_COUNT, _ROUNDS = 40, 5


def measure(lab: Lab) -> Iterator[Row]:
    """Rates with stop-and-wait and with the window, in turn."""
    for name, endpoint in lab.brokers.items():
        with proxied(endpoint.port) as link:
            link.latency_s = _ROUND_TRIP_S / 2
            values = {
                "broker": lab.account(replace(endpoint, port=link.port)),
                "size": _SIZE,
                "count": _COUNT,
                "rounds": _ROUNDS,
            }
            measured = lab.run("window.py", values)
        one, window = (us / 1e6 for us in medians(measured, "one", "window"))
        counts = name == "mosquitto"
        how = f"{number(_COUNT / window)}/s, one at a time {number(_COUNT / one)}/s"
        yield Row(
            "window",
            f"30 KB, 50 ms, {name}: window of 4 over stop-and-wait",
            one / window,
            "x",
            how,
            least=3.5 if counts else None,
        )
        theory = _COUNT / _WINDOW * _ROUND_TRIP_S
        yield Row(
            "window",
            f"30 KB, 50 ms, {name}: time over a window per round trip",
            window / theory,
            "x",
            f"{number(window * 1000)} ms for {_COUNT}, theory {number(theory * 1000)} ms",
            most=1.2 if counts else None,
        )
