"""The record of verdicts: what a watcher knows, on disk before it acknowledges anything."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, delete, event, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from broker.errors import UserError
from broker.files import locked, make_folder
from host_tools.watch import migration, schema
from host_tools.watch.schema import (
    boots,
    cameras,
    faults,
    gaps,
    history,
    meta,
    metadata,
    samples,
    snapshots,
)
from host_tools.watch.verdicts import Verdict

# "anchorcam" in ASCII, cut to 63 bits: the advisory lock of the watcher that has the database.
_ADVISORY = int.from_bytes(b"anchorca") & (2**63 - 1)


class LedgerError(OSError):
    """The ledger could not be written: a full disk, as a rule. Nothing was changed."""


@dataclass(frozen=True)
class Row:
    """A verified snapshot. Times in ms of Unix time, size in bytes.

    image: the path of its file below the data folder.
    """

    camera: str
    boot: int
    seq: int
    verdict: Verdict
    size: int
    digest: bytes
    sent_ms: int | None
    received_ms: int
    image: str | None = None


@dataclass(frozen=True)
class Fault:
    """A payload on a jpeg topic that is no snapshot."""

    camera: str
    boot: int | None
    seq: int | None
    verdict: Verdict
    size: int
    reason: str
    received_ms: int


@dataclass(frozen=True)
class Change:
    """Snapshots first to last of a boot, both included, have this verdict from now on."""

    camera: str
    boot: int
    first: int
    last: int
    verdict: Verdict
    reason: str | None
    at_ms: int


@dataclass
class Batch:
    """What several messages come to, to be recorded all or none.

    tracks: each camera's verdict state; fields: what else changes in a camera's row;
    acknowledged: (camera, boot) to the highest seq that a broker has acknowledged.
    """

    snapshots: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    tracks: dict[str, str] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    acknowledged: dict[tuple[str, int], int] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)


class Ledger:
    """One watcher's ledger; no other watcher uses its data folder or database meanwhile."""

    def __init__(self, folder: Path, url: URL | None = None) -> None:
        """Open it, or make it. url: what schema.location() gives. Raises UserError."""
        url = url or schema.location(folder)
        self.place = schema.shown(url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._upsert: Any = sqlite.insert if self._is_sqlite else postgresql.insert
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
                self._engine = schema.connect(url, "write")
                stack.callback(self._engine.dispose)
                if not self._is_sqlite:
                    event.listen(self._engine, "connect", _take_database)
                self.name = self._prepare()
            except (OSError, SQLAlchemyError, ValueError) as error:
                raise UserError(
                    f"cannot use the ledger {self.place}: {_reason(error)}; {self._remedy()}",
                    exit_code=2,
                ) from error
            self._held = stack.pop_all()

    def close(self) -> None:
        """Release the folder to others."""
        self._held.close()

    def write(self, batch: Batch) -> None:
        """Record all of it, or nothing. On disk when this returns. Raises LedgerError.

        A snapshot that is recorded already is left as it is.
        """
        with self._transaction() as db:
            if batch.tracks:
                row = self._upsert(cameras)
                db.execute(
                    row.on_conflict_do_update(
                        index_elements=["camera"], set_={"track": row.excluded.track}
                    ),
                    [{"camera": name, "track": track} for name, track in batch.tracks.items()],
                )
            for name, fields in batch.fields.items():
                db.execute(update(cameras).where(cameras.c.camera == name), fields)
            if batch.snapshots:
                db.execute(
                    self._upsert(snapshots).on_conflict_do_nothing(
                        index_elements=["camera", "boot", "seq"]
                    ),
                    [vars(row) for row in batch.snapshots],
                )
            if batch.faults:
                db.execute(insert(faults), [vars(fault) for fault in batch.faults])
            for change in batch.changes:
                _apply(db, change)
            if batch.acknowledged:
                row = self._upsert(boots)
                db.execute(
                    row.on_conflict_do_update(
                        index_elements=["camera", "boot"],
                        set_={"acknowledged": row.excluded.acknowledged},
                        where=boots.c.acknowledged < row.excluded.acknowledged,
                    ),
                    [
                        {"camera": camera, "boot": boot, "acknowledged": seq}
                        for (camera, boot), seq in batch.acknowledged.items()
                    ],
                )
            if batch.samples:
                db.execute(insert(samples), batch.samples)

    def digest(self, camera: str, boot: int, seq: int) -> bytes | None:
        """The SHA-256 of the JPEG recorded under this identity. Raises LedgerError."""
        query = select(snapshots.c.digest).where(
            snapshots.c.camera == camera, snapshots.c.boot == boot, snapshots.c.seq == seq
        )
        with self._transaction() as db:
            found = db.scalar(query)
        return None if found is None else bytes(found)

    def states(self) -> dict[str, str]:
        """Each camera's verdict state as last recorded. Raises LedgerError."""
        query = select(cameras.c.camera, cameras.c.track).order_by(cameras.c.camera)
        with self._transaction() as db:
            return {row.camera: row.track for row in db.execute(query)}

    def _prepare(self) -> str:
        with self._engine.begin() as db:
            version = migration.version(db)
            if version is None:
                metadata.create_all(db)
                # The broker's queue and this ledger are one pair: a new ledger gets a new queue.
                name = secrets.token_hex(4)
                values = {"schema": str(schema.VERSION), "watcher": name}
                db.execute(
                    insert(meta), [{"name": key, "value": value} for key, value in values.items()]
                )
            elif version < schema.VERSION:
                migration.migrate(db, version)
            elif version > schema.VERSION:
                raise ValueError(f"its layout is version {version}, not {schema.VERSION}")
            return str(db.scalar(select(meta.c.value).where(meta.c.name == "watcher")))

    def _remedy(self) -> str:
        if self._is_sqlite:
            return "move it away or give another folder with --data"
        return "check --ledger, the server and its log"

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except SQLAlchemyError as error:
            raise LedgerError(f"{self.place}: {schema.why(error)}") from error


def _take_database(connection: Any, _record: object) -> None:
    """Lock the database for as long as this connection is there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY,))
        (taken,) = cursor.fetchone()
    connection.commit()
    if not taken:
        raise ValueError("another watcher is using this database")


def _reason(error: Exception) -> str:
    if isinstance(error, SQLAlchemyError):
        return schema.why(error)
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _apply(db: Connection, change: Change) -> None:
    was = None if change.verdict is Verdict.MISSING else _carve(db, change)
    fields = vars(change)
    db.execute(insert(history), fields | {"was": was})
    if change.verdict in (Verdict.MISSING, Verdict.DROPPED):
        at_ms = change.at_ms
        row = {name: value for name, value in fields.items() if name != "at_ms"}
        db.execute(insert(gaps), row | {"noted_ms": at_ms})


def _carve(db: Connection, change: Change) -> str | None:
    """Take the range out of the gaps; returns the verdict that it had there."""
    overlapping = select(gaps).where(
        gaps.c.camera == change.camera,
        gaps.c.boot == change.boot,
        gaps.c.first <= change.last,
        gaps.c.last >= change.first,
    )
    was = None
    for row in db.execute(overlapping).mappings().all():
        was = row["verdict"]
        db.execute(delete(gaps).where(gaps.c.id == row["id"]))
        rest = {name: value for name, value in row.items() if name != "id"}
        for first, last in ((row["first"], change.first - 1), (change.last + 1, row["last"])):
            if first <= last:
                db.execute(insert(gaps), rest | {"first": first, "last": last})
    return was
