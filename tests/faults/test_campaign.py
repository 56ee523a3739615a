"""A short campaign in every run of the suite; `make faults` is the long one."""

from pathlib import Path

import pytest

from host_tools.virtual_camera.micropython import MicroPython
from tests.faults import campaign


@pytest.mark.timeout(300)
def test_nothing_is_lost_without_being_counted(
    tmp_path: Path, runtime: MicroPython, library: Path, data: Path
) -> None:
    report = campaign.run(20261124, 25, tmp_path, runtime, library, data)
    story = "\n".join([*report.log, *report.console[-100:]])
    assert not report.findings.wrong, f"{report.findings.wrong}\n{story}"
    assert report.findings.delivered > 50
