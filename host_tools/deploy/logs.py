"""`anchorcam logs`: what a camera says on its serial console, with this machine's time."""

from datetime import datetime

from host_tools.deploy import ports
from host_tools.deploy.device import Device
from host_tools.deploy.stopping import PortOption


def logs(port: PortOption = None) -> None:
    """Follow the serial console, over resets, until Ctrl-C; the camera is not disturbed."""
    with Device(ports.choose(port)) as device:
        try:
            for line in device.lines():
                if line:
                    moment = datetime.now().astimezone().isoformat(" ", "milliseconds")
                    print(f"{moment}  {line}", flush=True)
        except KeyboardInterrupt:
            return
