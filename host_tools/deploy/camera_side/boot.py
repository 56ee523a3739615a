# anchorcam deploy: finishes what a deploy has begun, and then removes itself.
"""On the camera's flash as boot.py from when a deploy has begun until it is done.

deploy/journal says which staged files are to be copied where and what is to be removed. It counts
once it is whole: its first line is the SHA-256 of the rest. Everything that is done here can be
done again from the start, because the staged files stay until all is done; so it does not matter
when the power is cut. Copied and not renamed: on FAT a rename that is cut leaves two names for one
file, and removing one of them frees what the other one needs. Runs under MicroPython.
"""

import hashlib
import json
import os
import time
from binascii import hexlify

_FLASH = "/flash/"
_STAGE = _FLASH + "deploy/"
_JOURNAL = _STAGE + "journal"
_TRY_AGAIN_S = 10


def finish():
    """Do what the journal says, if there is one. Raises OSError."""
    journal = _journal()
    if journal is None:
        return
    for staged, target in journal["install"]:
        _copy(_STAGE + staged, _FLASH + target)
    for target in journal["remove"]:
        _remove(_FLASH + target)
        _remove_empty_folders(target)
    # From here on there is nothing left to be done again.
    _remove(_JOURNAL)
    for name in os.listdir(_STAGE[:-1]):
        _remove(_STAGE + name)
    os.rmdir(_STAGE[:-1])
    _remove(_FLASH + "boot.py")


def _journal():
    try:
        with open(_JOURNAL, "rb") as file:
            digest, _, text = file.read().partition(b"\n")
    except OSError:
        return None
    return json.loads(text) if hexlify(hashlib.sha256(text).digest()) == digest else None


def _copy(source, target):
    for at in range(len(_FLASH), len(target)):
        if target[at] == "/":
            try:
                os.mkdir(target[:at])
            except OSError:  # it is there
                pass
    buffer = memoryview(bytearray(2048))
    with open(source, "rb") as old:
        with open(target, "wb") as new:
            while True:
                size = old.readinto(buffer)
                if not size:
                    return
                new.write(buffer[:size])


def _remove(path):
    try:
        os.remove(path)
    except OSError:  # it was removed before the power was cut
        pass


def _remove_empty_folders(target):
    while "/" in target:
        target = target.rsplit("/", 1)[0]
        try:
            os.rmdir(_FLASH + target)
        except OSError:  # something is in it
            return


if __name__ == "__main__":  # at the camera's start; the host calls finish() itself
    try:
        finish()
    except OSError as error:
        # main.py must not see half of it.
        print("a deploy cannot be finished (%s): trying again in %d s" % (error, _TRY_AGAIN_S))
        time.sleep(_TRY_AGAIN_S)
        import machine

        machine.reset()
