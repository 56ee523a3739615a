"""The benchmarks run, and what can be counted, and not only timed, is as promised."""

import json
import subprocess
import sys

from tests.brokers import REPOSITORY


def test_bytes_and_records_on_the_wire() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "wire", "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {row["bench"] for row in rows} == {"wire"}
    assert sum(row["holds"] is True for row in rows) == 4


def test_a_name_that_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "everything"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no such benchmark: everything" in done.stderr
