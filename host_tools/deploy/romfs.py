"""The application as a ROMFS image: code and anchors read-only, settings and secrets outside."""

from collections.abc import Mapping
from pathlib import Path

from mpremote.romfs import VfsRomWriter

from broker.errors import UserError
from broker.files import write_atomic
from host_tools.deploy.device import Device

# Where the firmware mounts it; sys.path has it and lib/ in it, behind the flash.
MOUNT = "/rom/"
# What goes into it; config.json, secrets.json, keys/ and main.py stay on the flash.
_INSIDE = ("camera/", "lib/", "anchors/")


def split(image: Mapping[str, bytes]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What of an image goes into the ROMFS, and what stays on the flash."""
    inside = {path: data for path, data in image.items() if path.startswith(_INSIDE)}
    return inside, {path: data for path, data in image.items() if path not in inside}


def write(inside: Mapping[str, bytes], path: Path) -> None:
    """Write the image file. Raises UserError."""
    writer = VfsRomWriter()
    _add(writer, _tree(inside))
    try:
        write_atomic(path, writer.finalise(), 0o644)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}", exit_code=2) from None


def check(device: Device, digests: Mapping[str, str], path: Path) -> None:
    """Raises UserError unless the camera has exactly these files in its ROMFS.

    digests: path in the image -> SHA-256; path: of the image file.
    """
    there = device.digests(MOUNT + each for each in digests)
    if any(there[MOUNT + each] != digest for each, digest in digests.items()):
        raise UserError(
            f"the camera's ROMFS is not {path}: write it with `mpremote connect"
            f" {device.port.device} romfs deploy {path}`, then run this again"
        )


def _tree(files: Mapping[str, bytes]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for path, data in files.items():
        *folders, name = path.split("/")
        at = tree
        for folder in folders:
            below = at.setdefault(folder, {})
            assert isinstance(below, dict)
            at = below
        at[name] = data
    return tree


def _add(writer: VfsRomWriter, tree: Mapping[str, object]) -> None:
    for name, content in sorted(tree.items()):
        if isinstance(content, dict):
            writer.opendir(name)
            _add(writer, content)
            writer.closedir()
        else:
            writer.mkfile(name, content)
