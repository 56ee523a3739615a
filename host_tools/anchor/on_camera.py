"""The same probe on the attached camera: its own mbedTLS, over its own network."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from host_tools.anchor import report
from host_tools.anchor.mbedtls import Answer, Question, laid_out, read_answers
from host_tools.deploy import application, ports
from host_tools.deploy.device import Device

# Beside the application, which is not touched.
_FOLDER = "/flash/check"
_RUN = f"""
import os, sys
os.chdir("{_FOLDER}")
for _name in [name for name in sys.modules if name.partition(".")[0] == "camera"]:
    del sys.modules[_name]
with open("probe.py") as _file:
    exec(_file.read(), {{"__name__": "__main__"}})
"""
_REMOVE = f"""
import os
def _remove(path):
    for name, kind, *_ in os.ilistdir(path):
        (_remove if kind == 0x4000 else os.remove)(path + "/" + name)
    os.rmdir(path)
os.chdir("/")
_remove("{_FOLDER}")
"""


def ask(
    port: str | None,
    network: Mapping[str, Any],
    questions: Sequence[Question],
    limits_s: Mapping[str, float],
    at: datetime,
) -> list[Answer]:
    """As mbedtls.ask(), of the camera at this port (None: the only one). network: of the settings.

    The application is stopped for it and started again. Raises UserError.
    """
    with Device(ports.choose(port)) as device:
        with report.working(f"stopping the application on {device.port.device}"):
            device.interrupt()
            application.stop(device)
        try:
            application.set_clock(device, at)
            laid = laid_out(questions, limits_s, network)
            device.make_folder(_FOLDER)
            device.make_folder(f"{_FOLDER}/camera")
            with report.working(f"copying the probe to {device.port.device}"):
                for path, contents in laid.items():
                    device.write(f"{_FOLDER}/{path}", contents)
            with report.working(f"asking the camera's mbedTLS {len(questions)} times"):
                each = limits_s["dns"] + limits_s["connect"] + limits_s["handshake"]
                said = device.run(_RUN, limits_s["link"] + each + 5)
            return read_answers(said, len(questions), said)
        finally:
            # Among the files are the Wi-Fi's key and perhaps the camera's own.
            device.run(_REMOVE)
            device.reset()
