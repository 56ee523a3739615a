"""The record of verdicts: what a watcher knows, on disk before it acknowledges anything."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from broker.errors import UserError
from broker.files import locked, make_folder
from host_tools.watch.verdicts import Verdict

FILE = "ledger.sqlite3"

_VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE snapshots (
    camera TEXT NOT NULL,
    boot INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    size INTEGER NOT NULL,     -- bytes, as received
    digest BLOB NOT NULL,      -- SHA-256 of the JPEG without its stamp
    sent_ms INTEGER,           -- Unix time of the camera; NULL: its clock was not set
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (camera, boot, seq)
) WITHOUT ROWID;
CREATE TABLE cameras (camera TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE watcher (name TEXT NOT NULL);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class LedgerError(OSError):
    """The ledger could not be written: a full disk, as a rule. Nothing was changed."""


@dataclass(frozen=True)
class Row:
    """A verified snapshot. Times in ms of Unix time, size in bytes."""

    camera: str
    boot: int
    seq: int
    verdict: Verdict
    size: int
    digest: bytes
    sent_ms: int | None
    received_ms: int


class Ledger:
    """One watcher's ledger, in a folder that no other watcher uses at the same time."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it. Raises UserError."""
        self.path = folder / FILE
        with ExitStack() as stack:
            try:
                make_folder(folder)
                # Two watchers with one ledger would be one client to the broker: it would
                # put out the one to let in the other, for ever.
                if not stack.enter_context(locked(folder / "watcher.lock", wait=False)):
                    raise UserError(
                        f"another watcher is using {folder}; "
                        "stop it or give another folder with --data",
                        exit_code=2,
                    )
                self._db = sqlite3.connect(
                    self.path, timeout=1, isolation_level=None, check_same_thread=False
                )
                stack.callback(self._db.close)
                self.name = self._prepare()
            except (OSError, sqlite3.Error) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise UserError(
                    f"cannot use the ledger {self.path}: {reason}; "
                    "move it away or give another folder with --data",
                    exit_code=2,
                ) from error
            self._held = stack.pop_all()

    def close(self) -> None:
        """Release the folder to others."""
        self._held.close()

    def record(self, camera: str, state: str, row: Row | None = None) -> None:
        """Keep the camera's verdict state and the snapshot that led to it, both or neither.

        On disk when this returns. A snapshot that is recorded already is left as it is.
        Raises LedgerError.
        """
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO cameras VALUES (?, ?)", (camera, state))
            if row:
                self._db.execute(
                    "INSERT OR IGNORE INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        row.camera,
                        row.boot,
                        row.seq,
                        row.verdict,
                        row.size,
                        row.digest,
                        row.sent_ms,
                        row.received_ms,
                    ),
                )

    def digest(self, camera: str, boot: int, seq: int) -> bytes | None:
        """The SHA-256 of the JPEG recorded under this identity. Raises LedgerError."""
        with self._errors():
            found = self._db.execute(
                "SELECT digest FROM snapshots WHERE camera = ? AND boot = ? AND seq = ?",
                (camera, boot, seq),
            ).fetchone()
        return bytes(found[0]) if found else None

    def states(self) -> dict[str, str]:
        """Each camera's verdict state as last recorded. Raises LedgerError."""
        with self._errors():
            return dict(self._db.execute("SELECT camera, state FROM cameras ORDER BY camera"))

    def _prepare(self) -> str:
        self._db.execute("PRAGMA journal_mode = WAL")
        # NORMAL would lose the last commits in a power cut, after they were acknowledged.
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(_SCHEMA)
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"its layout is version {version}, not {_VERSION}")
        found = self._db.execute("SELECT name FROM watcher").fetchone()
        if found is None:
            # The broker's queue and this ledger are one pair: a new ledger gets a new queue.
            found = (secrets.token_hex(4),)
            self._db.execute("INSERT INTO watcher VALUES (?)", found)
        return str(found[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise LedgerError(f"{self.path}: {error}") from error
