"""The few facts that outlive a power cut: /flash/state. One small file each."""

import os

_FOLDER = "state"


def recall(name):
    """The text that was kept under this name, "" when there is none."""
    path = _path(name)
    # FAT has no atomic replace: it removes, then renames. In between only the new is there.
    for candidate in (path, path + ".new"):
        try:
            with open(candidate) as file:
                return file.read()
        except OSError:
            pass
    return ""


def keep(name, text):
    """Keep a text, at once and whole: a power cut leaves the old one or the new. Raises OSError."""
    path = _path(name)
    try:
        os.mkdir(_FOLDER)
    except OSError:
        pass
    with open(path + ".new", "w") as file:
        file.write(text)
    os.rename(path + ".new", path)


def forget(name):
    """Forget what was kept under this name."""
    path = _path(name)
    # In this order: recall() would find the new one once the other is gone.
    for each in (path + ".new", path):
        try:
            os.remove(each)
        except OSError:
            pass


def next_boot():
    """Count this boot and return its number, from 1; the same number is never given twice.

    Raises OSError when the flash cannot be written: without a new number nothing may be
    published.
    """
    try:
        number = int(recall("boot")) + 1
    except ValueError:
        number = 1
    keep("boot", str(number))
    return number


def _path(name):
    return _FOLDER + "/" + name
