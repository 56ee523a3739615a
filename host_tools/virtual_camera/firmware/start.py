"""Stand-in for what the firmware does with an SD card before main.py (runs under MicroPython).

The card is an image file with a real FAT. Each block goes into the file at once: a killed
process leaves what a power cut leaves.
"""

import os
import sys

import vfs

_BLOCK_BYTES = 512


class _Card:
    def __init__(self, path):
        self._file = open(path, "r+b")
        self._count = self._file.seek(0, 2) // _BLOCK_BYTES

    def readblocks(self, block, data):
        self._file.seek(block * _BLOCK_BYTES)
        self._file.readinto(data)

    def writeblocks(self, block, data):
        self._file.seek(block * _BLOCK_BYTES)
        self._file.write(data)

    def ioctl(self, operation, argument):
        # vfs.AbstractBlockDev: 4 is the number of blocks, 5 their size.
        if operation == 4:
            return self._count
        if operation == 5:
            return _BLOCK_BYTES
        return 0


def _mount(path):
    card = _Card(path)
    try:
        vfs.mount(vfs.VfsFat(card), "/sdcard")
    except OSError:  # blank
        vfs.VfsFat.mkfs(card)
        vfs.mount(vfs.VfsFat(card), "/sdcard")


_mount(os.getenv("VIRTUAL_CAMERA_SD"))
with open("main.py") as _file:
    _main = compile(_file.read(), "main.py", "exec")
# main.py looks for its modules in its own folder, as if it had been started itself.
sys.path[0] = ""
exec(_main, {"__name__": "__main__"})  # noqa: S102
