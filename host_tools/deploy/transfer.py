"""Brings files onto a camera so that it starts with all the old or all the new ones.

Every file is staged under deploy/, named by its digest, and read back by the camera. Then boot.py
(camera_side/boot.py) and the journal are written: from the journal's last byte on the deploy is
done, whatever happens. It is finished at once, or by boot.py at the next start.
"""

import errno
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from broker.errors import UserError
from host_tools.deploy.device import Device
from host_tools.deploy.plan import MANIFEST, Manifest, Plan

FLASH = "/flash/"
_STAGE = FLASH + "deploy"
_BOOT = FLASH + "boot.py"
_FINISHER = Path(__file__).parent / "camera_side/boot.py"
_STUB = Path(__file__).parent / "camera_side/card_boot.py"
_CARD_BOOT = "/sdcard/boot.py"
# Every finisher and stub that any release has written begins so.
_OURS = b"# anchorcam deploy: "
# 8 letters: one directory entry on FAT.
_NAME_LETTERS = 8


class Shown(Protocol):
    """Where progress is shown."""

    def file(self, name: str, size: int) -> AbstractContextManager["Bar"]:
        """A file of size bytes is transferred in the block."""
        ...


class Bar(Protocol):
    """The bar of one file."""

    def advance(self, size: int) -> None:
        """So many bytes more."""
        ...


def foreign_boot_files(device: Device, card: bool) -> list[str]:
    """Which boot.py is somebody else's and would be lost. card: one is in and shadows the flash."""
    found = []
    for path in (_BOOT, _CARD_BOOT) if card else (_BOOT,):
        data = device.read(path)
        if data and not data.startswith(_OURS):
            found.append(path)
    return found


def remove_card_boot(device: Device) -> None:
    """Remove what deploy() has put onto the SD card."""
    if (device.read(_CARD_BOOT) or b"").startswith(_OURS):
        device.remove(_CARD_BOOT)


def space_needed(image: Mapping[str, bytes], plan: Plan, block: int) -> int:
    """Bytes that must be free for it: each file twice, staged and in its place."""
    blocks = sum(-(-len(image[path]) // block) for path in plan.install)
    # Journal, boot.py, manifest, and a block for each folder.
    return (2 * blocks + 32) * block


def deploy(
    device: Device,
    image: Mapping[str, bytes],
    plan: Plan,
    manifest: Manifest | None,
    shown: Shown,
    card: bool = False,
) -> None:
    """Carry out the plan. manifest: what is to be on the camera then; None: nothing.

    The application must have been stopped. card: an SD card is in, from which the firmware
    starts. Raises UserError, LostError among them: then the old application is on the camera,
    or, after the journal, the new one.
    """
    install = {path: image[path] for path in plan.install}
    removed = list(plan.removed)
    if manifest is None:
        removed.append(MANIFEST)
    else:
        install[MANIFEST] = manifest.encode()
    try:
        _stage(device, install, shown)
        if card:
            _write_checked(device, _CARD_BOOT, _STUB.read_bytes())
        _write_checked(device, _BOOT, _FINISHER.read_bytes())
        _commit(device, install, removed)
    except OSError as error:
        _clean_up(device)
        raise UserError(of_flash(error)) from None
    try:
        device.run(
            "_names = {'__name__': 'anchorcam'}\n"
            f"exec(open({_BOOT!r}).read(), _names)\n"
            "_names['finish']()"
        )
    except OSError as error:
        raise UserError(
            f"{of_flash(error)}; the camera goes on with it at its next start"
        ) from None
    _verify(device, install, removed)


def _stage(device: Device, install: Mapping[str, bytes], shown: Shown) -> None:
    device.make_folder(_STAGE)
    wanted = {_staged(data): data for data in install.values()}
    there = device.names(_STAGE)
    # A journal of a deploy that was not carried out goes first: what it names is overwritten.
    for name in sorted(there, key=lambda name: name != "journal"):
        if name not in wanted:
            device.remove(f"{_STAGE}/{name}")
    have = device.digests(f"{_STAGE}/{name}" for name in there if name in wanted)
    for path, data in install.items():
        name = _staged(data)
        with shown.file(path, len(data)) as bar:
            if have.get(f"{_STAGE}/{name}") == _digest(data):
                bar.advance(len(data))
                continue
            device.write(f"{_STAGE}/{name}", data, bar.advance)
    got = device.digests(f"{_STAGE}/{name}" for name in wanted)
    for name, data in wanted.items():
        if got[f"{_STAGE}/{name}"] != _digest(data):
            path = next(path for path in install if install[path] == data)
            raise UserError(
                f"{path} did not arrive as it was sent: run it again, try another cable"
            )


def _commit(device: Device, install: Mapping[str, bytes], removed: list[str]) -> None:
    steps = {
        "install": [[_staged(data), path] for path, data in install.items()],
        "remove": removed,
    }
    text = json.dumps(steps).encode()
    _write_checked(device, f"{_STAGE}/journal", _digest(text).encode() + b"\n" + text)


def _write_checked(device: Device, path: str, data: bytes) -> None:
    if device.digests([path])[path] == _digest(data):
        return
    device.write(path, data)
    if device.digests([path])[path] != _digest(data):
        raise UserError(f"{path} is not what was written: is the camera's flash worn out?")


def _verify(device: Device, install: Mapping[str, bytes], removed: list[str]) -> None:
    got = device.digests(FLASH + path for path in (*install, *removed))
    wrong = [path for path, data in install.items() if got[FLASH + path] != _digest(data)]
    wrong += [path for path in removed if got[FLASH + path] is not None]
    if wrong:
        raise UserError(f"on the camera these are not as they should be: {', '.join(wrong)}")


def _clean_up(device: Device) -> None:
    """Give back the space; what is not committed is nothing to the camera."""
    device.remove(f"{_STAGE}/journal")
    for name in device.names(_STAGE):
        device.remove(f"{_STAGE}/{name}")
    device.remove(_BOOT)
    device.run(f"import os\ntry:\n os.rmdir({_STAGE!r})\nexcept OSError:\n pass")


def _staged(data: bytes) -> str:
    return _digest(data)[:_NAME_LETTERS]


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def of_flash(error: OSError) -> str:
    """What to say of an error that the camera's flash gave, before anything was committed."""
    if error.errno == errno.ENOSPC:
        return (
            "the camera's flash is full: nothing was changed; remove files from it (the spool,"
            " pictures), then deploy again"
        )
    return f"the camera's flash gives an error ({error.strerror}): nothing was changed"
