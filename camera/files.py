"""Files and folders, where what cannot be done is left undone and no exception."""

import os

_FOLDER = 0x4000


def names(folder):
    """The names in a folder; [] when it cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def size(path):
    """In bytes; 0 for what is no file."""
    try:
        stat = os.stat(path)
    except OSError:
        return 0
    return 0 if stat[0] & _FOLDER else stat[6]


def is_there(path):
    """True when there is a file or folder of this name."""
    try:
        os.stat(path)
    except OSError:
        return False
    return True


def is_folder(path):
    """True when there is a folder of this name."""
    try:
        return bool(os.stat(path)[0] & _FOLDER)
    except OSError:
        return False


def free(folder):
    """The bytes that are free where this folder is; 0 when it cannot be told."""
    try:
        stat = os.statvfs(folder)
    except OSError:
        return 0
    # f_frsize and f_bavail.
    return stat[1] * stat[4]


def make_folder(path):
    """Make a folder, unless it is there."""
    try:
        os.mkdir(path)
    except OSError:
        pass


def remove_empty(folder):
    """Remove a folder, unless something is in it."""
    try:
        os.rmdir(folder)
    except OSError:
        pass


def remove(path):
    """Remove a file, or a folder with all that is in it."""
    try:
        if is_folder(path):
            for name in os.listdir(path):
                remove(path + "/" + name)
            os.rmdir(path)
        else:
            os.remove(path)
    except OSError:
        pass
