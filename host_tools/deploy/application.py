"""The application on a camera, from its prompt: which one it is; stop it, set the clock."""

import json
from datetime import UTC, datetime

from camera import maintenance
from host_tools.deploy.device import Device
from host_tools.deploy.plan import MANIFEST, Manifest, read_manifest
from host_tools.deploy.transfer import FLASH

_STATE = FLASH + "state"
_MARKER = f"{_STATE}/{maintenance.NAME}"


def camera_id(device: Device) -> str | None:
    """The id in the config.json on the camera; None when there is none."""
    try:
        found = json.loads(device.read(FLASH + "config.json") or b"null")["camera"]["id"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(found)


def manifest(device: Device) -> Manifest | None:
    """What an earlier deploy has put onto the camera."""
    return read_manifest(device.read(FLASH + MANIFEST) or b"")


def boot_number(device: Device) -> int:
    """How often the application has started; 0: never."""
    data = device.read(f"{_STATE}/boot") or device.read(f"{_STATE}/boot.new")
    try:
        return int(data or b"0")
    except ValueError:
        return 0


def stop(device: Device) -> None:
    """Reset the camera to its prompt, where no watchdog runs.

    Were the power cut now or later, the application would start.
    """
    device.make_folder(_STATE)
    device.write(_MARKER, maintenance.ONCE.encode())
    device.reset()
    device.interrupt()
    # An application that does not know it leaves it there, or there is none.
    device.remove(_MARKER)


def set_clock(device: Device, at: datetime | None = None) -> None:
    """Set the camera's clock, in UTC. at: None: this machine's time."""
    now = at or datetime.now(UTC)
    moment = (now.year, now.month, now.day, now.isoweekday(), now.hour, now.minute, now.second, 0)
    device.run(f"import machine\nmachine.RTC().datetime({moment!r})")
