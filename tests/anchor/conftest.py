"""A user's folder, and the zoo to ask about."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess
from tests.host.commands import Done, anchorcam


@dataclass(frozen=True)
class Desk:
    """A user's folder, and the zoo's servers. roots: the folder with the zoo's roots."""

    folder: Path
    roots: Path
    _zoo: BrokerProcess

    def port(self, row: str) -> int:
        """The port of a row of the zoo."""
        return int(self._zoo.ready["zoo"][row])

    def server(self, row: str) -> str:
        """The same as a user types it."""
        return f"localhost:{self.port(row)}"

    def anchor(self, *arguments: str) -> Done:
        """`anchorcam anchor ...` in the user's folder."""
        return anchorcam("anchor", *arguments, cwd=self.folder)

    def written(self) -> list[str]:
        """The names of the anchors that are in anchors/."""
        return sorted(path.name for path in (self.folder / "anchors").glob("*"))


@pytest.fixture
def desk(tmp_path: Path, zoo: BrokerProcess, zoo_data: Path) -> Desk:
    """A folder of one's own."""
    return Desk(tmp_path, zoo_data / "anchors", zoo)
