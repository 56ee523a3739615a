"""An intake without a network, for tests of what becomes of messages."""

from pathlib import Path

from broker.errors import UserError
from host_tools.watch.events import Event
from host_tools.watch.intake import Intake
from host_tools.watch.ledger import Ledger
from host_tools.watch.verdicts import Verdict


class Desk:
    """An intake and what it told; `again` is the same after a restart."""

    def __init__(self, folder: Path, reorder_s: float = 0.0) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.ledger = Ledger(folder)
        try:
            self.intake = Intake(folder, self.ledger, reorder_s, self.events.append)
        except UserError:
            self.ledger.close()
            raise

    def give(self, payload: bytes, camera: str = "cam1") -> Event:
        self.intake.snapshot(camera, payload)
        return self.events[-1]

    def close(self) -> None:
        self.intake.close()
        self.ledger.close()

    def again(self) -> "Desk":
        self.close()
        return Desk(self.folder)

    def count(self, verdict: Verdict) -> int:
        return sum(camera.counts[verdict] for camera in self.intake.view())

    @property
    def latest(self) -> bytes:
        self.intake.tick()
        return (self.folder / "cam1" / "latest.jpg").read_bytes()
