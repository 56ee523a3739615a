"""What can go wrong: each fault with its beginning and its end. To add one: write it, list it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.faults.bench import Bench
from tests.faults.proxy import Mode

YEAR_S = 365 * 86400.0


@dataclass(frozen=True)
class Fault:
    """begin: does it; end: undoes it; on: of faults on the same thing one is there at a time."""

    name: str
    on: str
    begin: Callable[[Bench, Random], None]
    end: Callable[[Bench, Random], None]
    weight: int = 1


def _nothing(bench: Bench, rng: Random) -> None:
    """It is over by itself."""


def _mode(mode: Mode) -> Callable[[Bench, Random], None]:
    return lambda bench, rng: bench.network.set_mode(mode)


def _calm(bench: Bench, rng: Random) -> None:
    bench.network.calm()


def _cut(*, reset: bool) -> Callable[[Bench, Random], None]:
    def begin(bench: Bench, rng: Random) -> None:
        direction = rng.choice(("up", "up", "down"))
        # Within the handshake, within a small message, within a snapshot.
        most = rng.choice((300, 3000, 12000)) if direction == "up" else 4000
        bench.network.cut(direction, rng.randrange(1, most), reset=reset)

    return begin


def _latency(bench: Bench, rng: Random) -> None:
    bench.network.latency_s = rng.choice((0.02, 0.1, 0.4))


def _garbage(bench: Bench, rng: Random) -> None:
    bench.network.garbage(rng.choice((1, 5, 100, 5000)), rng.randrange(1 << 30))


def _power_off(bench: Bench, rng: Random) -> None:
    bench.power_cut()


def _power_on(bench: Bench, rng: Random) -> None:
    bench.power_on()


def _damage(bench: Bench, rng: Random) -> None:
    """The card is damaged while the camera is off: bits, ends, and things that do not belong."""
    bench.power_cut()
    files = bench.spool_files()
    for path in rng.sample(files, min(len(files), rng.randrange(4))):
        data = bytearray(path.read_bytes())
        match rng.randrange(4):
            case 0:
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                path.write_bytes(data)
            case 1:
                path.write_bytes(data[: rng.randrange(len(data))])
            case 2:
                path.write_bytes(rng.randbytes(len(data)))
            case 3:
                path.unlink()
                path.mkdir()
                (path / "FILE0001.CHK").write_bytes(b"lost cluster")
    folder = bench.camera.flash / "spool/0"
    for name in rng.sample(("NEW.PRT", "00000009/NEW.PRT", "DCIM", "a.tmp", "FFFFFFFF.JPG"), 2):
        stray = folder / name
        stray.parent.mkdir(parents=True, exist_ok=True)
        if not stray.exists():
            stray.write_bytes(rng.randbytes(rng.randrange(2000)))


def _broker_dies(bench: Bench, rng: Random) -> None:
    bench.broker_dies()


def _broker_returns(bench: Bench, rng: Random) -> None:
    bench.broker_returns()


def _broker_returns_renewed(bench: Bench, rng: Random) -> None:
    bench.broker_returns(with_new_leaf=True)


def _clock(lie_s: float | None, late_s: float = 0.0) -> Callable[[Bench, Random], None]:
    def begin(bench: Bench, rng: Random) -> None:
        bench.clock_lies_s = lie_s
        bench.clock_late_s = late_s

    return begin


def _sensor(works: bool) -> Callable[[Bench, Random], None]:
    def set_sensor(bench: Bench, rng: Random) -> None:
        bench.sensor_works = works

    return set_sensor


def _dns(works: bool) -> Callable[[Bench, Random], None]:
    def set_dns(bench: Bench, rng: Random) -> None:
        bench.dns_works = works

    return set_dns


def _wifi_away(bench: Bench, rng: Random) -> None:
    bench.camera.set_link(False)
    bench.network.set_mode(Mode.HALF_OPEN)


def _wifi_back(bench: Bench, rng: Random) -> None:
    bench.camera.set_link(True)
    bench.network.calm()


_GOOD_CLOCK = _clock(0.0)

FAULTS = (
    Fault("stall", "network", _mode(Mode.STALL), _calm, 3),
    Fault("half-open", "network", _mode(Mode.HALF_OPEN), _calm, 3),
    Fault("2 KB/s", "network", _mode(Mode.SLOW), _calm, 2),
    Fault("refused", "network", _mode(Mode.REFUSE), _calm, 3),
    Fault("latency", "network", _latency, _calm, 2),
    Fault("cut in a packet", "network", _cut(reset=False), _nothing, 5),
    Fault("reset in a packet", "network", _cut(reset=True), _nothing, 5),
    Fault("garbage", "network", _garbage, _nothing, 3),
    Fault("broker killed", "network", _broker_dies, _broker_returns),
    Fault("certificate renewed", "network", _broker_dies, _broker_returns_renewed),
    Fault("power cut", "power", _power_off, _power_on, 6),
    Fault("spool damaged", "power", _damage, _power_on, 2),
    Fault("clock silent", "clock", _clock(None), _GOOD_CLOCK, 2),
    Fault("clock a year back", "clock", _clock(-YEAR_S), _GOOD_CLOCK),
    Fault("clock 30 years ahead", "clock", _clock(30 * YEAR_S), _GOOD_CLOCK),
    Fault("clock late", "clock", _clock(0.0, 0.3), _GOOD_CLOCK),
    Fault("Wi-Fi away", "network", _wifi_away, _wifi_back, 2),
    Fault("DNS silent", "dns", _dns(False), _dns(True), 2),
    Fault("sensor dead", "sensor", _sensor(False), _sensor(True), 2),
)
