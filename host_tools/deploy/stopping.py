"""A camera whose application is stopped, for what has to be done meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from broker.errors import UserError
from host_tools.bootstrap import step
from host_tools.deploy import application, facts, ports, transfer
from host_tools.deploy.device import Device, LostError
from host_tools.deploy.facts import Facts

PortOption = Annotated[
    str | None,
    typer.Option("--port", help="Serial port or USB serial number.", show_default="the only one"),
]


@dataclass
class Stopped:
    """A camera at its prompt, and what it is; until start()."""

    device: Device
    facts: Facts
    is_started: bool = False

    def start(self) -> None:
        """Reset the camera: what is on its flash starts, with this machine's time."""
        application.set_clock(self.device)
        self.device.reset()
        self.is_started = True


@contextmanager
def stopped(port: ports.Port, check: Callable[[Device, Facts], None]) -> Iterator[Stopped]:
    """The camera at its prompt, its application stopped; it is started again after an error.

    check: raises UserError when this is not the camera; nothing was touched by then.
    """
    with Device(port) as device:
        device.interrupt()
        camera: Stopped | None = None
        try:
            about = facts.read(device)
            print(f"camera    {about.title}, on {port.device}")
            free, size = about.flash_free / 2**20, about.flash_bytes / 2**20
            card = "; an SD card is in" if about.has_card else ""
            print(f"flash     {free:.1f} of {size:.1f} MiB free{card}")
            check(device, about)
            with step("stop the application"):
                application.stop(device)
            camera = Stopped(device, about)
            yield camera
        except LostError as error:
            raise UserError(
                f"{error} Connect it and run this again; if it is switched on meanwhile it starts"
                " with the old application, or with the new one if that was there already"
            ) from None
        except OSError as error:
            _start_again(device)
            raise UserError(transfer.of_flash(error)) from None
        except BaseException:
            if camera is None or not camera.is_started:
                _start_again(device)
            raise


def _start_again(device: Device) -> None:
    try:
        device.reset()
    except (UserError, OSError):  # the first error says more
        pass
