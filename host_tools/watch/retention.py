"""How long snapshots and records are kept: by age and by size, the oldest go first."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from broker.errors import UserError
from host_tools.watch.images import Images
from host_tools.watch.ledger import Image, Ledger

IMAGES = "30d,10GB"
ROWS = "400d,2GB"
# So much goes at a time, that what arrives meanwhile need not wait for long.
AT_A_TIME = 1000
# What a row takes in the database with its share of the indexes, about.
ROW_BYTES = 300

_PARTS = re.compile(r"(?:(\d+)([hd]))?(?:(?:^|(?<=[hd]),)(\d+)([MG])B)?")
_UNITS = {"h": 3600, "d": 86400, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Keep:
    """The oldest goes when it is older than so many seconds, or all is more than so many bytes.

    None: no limit.
    """

    seconds: int | None = None
    bytes: int | None = None

    @classmethod
    def parse(cls, text: str, option: str) -> "Keep":
        """From "30d", "12h", "10GB", "500MB", "30d,10GB" or "all". Raises UserError."""
        found = _PARTS.fullmatch(text)
        if text == "all":
            return cls()
        if not text or not found or not any(found.groups()):
            raise UserError(
                f"{option} cannot be {text!r}; give an age (12h, 30d), a size (500MB, 10GB), "
                "both (30d,10GB) or all",
                exit_code=2,
            )
        age, age_unit, size, size_unit = found.groups()
        return cls(
            int(age) * _UNITS[age_unit] if age else None,
            int(size) * _UNITS[size_unit] if size else None,
        )


class Retention:
    """What one watcher keeps. Raises LedgerError, here and in its methods."""

    def __init__(self, ledger: Ledger, images: Images, keep_images: Keep, keep_rows: Keep) -> None:
        self._ledger = ledger
        self._images = images
        # Without its row nobody would find a file.
        ages = [each.seconds for each in (keep_images, keep_rows) if each.seconds is not None]
        self._keep_images = Keep(min(ages, default=None), keep_images.bytes)
        self._keep_rows = keep_rows
        self._bytes = ledger.image_bytes()

    def added(self, sizes: Iterable[int]) -> None:
        """So many bytes of snapshots are kept in addition."""
        self._bytes += sum(sizes)

    def turn(self) -> None:
        """Let go of some of what is too old or too much, if there is such. Raises OSError.

        Everything in the ledger was stored, and only that is touched: what has not been
        acknowledged is safe.
        """
        self._drop_images()
        self._drop_rows()

    def _drop_images(self) -> None:
        excess = 0 if self._keep_images.bytes is None else self._bytes - self._keep_images.bytes
        before_ms = _before(self._keep_images)

        def is_due(image: Image) -> bool:
            return excess > 0 or (before_ms is not None and image.received_ms < before_ms)

        # Most of the time there is none: to see that takes one row.
        if not any(map(is_due, self._ledger.oldest_images(1))):
            return
        gone = []
        for image in self._ledger.oldest_images(AT_A_TIME):
            if not is_due(image):
                break
            gone.append(image)
            excess -= image.size
        if gone:
            # The files first: a row without its file is put right the next time.
            self._images.remove(image.name for image in gone)
            self._ledger.forget_images([image.id for image in gone])
            self._bytes -= sum(image.size for image in gone)

    def _drop_rows(self) -> None:
        before_ms = _before(self._keep_rows)
        if before_ms is not None:
            self._ledger.drop_rows(before_ms, AT_A_TIME)
        if self._keep_rows.bytes is not None:
            self._ledger.drop_excess_rows(self._keep_rows.bytes // ROW_BYTES, AT_A_TIME)


def _before(keep: Keep) -> int | None:
    return None if keep.seconds is None else round((time.time() - keep.seconds) * 1000)
