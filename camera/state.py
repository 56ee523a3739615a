"""The few facts that outlive a power cut: /flash/state. One small file each."""

import os

from camera import files

FOLDER = "state"


def recall(name):
    """The text that was kept under this name, "" when there is none."""
    file_path = path(name)
    try:
        # FAT has no atomic replace: it removes, then renames. In between only the new is there,
        # and stays the only one unless that is completed before keep() writes it anew.
        if not files.is_there(file_path):
            os.rename(file_path + ".new", file_path)
        with open(file_path) as file:
            return file.read()
    except OSError:
        return ""


def keep(name, contents):
    """Keep a text, or bytes, at once and whole: a power cut leaves the old ones or the new.

    Raises OSError.
    """
    file_path = path(name)
    try:
        os.mkdir(FOLDER)
    except OSError:
        pass
    with open(file_path + ".new", "w" if isinstance(contents, str) else "wb") as file:
        file.write(contents)
    os.rename(file_path + ".new", file_path)


def forget(name):
    """Forget what was kept under this name."""
    # In this order: recall() would find the new one once the other is gone.
    files.remove(path(name) + ".new")
    files.remove(path(name))


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


def path(name):
    """Where the file of this name is."""
    return FOLDER + "/" + name
