"""The record of verdicts: what a watcher knows, on disk before it acknowledges anything."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Table,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from broker.errors import UserError
from broker.files import locked, make_folder
from host_tools.watch import migration, schema
from host_tools.watch.batch import Batch, Change
from host_tools.watch.schema import (
    cameras,
    faults,
    gaps,
    history,
    meta,
    metadata,
    samples,
    snapshots,
)
from host_tools.watch.statements import Statements
from host_tools.watch.verdicts import Verdict

# "anchorcam" in ASCII, cut to 63 bits: the advisory lock of the watcher that has the database.
_ADVISORY = int.from_bytes(b"anchorca") & (2**63 - 1)


class LedgerError(OSError):
    """The ledger could not be written: a full disk, as a rule. Nothing was changed."""


class Image(NamedTuple):
    """The file of a snapshot: its name below the data folder, size in bytes."""

    id: int
    name: str
    size: int
    received_ms: int


class Ledger:
    """One watcher's ledger; no other watcher uses its data folder or database meanwhile."""

    def __init__(self, folder: Path, url: URL | None = None) -> None:
        """Open it, or make it. url: what schema.location() gives. Raises UserError."""
        url = url or schema.location(folder)
        self.place = schema.shown(url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
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
                self._statements = Statements(self._engine.dialect)
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
        statements = self._statements
        with self._transaction() as db:
            if batch.tracks:
                statements.tracks.insert(db, [*batch.tracks.items()])
            for name, fields in batch.fields.items():
                db.execute(update(cameras).where(cameras.c.camera == name), fields)
            if batch.snapshots:
                statements.snapshots.insert(db, batch.snapshots)
            if batch.faults:
                db.execute(insert(faults), [vars(fault) for fault in batch.faults])
            for change in batch.changes:
                _apply(db, change)
            if batch.acknowledged:
                marks = batch.acknowledged.items()
                db.execute(
                    statements.acknowledged,
                    [
                        {"camera": camera, "boot": boot, "acknowledged": seq}
                        for (camera, boot), seq in marks
                    ],
                )
            if batch.samples:
                db.execute(insert(samples), batch.samples)

    def digest(self, camera: str, boot: int, seq: int) -> bytes | None:
        """The SHA-256 of the JPEG recorded under this identity. Raises LedgerError."""
        found = self._of(snapshots.c.digest, camera, boot, seq)
        return None if found is None else bytes(found)

    def image(self, camera: str, boot: int, seq: int) -> str | None:
        """The file of this snapshot, if it is to be kept. Raises LedgerError."""
        found = self._of(snapshots.c.image, camera, boot, seq)
        return None if found is None else str(found)

    def image_bytes(self) -> int:
        """Of all snapshots whose files are kept. Raises LedgerError."""
        with self._transaction() as db:
            kept = select(func.sum(snapshots.c.size)).where(snapshots.c.image.is_not(None))
            return int(db.scalar(kept) or 0)

    def oldest_images(self, count: int) -> list[Image]:
        """Up to `count` snapshots whose files are kept, the oldest first. Raises LedgerError."""
        columns = (snapshots.c.id, snapshots.c.image, snapshots.c.size, snapshots.c.received_ms)
        query = select(*columns).where(snapshots.c.image.is_not(None))
        with self._transaction() as db:
            rows = db.execute(query.order_by(snapshots.c.id).limit(count))
            return [Image(*row) for row in rows]

    def forget_images(self, ids: Sequence[int]) -> None:
        """The files of these are no longer kept. Raises LedgerError."""
        with self._transaction() as db:
            db.execute(update(snapshots).where(snapshots.c.id.in_(ids)).values(image=None))

    def drop_rows(self, before_ms: int, count: int) -> None:
        """Delete up to `count` rows of each table that are older, the oldest first.

        Snapshots whose files are kept stay. Raises LedgerError.
        """
        with self._transaction() as db:
            for table, moment in _DATED.items():
                old = select(table.c.id).where(table.c.id <= _oldest(table, count))
                old = old.where(table.c[moment] < before_ms)
                if table is snapshots:
                    old = old.where(snapshots.c.image.is_(None))
                db.execute(delete(table).where(table.c.id.in_(old)))

    def drop_excess_rows(self, most: int, count: int) -> None:
        """Delete up to `count` of the oldest rows of the largest table if all have too many.

        Raises LedgerError.
        """
        with self._transaction() as db:
            sizes = {}
            for table in _DATED:
                # As good as to count them, and at once.
                ends = db.execute(select(func.min(table.c.id), func.max(table.c.id))).one()
                sizes[table] = 0 if ends[0] is None else ends[1] - ends[0] + 1
            excess = sum(sizes.values()) - most
            if excess > 0:
                table = max(sizes, key=lambda each: sizes[each])
                old = select(table.c.id).where(table.c.id <= _oldest(table, min(count, excess)))
                if table is snapshots:
                    old = old.where(snapshots.c.image.is_(None))
                db.execute(delete(table).where(table.c.id.in_(old)))

    def _of(self, column: Column[Any], camera: str, boot: int, seq: int) -> Any:
        query = select(column).where(
            snapshots.c.camera == camera, snapshots.c.boot == boot, snapshots.c.seq == seq
        )
        with self._transaction() as db:
            return db.scalar(query)

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


# Each table that grows, and the column that says how old a row is.
_DATED = {
    snapshots: "received_ms",
    faults: "received_ms",
    gaps: "noted_ms",
    history: "at_ms",
    samples: "at_ms",
}


def _oldest(table: Table, count: int) -> Any:
    """The id up to which there are about `count` rows."""
    return select(func.min(table.c.id) + count - 1).scalar_subquery()


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
