"""What a ledger executes for nearly every batch, made once: to make it takes longer than SQLite."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Insert
from sqlalchemy.dialects import postgresql, sqlite

from host_tools.watch.batch import Row
from host_tools.watch.schema import boots, cameras, snapshots


class Rows:
    """An INSERT of rows as tuples, compiled once: Core takes longer over them than SQLite."""

    def __init__(self, statement: Insert, dialect: Dialect, names: Sequence[str]) -> None:
        """names: the columns, in the order of the tuples and of the table."""
        compiled = statement.inline().compile(dialect=dialect, column_keys=list(names))
        self._names = names
        self._text = compiled.string
        self._positional = bool(compiled.positional)
        assert not self._positional or compiled.positiontup == [*names]

    def insert(self, db: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._positional:
            db.exec_driver_sql(self._text, list(rows))
        else:
            named = [dict(zip(self._names, row, strict=True)) for row in rows]
            db.exec_driver_sql(self._text, named)


class Statements:
    """Those of one database."""

    def __init__(self, dialect: Dialect) -> None:
        # It knows ON CONFLICT.
        insert_or = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
        track = insert_or(cameras)
        track = track.on_conflict_do_update(
            index_elements=["camera"], set_={"track": track.excluded.track}
        )
        self.tracks = Rows(track, dialect, ("camera", "track"))
        snapshot = insert_or(snapshots)
        snapshot = snapshot.on_conflict_do_nothing(index_elements=["camera", "boot", "seq"])
        self.snapshots = Rows(snapshot, dialect, Row._fields)
        mark = insert_or(boots)
        self.acknowledged = mark.on_conflict_do_update(
            index_elements=["camera", "boot"],
            set_={"acknowledged": mark.excluded.acknowledged},
            where=boots.c.acknowledged < mark.excluded.acknowledged,
        )
