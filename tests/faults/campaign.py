"""A randomised campaign: faults, one after the other and together, and then the reckoning."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from host_tools.virtual_camera.micropython import MicroPython
from tests.faults.bench import Bench
from tests.faults.faults import FAULTS, Fault
from tests.faults.judge import Findings, judge

# Seconds: most faults are short, so that many fit in; some outlast every limit.
DURATIONS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0)


@dataclass
class Report:
    """What a campaign did and found."""

    seed: int
    faults: Counter[str]
    seconds: float
    failures: dict[str, int]  # of the camera's last boots, by reason code
    findings: Findings
    log: list[str]  # what was done when
    console: list[str]

    def as_json(self) -> dict[str, Any]:
        """What a program may read."""
        fields = asdict(self.findings) | {"faults": dict(self.faults)}
        return {"seed": self.seed, "seconds": round(self.seconds), **fields}


def run(
    seed: int,
    count: int,
    folder: Path,
    runtime: MicroPython,
    library: Path,
    data: Path,
    window: int = 1,
    progress: Callable[[int, str], None] = lambda done, name: None,
) -> Report:
    """Inject `count` faults, chosen by the seed, and judge what became of every frame."""
    rng = Random(seed)
    began = time.monotonic()
    done: Counter[str] = Counter()
    log: list[str] = []

    def note(text: str) -> None:
        log.append(f"{time.monotonic() - began:8.2f} {text}")

    with Bench(folder, runtime, library, data, window) as bench:
        while sum(done.values()) < count:
            chosen = _choose(rng)[: count - sum(done.values())]
            for fault in chosen:
                note(f"{fault.name} begins")
                done[fault.name] += 1
                fault.begin(bench, rng)
            time.sleep(rng.choice(DURATIONS_S))
            for fault in chosen:
                fault.end(bench, rng)
                note(f"{fault.name} ends")
            progress(sum(done.values()), chosen[-1].name)
            time.sleep(rng.uniform(0, 0.4))
        note("calm")
        try:
            bench.settle()
            findings = judge(bench)
        except AssertionError as error:
            findings = Findings(wrong=[f"it did not come to rest: {error}"])
        console = list(bench.camera.console)
    failures = Counter(
        line.split("] ", 1)[1].split(":", 1)[0] for line in console if _is_failure(line)
    )
    return Report(seed, done, time.monotonic() - began, dict(failures), findings, log, console)


def _choose(rng: Random) -> list[Fault]:
    """One fault, and now and then a second one elsewhere."""
    weights = [fault.weight for fault in FAULTS]
    first = rng.choices(FAULTS, weights)[0]
    second = rng.choices(FAULTS, weights)[0]
    return [first, second] if rng.random() < 0.25 and second.on != first.on else [first]


def _is_failure(line: str) -> bool:
    from camera.errors import REASONS

    return any(f"] {code}: {text}" in line for code, text in REASONS.items())
