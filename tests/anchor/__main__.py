"""Writes docs/truth-table.md: `python -m tests.anchor`."""

import tempfile
from pathlib import Path

from host_tools.virtual_camera import micropython
from tests.anchor import truth
from tests.brokers import running_broker

with tempfile.TemporaryDirectory() as folder:
    data = Path(folder) / "data"
    with running_broker(data, "--zoo", "--zoo-port=0") as zoo:
        answers = truth.measure(micropython.find(), truth.cells(data), zoo.ready["zoo"])
truth.DOCUMENT.write_text(truth.document(answers))
print(f"{len(answers)} answers of mbedTLS in {truth.DOCUMENT}")
