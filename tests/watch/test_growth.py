"""A watcher's memory does not grow with what it has seen; tests.bench.growth is the long run."""

from pathlib import Path

from tests.bench import growth


def test_memory_is_flat(tmp_path: Path) -> None:
    found = growth.resident(4000, tmp_path, 5000)
    assert growth.growth(found) <= growth.MOST_MIB, found
