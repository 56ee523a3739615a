"""Stand-in for what the firmware does around main.py: file systems, boot.py, the prompt.

The camera's flash is a folder of the host, mounted at /flash; the SD card an image file
with a real FAT, each block of which goes into the file at once: a killed process leaves what a
power cut leaves. Runs under MicroPython.
"""

import os
import sys

import ffi
import machine
import prompt
import uctypes
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


def _exists(path):
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def _mount_flash():
    folder = os.getenv("VIRTUAL_CAMERA_FLASH")
    flash = vfs.VfsPosix(folder)
    if os.getenv("VIRTUAL_CAMERA_FLASH_BYTES"):
        import flash as limited

        flash = limited.Flash(flash, folder)
    vfs.mount(flash, "/flash")
    os.chdir("/flash")
    # As the firmware has it; the stand-ins, in the script's own folder, are frozen in it.
    places = ["", sys.path[0], ".frozen"]
    places.extend(_mount_rom())
    places.extend(("/flash", "/flash/lib"))
    sys.path[:] = places


def _mount_rom():
    path = os.getenv("VIRTUAL_CAMERA_ROM")
    if not path:
        return []
    vfs.mount(vfs.VfsRom(_mapped(path)), "/rom")
    return ["/rom", "/rom/lib"]


def _mapped(path):
    """The file's bytes where a camera has its ROM: in the address space, not on the heap."""
    size = os.stat(path)[6]
    allocate = ffi.open(None).func("P", "malloc", "L")
    image = uctypes.bytearray_at(allocate(size), size)
    with open(path, "rb") as file:
        file.readinto(image)
    return image


def _mount_card(path):
    card = _Card(path)
    try:
        vfs.mount(vfs.VfsFat(card), "/sdcard")
    except OSError:  # blank
        vfs.VfsFat.mkfs(card)
        vfs.mount(vfs.VfsFat(card), "/sdcard")
    sys.path.extend(("/sdcard", "/sdcard/lib"))
    if os.getenv("VIRTUAL_CAMERA_SD_BOOTS"):
        os.chdir("/sdcard")


def _run(name):
    """Run a file of the working folder, if it is there; False when it raised."""
    if not _exists(name):
        return True
    try:
        with open(name) as file:
            code = compile(file.read(), name, "exec")
        exec(code, {"__name__": "__main__"})  # noqa: S102
    except SystemExit:
        pass
    except BaseException as error:
        sys.print_exception(error)
        return False
    return True


_mount_flash()
if os.getenv("VIRTUAL_CAMERA_SD") and not _exists("SKIPSD"):
    _mount_card(os.getenv("VIRTUAL_CAMERA_SD"))
# openmv ports/stm32/main.c: boot.py at each reset, main.py at a hard one and not after a
# boot.py that failed.
_is_good = _run("boot.py") and (machine.reset_cause() == machine.SOFT_RESET or _run("main.py"))
if os.getenv("VIRTUAL_CAMERA_SERIAL"):
    prompt.serve()
elif not _is_good:
    sys.exit(1)
