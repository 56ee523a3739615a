"""Store and forward: snapshots on SD card or flash until a broker has acknowledged them.

    <folder>/<boot, 8 hex digits>/<seq, 8 hex digits>.JPG

Each file is the stamped JPEG and behind it the 32 bytes of its SHA-256. It is written as
NEW.PRT and renamed, so that what a power cut leaves half-written has another name; names
of 8.3 letters cost one directory entry on FAT. What is dropped is recorded before it is
deleted, so that a power cut in between loses no count.

RAM: an index of FILES_MAX entries, 2 KiB to read with.
"""

import hashlib
import os

from camera import drops, files, log
from camera.index import Index

# A directory of FAT is searched from its start.
FILES_MAX = 1000
# At most, on flash without wear levelling: 4 directory and 2 FAT sectors are erased for each.
FLASH_WRITES_PER_DAY = 3000

_DIGEST_BYTES = 32
_NEW = "NEW.PRT"
_DAY_MS = 86400000


class Stored:
    """A snapshot out of the spool, open for reading. len() is that of the stamped JPEG."""

    def __init__(self, identity, file, size):
        self.identity = identity
        self.file = file
        self._size = size

    def __len__(self):
        return self._size


class Spool:
    """One folder of snapshots, oldest first by (boot, seq); `index` says which.

    settings: the section spool; name: of this spool, where there are several; record: a
    drops.Drops; uptime: a clock.Uptime; in_flight: the (boot, seq) that were sent and wait
    for their PUBACK: they are neither given out again nor dropped for room. No method raises
    OSError but what says so: a card that fails costs snapshots, which are recorded, and
    nothing else.
    """

    def __init__(self, settings, name, record, uptime, in_flight):
        base = settings["folder"]
        on_flash = base is None and not files.is_folder("/sdcard")
        if base is None:
            base = "spool" if on_flash else "/sdcard/spool"
        self.folder = base + "/" + name
        self._most = settings["most_kb"] * 1024
        self._free = settings["free_kb"] * 1024
        self._drops = record
        self._uptime = uptime
        # A token for each file that may be written, a quarter of a day's at most. What a
        # reboot gives afresh is an hour's.
        per_day = settings["writes_per_day"]
        if per_day is None and on_flash:
            per_day = FLASH_WRITES_PER_DAY
        self._per_day = per_day
        self._tokens_ms = _DAY_MS // 24
        self._tokens_at_ms = uptime.ms()
        self.index = Index(FILES_MAX, in_flight)
        self._buffer = bytearray(2048)
        if self._most:
            self._scan()

    def put(self, identity, parts):
        """Store a snapshot, given as the parts of the stamped JPEG; or record that it is lost."""
        boot, seq = identity
        size = _DIGEST_BYTES
        for part in parts:
            size += len(part)
        if self._most and not files.is_folder(self.folder):
            # A card that was taken out and put in again.
            self._make_folders()
        if not self._may_write() or not self._make_room(size):
            self._drops.add(boot, seq, seq, drops.UNSTORED)
            return
        try:
            self._write(boot, seq, parts)
        except OSError as error:
            log.line("spool: %s/%s cannot be written: %s" % (self.folder, _hex(boot), error))
            files.remove(self._new(boot))
            self._drops.add(boot, seq, seq, drops.UNSTORED)
            return
        self.index.add(boot, seq, size)

    def next(self):
        """The next to be sent as Stored, its digest checked, or None when there is none.

        Its file is the caller's to close. What is damaged on the way is dropped.
        """
        while True:
            identity = self.index.waiting()
            if identity is None:
                return None
            size = self.index.size(identity)
            file = self._open_checked(self._path(*identity), size)
            if file is not None:
                return Stored(identity, file, size - _DIGEST_BYTES)
            self.drop(identity, drops.DAMAGED)

    def remove(self, identity):
        """A snapshot was acknowledged: it need not be kept."""
        if self.index.remove(identity):
            files.remove(self._path(*identity))

    def drop(self, identity, reason):
        """Give up one snapshot."""
        boot, seq = identity
        self._drops.add(boot, seq, seq, reason)
        self._drops.keep()
        self.remove(identity)

    def _may_write(self):
        if not self._most:
            return False
        if self._per_day is None:
            return True
        now = self._uptime.ms()
        self._tokens_ms = min(self._tokens_ms + now - self._tokens_at_ms, _DAY_MS // 4)
        self._tokens_at_ms = now
        price = _DAY_MS // self._per_day
        if self._tokens_ms < price:
            return False
        self._tokens_ms -= price
        return True

    def _make_room(self, size):
        """Drop the oldest until there is room; False when there is none to be made."""
        while (
            self.index.count == FILES_MAX
            or self.index.bytes + size > self._most
            or files.free(self.folder) < self._free + size
        ):
            if not self._drop_oldest():
                return False
        return True

    def _drop_oldest(self):
        # Several at once, for the record of them is a write too.
        victims = self.index.oldest(max(self.index.count // 16, 1))
        for boot, seq in victims:
            self._drops.add(boot, seq, seq, drops.FULL)
        if victims:
            self._drops.keep()
        for identity in victims:
            self.remove(identity)
        return bool(victims)

    def _write(self, boot, seq, parts):
        files.make_folder(self.folder + "/" + _hex(boot))
        digest = hashlib.sha256()
        with open(self._new(boot), "wb") as file:
            for part in parts:
                file.write(part)
                digest.update(part)
            file.write(digest.digest())
        os.rename(self._new(boot), self._path(boot, seq))

    def _open_checked(self, path, size):
        try:
            file = open(path, "rb")  # noqa: SIM115 - it is the caller's when it is good
        except OSError:
            return None
        buffer = self._buffer
        view = memoryview(buffer)
        digest = hashlib.sha256()
        left = size - _DIGEST_BYTES
        try:
            while left:
                count = file.readinto(buffer, min(left, len(buffer)))
                if not count:
                    break
                digest.update(view[:count])
                left -= count
            if left == 0 and file.read(_DIGEST_BYTES + 1) == digest.digest():
                file.seek(0)
                return file
        except OSError:
            pass
        file.close()
        return None

    def _make_folders(self):
        files.make_folder(self.folder.rsplit("/", 1)[0])
        files.make_folder(self.folder)

    def _scan(self):
        """Find what the power-ups before left; remove what is not whole."""
        self._make_folders()
        for boot in sorted(self._numbers(self.folder, "")):
            folder = self.folder + "/" + _hex(boot)
            for seq in sorted(self._numbers(folder, ".JPG")):
                path = self._path(boot, seq)
                size = files.size(path)
                if self._drops.has(boot, seq):
                    # The power went between the record and the deletion.
                    files.remove(path)
                elif size <= _DIGEST_BYTES:
                    self._drops.add(boot, seq, seq, drops.DAMAGED)
                    self._drops.keep()
                    files.remove(path)
                else:
                    if self.index.count == FILES_MAX:
                        self._drop_oldest()
                    self.index.add(boot, seq, size)
            files.remove_empty(folder)
        if self.index.count:
            log.line("spool: %d snapshots, %d bytes" % (self.index.count, self.index.bytes))

    def _numbers(self, folder, ending):
        """The numbers of the names in a folder that are ours; all others are removed."""
        numbers = []
        for name in files.names(folder):
            number = _number(name, ending)
            if number is None:
                log.line("spool: removing %s/%s" % (folder, name))
                files.remove(folder + "/" + name)
            else:
                numbers.append(number)
        return numbers

    def _new(self, boot):
        return self.folder + "/" + _hex(boot) + "/" + _NEW

    def _path(self, boot, seq):
        return self.folder + "/" + _hex(boot) + "/" + _hex(seq) + ".JPG"


def _hex(number):
    return "%08X" % number


def _number(name, ending):
    """The number of a name that _hex() and the ending made, or None."""
    if len(name) != 8 + len(ending) or not name.upper().endswith(ending):
        return None
    try:
        return int(name[:8], 16)
    except ValueError:
        return None
