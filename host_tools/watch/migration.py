"""From the ledgers of earlier versions to the layout of this one; nothing is lost."""

import time

from sqlalchemy import Connection, func, insert, inspect, select, text

from host_tools.watch import schema
from host_tools.watch.schema import cameras, gaps, meta, metadata, snapshots
from host_tools.watch.track import Track
from host_tools.watch.verdicts import Missing, Verdict


def version(db: Connection) -> int | None:
    """The layout of this database; None: there is nothing in it. Raises ValueError."""
    tables = set(inspect(db).get_table_names())
    if not tables:
        return None
    if "meta" in tables:
        value = db.scalar(select(meta.c.value).where(meta.c.name == "schema"))
        if not value:
            raise ValueError("its meta table does not say which version it is")
        return int(value)
    if db.dialect.name == "sqlite":
        return int(db.exec_driver_sql("PRAGMA user_version").scalar() or 0)
    raise ValueError("there are other tables in it; make a database for the ledger alone")


def migrate(db: Connection, found: int) -> None:
    """Bring the layout `found` to this version, within the transaction. Raises ValueError."""
    if found != 1:
        raise ValueError(f"its layout is version {found}, not {schema.VERSION}")
    for table in ("snapshots", "cameras"):
        db.execute(text(f"ALTER TABLE {table} RENAME TO old_{table}"))
    metadata.create_all(db)
    columns = "camera, boot, seq, verdict, size, digest, sent_ms, received_ms"
    db.execute(
        text(
            f"INSERT INTO snapshots ({columns}) SELECT {columns} "  # noqa: S608 (ours)
            "FROM old_snapshots ORDER BY received_ms, camera, boot, seq"
        )
    )
    db.execute(text("INSERT INTO cameras (camera, track) SELECT camera, state FROM old_cameras"))
    db.execute(text("INSERT INTO meta SELECT 'watcher', name FROM watcher"))
    db.execute(insert(meta), {"name": "schema", "value": str(schema.VERSION)})
    for table in ("old_snapshots", "old_cameras", "watcher"):
        db.execute(text(f"DROP TABLE {table}"))
    _fill_gaps(db)


def _fill_gaps(db: Connection) -> None:
    """What layout 1 had in the verdict states only. When it was noted it did not say: when the
    next snapshot came, as far as that is known.
    """
    now_ms = round(time.time() * 1000)
    for camera, track in db.execute(select(cameras.c.camera, cameras.c.track)).all():
        for lost in Track.load(track, 0, 0).lost():
            later = select(func.min(snapshots.c.received_ms)).where(
                snapshots.c.camera == camera,
                snapshots.c.boot == lost.boot,
                snapshots.c.seq > lost.last,
            )
            row = {
                "camera": camera,
                "boot": lost.boot,
                "first": lost.first,
                "last": lost.last,
                "verdict": Verdict.MISSING if isinstance(lost, Missing) else Verdict.DROPPED,
            }
            db.execute(insert(gaps), row | {"noted_ms": db.scalar(later) or now_ms})
