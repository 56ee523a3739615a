"""The few facts that outlive a power cut: /flash/state. One small file each."""

import os

_FOLDER = "state"


def next_boot():
    """Count this boot and return its number, from 1; the same number is never given twice.

    A half-written new file can only hold a smaller number than the old one, so the
    larger of the two is right whenever the power was cut. Raises OSError when the flash
    cannot be written: without a new number nothing may be published.
    """
    path = _FOLDER + "/boot"
    number = max(_number(path), _number(path + ".new")) + 1
    try:
        os.mkdir(_FOLDER)
    except OSError:
        pass
    with open(path + ".new", "w") as file:
        file.write(str(number))
    # FAT has no atomic replace: it removes, then renames; the .new file bridges that.
    os.rename(path + ".new", path)
    return number


def _number(path):
    try:
        with open(path) as file:
            return int(file.read(12))
    except (OSError, ValueError):
        return 0
