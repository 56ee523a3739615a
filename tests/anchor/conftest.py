"""A broker with its zoo, for the tests that ask it."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers import BrokerProcess, running_broker
from tests.host.commands import Done, anchorcam


@pytest.fixture(scope="session")
def zoo_data(tmp_path_factory: pytest.TempPathFactory, made_once: Path) -> Path:
    """The data folder of the broker with the zoo."""
    data = tmp_path_factory.mktemp("zoo")
    shutil.copytree(made_once / "authority", data / "authority")
    return data


@pytest.fixture(scope="session")
def zoo(zoo_data: Path) -> Iterator[BrokerProcess]:
    """`anchorcam broker --zoo`."""
    with running_broker(zoo_data, "--zoo", "--zoo-port=0") as process:
        yield process


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
