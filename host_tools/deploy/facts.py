"""What a board says about itself, and why it cannot be a camera of ours."""

import json
import re
from dataclasses import dataclass
from typing import Any

from broker.errors import UserError
from host_tools.deploy.device import Device

# csi is there since then.
OLDEST = (4, 8)

_ASK = """
import gc, json, os, sys
def _has(name):
    try:
        return bool(__import__(name))
    except Exception:
        return False
def _attributes(name, *names):
    module = __import__(name) if _has(name) else None
    return [each for each in names if hasattr(module, each)]
def _tells_chain():
    try:
        import ssl
        return hasattr(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)._context, 'verify_callback')
    except Exception:
        return False
def _stat(folder):
    try:
        return list(os.statvfs(folder)[:4])
    except OSError:
        return None
def _skips():
    try:
        os.stat('/flash/SKIPSD')
        return True
    except OSError:
        return False
_omv = __import__('omv') if _has('omv') else None
print(json.dumps({
    'machine': getattr(sys.implementation, '_machine', ''),
    'version': list(sys.implementation[1][:3]),
    'mpy': getattr(sys.implementation, '_mpy', 0),
    'board': _omv.board_type() if _omv else '',
    'release': _omv.version_string() if _omv else '',
    'missing': [n for n in ('csi', 'ssl', 'network', 'hashlib', 'json', 'machine') if not _has(n)],
    'network': _attributes('network', 'WLAN', 'LAN', 'WINC'),
    'tells_chain': _tells_chain(),
    'mounts': os.listdir('/'),
    'flash': _stat('/flash'),
    'skips': _skips(),
    'heap': gc.mem_free(),
}))
"""


@dataclass(frozen=True)
class Facts:
    """What a board is.

    board, release: as the OpenMV firmware says, "" for another firmware; micropython: its
    version; mpy: what of .mpy it loads (sys.implementation._mpy); missing: modules that a camera
    needs and that are not there; network: of WLAN, LAN, WINC those that are there; tells_chain:
    the TLS has verify_callback; flash_free, flash_block: bytes, 0 without /flash; heap: bytes
    that are free; has_card, skips_card: an SD card is mounted, /flash/SKIPSD is there.
    """

    machine: str
    board: str
    release: str
    micropython: str
    mpy: int
    missing: tuple[str, ...]
    network: tuple[str, ...]
    tells_chain: bool
    flash_free: int
    flash_block: int
    flash_bytes: int
    heap: int
    has_card: bool
    skips_card: bool

    @property
    def title(self) -> str:
        """One line for people."""
        firmware = f"OpenMV {self.release}" if self.release else "not OpenMV's firmware"
        name = self.board or self.machine or "a board without a name"
        return f"{name}, {firmware}, MicroPython {self.micropython}"

    @property
    def card_shadows(self) -> bool:
        """The firmware looks for boot.py and main.py on the SD card."""
        return self.has_card and not self.skips_card


def read(device: Device) -> Facts:
    """Ask the camera, whose program was interrupted. Raises UserError when it is no MicroPython."""
    try:
        told: dict[str, Any] = json.loads(device.run(_ASK).strip().splitlines()[-1])
        block, flash_block, blocks, free = told["flash"] or (0, 0, 0, 0)
        return Facts(
            machine=told["machine"],
            board=told["board"],
            release=told["release"],
            micropython=".".join(map(str, told["version"])),
            mpy=told["mpy"],
            missing=tuple(told["missing"]),
            network=tuple(told["network"]),
            tells_chain=told["tells_chain"],
            flash_free=flash_block * free,
            flash_block=block,
            flash_bytes=flash_block * blocks,
            heap=told["heap"],
            has_card="sdcard" in told["mounts"],
            skips_card=told["skips"],
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"the board on {device.port.device} does not say what it is ({error}): it is no"
            " camera that anchorcam knows"
        ) from None


def refusals(facts: Facts, kind: str) -> list[str]:
    """Why the application would not run there. kind: of the network, as in config.json."""
    found = []
    release = tuple(int(number) for number in re.findall(r"\d+", facts.release)[:2])
    if "WINC" in facts.network:
        found.append(
            "its Wi-Fi is the WINC1500 shield, in whose TLS time-outs do not work: take a board"
            " with built-in Wi-Fi (N6, RT1062, AE3, Arduino Portenta, Nicla or Giga)"
        )
    elif release and release < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        found.append(
            f"its firmware is OpenMV {facts.release}, needed is {oldest} or later: update it with"
            " the OpenMV IDE (Tools, Install the Latest Release)"
        )
    elif facts.missing:
        found.append(
            f"its firmware has no {', '.join(facts.missing)}: it is no camera, or not OpenMV's"
            " firmware; install that with the OpenMV IDE"
        )
    elif kind == "wifi" and "WLAN" not in facts.network:
        found.append("it has no Wi-Fi: set network.kind to ethernet, or take another board")
    elif kind == "ethernet" and "LAN" not in facts.network:
        found.append("it has no Ethernet: set network.kind to wifi, or take another board")
    if not facts.flash_bytes:
        found.append("it has no file system at /flash: format it with the OpenMV IDE")
    return found
