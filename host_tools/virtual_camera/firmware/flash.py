"""Stand-in for a flash that gets full and loses power (runs under MicroPython).

A file that is written is empty until it is closed, as on FAT: then its directory entry is
written. What a power cut leaves is what was there before the operation it came in.
"""

import os

import ffi

_WRITES = ("w", "a", "+")
_NO_SPACE = 28
_BLOCK_BYTES = 512
_FOLDER = 0x4000
# board.py knows this exit status as a power cut.
_POWER_CUT_STATUS = 76

_exit = ffi.open(None).func("v", "_exit", "i")


class Flash:
    """The file system `inner`, whose files are in the folder `root` of the host."""

    def __init__(self, inner, root):
        self._inner = inner
        self._root = root
        self._most = int(os.getenv("VIRTUAL_CAMERA_FLASH_BYTES"))
        self._cut_file = os.getenv("VIRTUAL_CAMERA_CUT")
        for name in ("chdir", "getcwd", "ilistdir", "mount", "umount"):
            setattr(self, name, getattr(inner, name))

    def open(self, path, mode):
        if not any(letter in mode for letter in _WRITES):
            return self._inner.open(path, mode)
        self.operation()
        self._inner.open(path, mode).close()
        return _File(self, self._absolute(path), mode)

    def stat(self, path):
        # On FAT nothing is the folder that one is in.
        return self._inner.stat(path or ".")

    def mkdir(self, path):
        self.operation()
        self._inner.mkdir(path)

    def remove(self, path):
        self.operation()
        self._inner.remove(path)

    def rename(self, old, new):
        self.operation()
        self._inner.rename(old, new)

    def rmdir(self, path):
        self.operation()
        self._inner.rmdir(path)

    def statvfs(self, path):
        free = max(self.free(), 0) // _BLOCK_BYTES
        most = self._most // _BLOCK_BYTES
        return (_BLOCK_BYTES, _BLOCK_BYTES, most, free, free, 0, 0, 0, 0, 255)

    def free(self):
        return self._most - _used(self._root)

    def operation(self):
        """Count one; the power is cut before the one that the host has named."""
        try:
            with open(self._cut_file) as file:
                left = int(file.read())
        except OSError:
            return
        if left <= 0:
            os.remove(self._cut_file)
            _exit(_POWER_CUT_STATUS)
        with open(self._cut_file, "w") as file:
            file.write(str(left - 1))

    def _absolute(self, path):
        if path[0] != "/":
            path = self.getcwd().rstrip("/") + "/" + path
        return self._root + path


class _File:
    def __init__(self, flash, path, mode):
        self._flash = flash
        self._path = path
        self._new = flash._root + ".open"
        with open(path, "rb") as file:
            kept = file.read()
        self._file = open(self._new, "w+b")
        self._file.write(kept)
        if "a" not in mode:
            self._file.seek(0)
        self._is_text = "b" not in mode

    def write(self, data):
        self._flash.operation()
        if self._flash.free() - _size(self._new) < len(data):
            raise OSError(_NO_SPACE)
        return self._file.write(data.encode() if isinstance(data, str) else data)

    def read(self, *size):
        data = self._file.read(*size)
        return data.decode() if self._is_text else data

    def close(self):
        if self._file is None:
            return
        self._flash.operation()
        self._file.close()
        self._file = None
        os.rename(self._new, self._path)

    def seek(self, *where):
        return self._file.seek(*where)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _used(folder):
    used = 0
    for entry in os.ilistdir(folder):
        path = folder + "/" + entry[0]
        if entry[1] == _FOLDER:
            used += _BLOCK_BYTES + _used(path)
        else:
            # Whole blocks.
            used += (_size(path) + _BLOCK_BYTES - 1) // _BLOCK_BYTES * _BLOCK_BYTES
    return used


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0
