"""The tests of the pure modules again, on the interpreter that the camera has."""

import importlib
import subprocess
from pathlib import Path

import pytest

from host_tools.virtual_camera.micropython import MicroPython

ROOT = Path(__file__).parents[2]
MODULES = (
    "test_stamp",
    "test_topics",
    "test_settings",
    "test_der",
    "test_errors",
    "test_requests",
    "test_dns",
)


@pytest.mark.parametrize("module", MODULES)
def test_pure_module(module: str, runtime: MicroPython) -> None:
    name = f"tests.unit.{module}"
    tests = [test for test in dir(importlib.import_module(name)) if test.startswith("test_")]
    done = subprocess.run(
        [*runtime.command, "tests/unit/run_on_micropython.py", name],
        cwd=ROOT,
        env={"MICROPYPATH": f"{ROOT}:.frozen"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1:] == [f"{len(tests)} passed, 0 failed"], done.stdout
