"""Where a ledger is, and its tables: the same for SQLite and PostgreSQL (docs/ledger.md)."""

import sqlite3
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import (
    URL,
    BigInteger,
    Boolean,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from broker.errors import UserError
from host_tools.watch.evidence import printable

FILE = "ledger.sqlite3"
VERSION = 2

Access = Literal["write", "read"]

# Nobody waits for ever for a server that has gone, nor for a lock that somebody forgot.
_CONNECT_S = 5
_STATEMENT_MS = 20_000
_LOCK_MS = 1000

metadata = MetaData()

# SQLite numbers rows by itself in a column of exactly this type only.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", _Id, primary_key=True, autoincrement=True)


def _camera() -> Column[str]:
    return Column("camera", String(32), nullable=False)


def _count(name: str, *, optional: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=optional)


def _word(name: str, *, optional: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=optional)


snapshots = Table(
    "snapshots",
    metadata,
    _id(),  # ascending in the order of arrival, never used twice
    _camera(),
    _count("boot"),
    _count("seq"),
    _word("verdict"),  # delivered or reordered
    _count("size"),  # bytes, as received
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the JPEG without its stamp
    _count("sent_ms", optional=True),  # by the camera's clock; NULL: it was not set
    _count("received_ms"),
    _word("image", optional=True),  # path below the data folder; NULL: not kept any longer
    UniqueConstraint("camera", "boot", "seq"),
    Index("snapshots_by_time", "camera", "received_ms"),
    sqlite_autoincrement=True,
)
Index(
    "snapshots_with_image",
    snapshots.c.id,
    sqlite_where=snapshots.c.image.is_not(None),
    postgresql_where=snapshots.c.image.is_not(None),
)

# Payloads that are no snapshot: corrupt (boot and seq if they can be read) and unverifiable.
faults = Table(
    "faults",
    metadata,
    _id(),
    _camera(),
    _count("boot", optional=True),
    _count("seq", optional=True),
    _word("verdict"),
    _count("size"),
    _word("reason"),
    _count("received_ms"),
    Index("faults_by_time", "camera", "received_ms"),
    sqlite_autoincrement=True,
)

# What is missing or dropped now: ranges that do not overlap. A late arrival leaves its range.
gaps = Table(
    "gaps",
    metadata,
    _id(),
    _camera(),
    _count("boot"),
    _count("first"),
    _count("last"),
    _word("verdict"),
    _word("reason", optional=True),  # of a drop, as the camera says it
    _count("noted_ms"),
    Index("gaps_by_identity", "camera", "boot", "first"),
    sqlite_autoincrement=True,
)

# Every change of a verdict, never changed itself: missing, then reordered, are two rows.
history = Table(
    "history",
    metadata,
    _id(),
    _camera(),
    _count("boot"),
    _count("first"),
    _count("last"),
    _word("was", optional=True),  # NULL: nothing was known of it
    _word("verdict"),
    _word("reason", optional=True),
    _count("at_ms"),
    Index("history_by_time", "camera", "at_ms"),
    sqlite_autoincrement=True,
)

# The highest seq of each boot up to which the camera says that a broker acknowledged it.
boots = Table(
    "boots",
    metadata,
    Column("camera", String(32), primary_key=True),
    Column("boot", BigInteger, primary_key=True, autoincrement=False),
    _count("acknowledged"),
)

cameras = Table(
    "cameras",
    metadata,
    Column("camera", String(32), primary_key=True),
    _word("track"),  # what track.Track wrote
    Column("online", Boolean, nullable=True),  # of the last birth or will
    _count("boot", optional=True),
    _count("conn", optional=True),
    _count("state_ms", optional=True),
    _word("birth", optional=True),  # the last one, JSON
    _count("birth_ms", optional=True),
    _word("health", optional=True),  # the last one, JSON
    _count("health_ms", optional=True),
    _count("latency_ms", optional=True),  # median of the last snapshots
    _count("shared_ms", optional=True),  # when two cameras were last seen to use this id
)

# What health messages said, for plots: one row per second and camera at most.
samples = Table(
    "samples",
    metadata,
    _id(),
    _camera(),
    _count("at_ms"),
    _count("boot", optional=True),
    _count("heap_free", optional=True),
    _count("rssi", optional=True),
    _count("reconnects", optional=True),
    _count("spooled", optional=True),
    _count("latency_ms", optional=True),
    Index("samples_by_time", "camera", "at_ms"),
    sqlite_autoincrement=True,
)

# "schema": VERSION; "watcher": the name under which the broker keeps this watcher's queue.
meta = Table(
    "meta",
    metadata,
    Column("name", String(32), primary_key=True),
    _word("value"),
)


def location(folder: Path, ledger: str | None = None) -> URL:
    """Where the ledger of this data folder is: its own SQLite file, or what `ledger` names.

    A password in the URL is masked in repr() of what is returned; libpq's PGPASSWORD and
    password file work too. Raises UserError.
    """
    if ledger is None:
        return URL.create("sqlite", database=str(folder / FILE))
    try:
        url = make_url(ledger)
    except (ArgumentError, ValueError):
        # The text itself may hold a password, so it is not repeated.
        raise UserError("--ledger is not a URL; give postgresql://HOST/NAME", exit_code=2) from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise UserError(
            f"--ledger cannot be {url.drivername}; give postgresql://HOST/NAME, "
            "or leave it out for a file in the data folder",
            exit_code=2,
        )
    return url.set(drivername="postgresql+psycopg")


def shown(url: URL) -> str:
    """The place for a message: a path, or a URL with its password masked."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql", query={}).render_as_string()


def why(error: SQLAlchemyError) -> str:
    """What the database itself says, in one line; no statement and no parameter."""
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    return printable(" ".join(text.split()), 300)


def connect(url: URL, access: Access) -> Engine:
    """An engine for this ledger; nothing is opened yet. Read access cannot change anything."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(Path(str(url.database)), access)
    settings = {
        "statement_timeout": f"{_STATEMENT_MS}",
        "lock_timeout": f"{_LOCK_MS}",
        # A server that is told to answer before it has written would make us a liar.
        "synchronous_commit": "on",
        "default_transaction_read_only": "on" if access == "read" else "off",
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return create_engine(
        url,
        pool_size=1,
        max_overflow=4 if access == "read" else 0,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT" if access == "read" else "READ COMMITTED",
        connect_args={
            "connect_timeout": _CONNECT_S,
            "tcp_user_timeout": _STATEMENT_MS,
            "options": options,
        },
    )


def _sqlite(path: Path, access: Access) -> Engine:
    mode = "rwc" if access == "write" else "ro"
    name = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def open_file() -> sqlite3.Connection:
        # isolation_level None: sqlite3 begins no transactions of its own; see _begin.
        return sqlite3.connect(
            name, uri=True, timeout=_LOCK_MS / 1000, isolation_level=None, check_same_thread=False
        )

    engine = create_engine(
        "sqlite://",
        creator=open_file,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=4 if access == "read" else 0,
        hide_parameters=True,
    )
    if access == "write":
        event.listen(engine, "connect", _be_durable)
        event.listen(engine, "begin", _begin)
    return engine


def _be_durable(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # NORMAL would lose the last commits in a power cut, after they were acknowledged.
    connection.execute("PRAGMA synchronous = FULL")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")
