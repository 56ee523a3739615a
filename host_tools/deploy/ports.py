"""Finds the serial port of the camera, and says plainly why there is none."""

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from broker.errors import UserError

# Vendor and product, None: every product of this vendor. Source: OMV_USB_VID and OMV_USB_PID in
# boards/*/*.mk of openmv/openmv; 1209:abd1 is what OpenMV had before it had a vendor id.
_OPENMV = "OpenMV"
USB_IDS: dict[tuple[int, int | None], str] = {
    (0x37C5, None): _OPENMV,
    (0x37C5, 0x1202): "OpenMV M4",
    (0x37C5, 0x1203): "OpenMV M7",
    (0x37C5, 0x1204): "OpenMV H7",
    (0x37C5, 0x1205): "OpenMV Pure Thermal",
    (0x37C5, 0x1206): "OpenMV N6",
    (0x37C5, 0x1060): "OpenMV RT1062",
    (0x37C5, 0x16E3): "OpenMV AE3",
    (0x1209, 0xABD1): "OpenMV (firmware before its own vendor id)",
    (0x2341, 0x045B): "Arduino Portenta H7",
    (0x2341, 0x055F): "Arduino Nicla Vision",
    (0x2341, 0x0466): "Arduino Giga R1",
}


@dataclass(frozen=True)
class Port:
    """A serial port. serial: of the USB device, "" where it has none; name: of the board."""

    device: str
    serial: str = ""
    name: str = ""

    def check(self) -> None:
        """Raises UserError with the reason when it cannot be opened."""
        trouble = self.trouble()
        if trouble:
            raise UserError(trouble)

    def trouble(self) -> str:
        """Why it cannot be opened; "" when it can."""
        try:
            handle = os.open(self.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            return f"{self.device} cannot be opened: {_why(error, self.device)}"
        try:
            return _lock_trouble(handle, self.device)
        finally:
            os.close(handle)

    def found_again(self) -> "Port | None":
        """The same camera's port after a reset, which may have another name; None: not yet."""
        if not self.serial:
            return self if Path(self.device).exists() else None
        return next((port for port in cameras() if port.serial == self.serial), None)


def cameras(ports: Sequence[ListPortInfo] | None = None) -> list[Port]:
    """The ports with a camera's USB id, of these or of the machine's."""
    found = []
    for info in list_ports.comports() if ports is None else ports:
        if info.vid is None:
            continue
        name = USB_IDS.get((info.vid, info.pid)) or USB_IDS.get((info.vid, None))
        if name:
            found.append(Port(info.device, info.serial_number or "", name))
    return sorted(found, key=lambda port: port.device)


def choose(wanted: str | None, ports: Sequence[ListPortInfo] | None = None) -> Port:
    """The port that is wanted (its name, or the camera's USB serial number), or the only one.

    Raises UserError (exit code 2 when it must be said which).
    """
    found = cameras(ports)
    if wanted is not None:
        for port in found:
            if wanted in (port.device, port.serial):
                return port
        if os.path.lexists(wanted):
            return Port(wanted)
        raise UserError(f"there is no port {wanted}: {_listed(found)}")
    if not found:
        raise UserError(
            f"{_listed(found)}; plug one in, or name its port with --port if it is a board that"
            " anchorcam does not know (a camera that is reset or dark gives no port)"
        )
    if len(found) > 1:
        raise UserError(f"{_listed(found)}; say which with --port PORT or SERIAL", exit_code=2)
    return found[0]


def _listed(found: Sequence[Port]) -> str:
    if not found:
        return "no camera is on USB here"
    lines = "".join(f"\n  {port.device}  {port.name}  serial {port.serial}" for port in found)
    return f"{len(found)} camera{'s are' if len(found) > 1 else ' is'} on USB here:{lines}\n"


def _why(error: OSError, device: str) -> str:
    if error.errno == errno.EACCES:
        return (
            "no permission: add yourself to the group that owns it (`sudo usermod -aG dialout"
            " $USER`, then log in again)"
        )
    if error.errno == errno.EBUSY:
        return _held(device)
    if error.errno == errno.ENOENT:
        return "it is not there: is the camera plugged in?"
    return str(error.strerror)


def _lock_trouble(handle: int, device: str) -> str:
    if sys.platform == "win32":
        return ""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"{device} cannot be opened: {_held(device)}"
    return ""


def _held(device: str) -> str:
    who = holder(device)
    return (
        f"{who or 'another program'} has it: close the OpenMV IDE, `anchorcam logs`, mpremote or"
        " whatever it is, and run this again"
    )


def holder(device: str) -> str:
    """Which program has the port open, "" where this system does not say (Linux says)."""
    target = os.path.realpath(device)
    for folder in Path("/proc").glob("[0-9]*/fd"):
        pid = folder.parent.name
        if int(pid) == os.getpid():
            continue
        try:
            if any(os.readlink(each) == target for each in folder.iterdir()):
                name = (folder.parent / "comm").read_text().strip()
                return f"{name} (process {pid})"
        except OSError:  # it has ended, or is somebody else's
            continue
    return ""
