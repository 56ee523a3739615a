"""One camera as its watcher has it in memory, and as it is shown."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from host_tools.watch.evidence import Arrival, Health, State
from host_tools.watch.track import Track
from host_tools.watch.twins import Twins
from host_tools.watch.verdicts import Verdict

# The latency shown is the median of this many snapshots.
LATENCIES = 50


@dataclass(frozen=True)
class CameraView:
    """One camera as it is now, for showing. Sizes in bytes, at in seconds of Unix time."""

    name: str
    online: bool | None  # None: it has not said
    health: Health
    counts: Mapping[Verdict, int]  # of all runs with this ledger
    run: Mapping[Verdict, int]  # of this run
    last: Arrival | None  # the last verified snapshot of this run
    last_at: float
    latency_ms: float | None  # with the error of the camera's clock in it
    path: Path | None  # the latest verified snapshot
    fault: str  # of the last snapshot that was not accepted in this run, or ""
    shared_at: float = 0  # when it was last seen that two cameras use this id; 0: never


@dataclass
class Seen:
    """One camera in memory."""

    name: str
    track: Track
    state: State | None = None
    health: Health = field(default_factory=Health)
    run: Counter[Verdict] = field(default_factory=Counter)
    last: Arrival | None = None
    last_at: float = 0
    latencies: deque[int] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    sampled_at: float = 0  # when its health was last recorded for plots
    fault: str = ""
    twins: Twins = field(default_factory=Twins)
    shared_at: float = 0

    def copy(self) -> "Seen":
        """As it is now; the track, and what it knows of twins, are the same ones."""
        return replace(self, run=Counter(self.run), latencies=self.latencies.copy())

    @property
    def latency_ms(self) -> float | None:
        return median(self.latencies) if self.latencies else None

    def view(self, latest: Path) -> CameraView:
        """For showing; latest: where its newest snapshot is if there is one."""
        return CameraView(
            name=self.name,
            online=self.state.online if self.state else None,
            health=self.health,
            counts=self.track.counts(),
            run=Counter(self.run),
            last=self.last,
            last_at=self.last_at,
            latency_ms=self.latency_ms,
            path=latest if latest.exists() else None,
            fault=self.fault,
            shared_at=self.shared_at,
        )
