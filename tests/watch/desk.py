"""An intake without a network, for tests of what becomes of messages."""

from pathlib import Path

from sqlalchemy import URL

from broker.errors import UserError
from host_tools.watch.events import Event
from host_tools.watch.evidence import check
from host_tools.watch.intake import Intake
from host_tools.watch.ledger import Ledger
from host_tools.watch.retention import Keep
from host_tools.watch.schema import location
from host_tools.watch.verdicts import Verdict


class Desk:
    """An intake and what it told; `again` is the same after a restart."""

    def __init__(self, folder: Path, url: URL | None = None) -> None:
        self.folder = folder
        self.url = url or location(folder)
        self.open()

    def open(self, keep_images: Keep = Keep(), keep_rows: Keep = Keep()) -> None:  # noqa: B008
        self.events: list[Event] = []
        self.ledger = Ledger(self.folder, self.url)
        try:
            self.intake = Intake(
                self.folder, self.ledger, 0.0, self.events.append, keep_images, keep_rows
            )
        except UserError:
            self.ledger.close()
            raise

    def give(self, payload: bytes, camera: str = "cam1") -> Event:
        self.intake.snapshot(camera, check(camera, payload), payload)
        return self.events[-1]

    def close(self) -> None:
        self.intake.close()
        self.ledger.close()

    def again(self) -> "Desk":
        self.close()
        return Desk(self.folder, self.url)

    def count(self, verdict: Verdict) -> int:
        return sum(camera.counts[verdict] for camera in self.intake.view())

    @property
    def latest(self) -> bytes:
        self.intake.tick()
        return (self.folder / "cam1" / "latest.jpg").read_bytes()
