"""A deploy on a real FAT, and what is on it after each of its sector writes.

Prints a line for each thing that is wrong, and at the end after how many writes the power was
cut. Runs under MicroPython.
"""

import hashlib
import json
import os
import sys
from binascii import hexlify

import vfs

SECTOR = 512
FINISHER = sys.argv[1]


class Disk:
    """Remembers its writes: the disk as it was after any of them can be made again."""

    def __init__(self, data):
        self.data = bytearray(data)
        self.first = bytes(data)
        self.writes = []

    def readblocks(self, block, buffer):
        buffer[:] = self.data[block * SECTOR : block * SECTOR + len(buffer)]

    def writeblocks(self, block, buffer):
        for at in range(0, len(buffer), SECTOR):
            start = block * SECTOR + at
            sector = bytes(buffer[at : at + SECTOR])
            self.data[start : start + SECTOR] = sector
            self.writes.append((start, sector))

    def ioctl(self, operation, argument):
        if operation == 4:
            return len(self.data) // SECTOR
        if operation == 5:
            return SECTOR
        return 0

    def cuts(self):
        """The disk before the first write, after it, and so on."""
        data = bytearray(self.first)
        yield data
        for start, sector in self.writes:
            data[start : start + SECTOR] = sector
            yield data


def on(data, action):
    """Mount a disk with this data and act on it; the Disk."""
    disk = Disk(data)
    vfs.mount(vfs.VfsFat(disk), "/flash")
    try:
        action()
    finally:
        vfs.umount("/flash")
    return disk


def read(path):
    try:
        with open("/flash/" + path, "rb") as file:
            return file.read()
    except OSError:
        return None


def write(path, data):
    # As mpremote does it.
    file = open("/flash/" + path, "wb")
    for at in range(0, len(data), 1024):
        file.write(data[at : at + 1024])
    file.close()


def digest(data):
    return hexlify(hashlib.sha256(data).digest()).decode()


def content(letter, size):
    return bytes(letter * size, "ascii")


OLD = {
    "main.py": content("m", 900),
    "config.json": content("c", 300),
    "camera/a.py": content("a", 3000),
    "camera/gone.py": content("g", 700),
    "anchors/old.der": content("o", 1300),
}
NEW = {
    "main.py": content("M", 1500),
    "config.json": content("C", 200),
    "camera/a.py": content("A", 700),
    "camera/b.py": content("B", 2600),
    "keys/new.der": content("N", 1300),
}
REMOVED = ["camera/gone.py", "anchors/old.der"]
with open(FINISHER, "rb") as _file:
    PROGRAM = _file.read()
FINISH = {"__name__": "anchorcam"}
exec(compile(PROGRAM, "boot.py", "exec"), FINISH)


def lay_old():
    os.mkdir("/flash/camera")
    os.mkdir("/flash/anchors")
    for path, data in OLD.items():
        write(path, data)


def deploy():
    # transfer.py's order.
    os.mkdir("/flash/deploy")
    for data in NEW.values():
        write("deploy/" + digest(data)[:8], data)
    write("boot.py", PROGRAM)
    install = [[digest(data)[:8], path] for path, data in NEW.items()]
    text = json.dumps({"install": install, "remove": REMOVED}).encode()
    write("deploy/journal", digest(text).encode() + b"\n" + text)
    FINISH["finish"]()


def is_whole(wanted, other):
    for path in set(wanted) | set(other):
        if read(path) != wanted.get(path):
            return False
    return True


def start():
    """What the firmware does: boot.py, and then it would be main.py's turn."""
    program = read("boot.py")
    if program not in (None, b"", PROGRAM):
        print("half of a boot.py:", len(program))
    if program == PROGRAM:
        FINISH["finish"]()
    if not is_whole(OLD, NEW) and not is_whole(NEW, OLD):
        print("neither the old application nor the new one")


def start_after_each(disk, depth):
    """Cut the power after each write, start; and cut it in the middle of that, too."""
    count = 0
    for at, data in enumerate(disk.cuts()):
        count += 1
        started = on(data, start)
        # Not each of each: they are many.
        if depth and at % 7 == 0:
            count += start_after_each(started, depth - 1)
    return count


def main():
    disk = Disk(bytes(SECTOR * 256))
    vfs.VfsFat.mkfs(disk)
    disk = on(disk.data, lay_old)
    disk = on(disk.data, deploy)

    def check():
        left = os.listdir("/flash")
        if not is_whole(NEW, OLD) or "boot.py" in left or "deploy" in left:
            print("not as it should be without a cut:", left)

    on(disk.data, check)
    print("writes", len(disk.writes), "cuts", start_after_each(disk, 1))


main()
