"""kill -9 at any moment, again and again: nothing is lost, and nothing counts twice.

$KILLED_SNAPSHOTS makes it longer; `python -m tests.bench.killing` is the full run.
"""

import os
from pathlib import Path

from tests.bench import killing


def test_killed_again_and_again(tmp_path: Path) -> None:
    count = int(os.environ.get("KILLED_SNAPSHOTS", "800"))
    outcome = killing.measure(count, tmp_path, seed=os.getpid(), size=5000)
    assert outcome.wrong == []
    assert (outcome.rows, outcome.kills > 0) == (count, True)
