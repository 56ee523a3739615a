"""Reading a ledger, from any thread or process, while a watcher writes it. Data out, no more."""

from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Column, Connection, Row, Select, Table, and_, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from broker.errors import UserError
from host_tools.watch import schema
from host_tools.watch.entries import Camera, Change, Fault, Gap, Sample, Snapshot, placed
from host_tools.watch.schema import boots, cameras, faults, gaps, history, samples, snapshots

_ROWS = (snapshots, history, faults)


class Records:
    """A ledger, open for reading. `url` is what schema.location() gives.

    Every method raises UserError when the ledger cannot be read; each sees what is committed
    at that moment. Safe for use by several threads.
    """

    def __init__(self, url: URL) -> None:
        """Raises UserError when there is no ledger, or one of another version."""
        self._url = url
        self._engine = schema.connect(url, "read")
        try:
            with self._reading() as db:
                query = select(schema.meta.c.value).where(schema.meta.c.name == "schema")
                version = db.scalar(query)
            if version != str(schema.VERSION):
                raise self._unusable(f"its layout is version {version}, not {schema.VERSION}")
        except UserError:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def cameras(self) -> list[Camera]:
        """Every camera, by name."""
        return self._cameras(select(cameras, *_newest()).select_from(_with_newest()))

    def camera(self, name: str) -> Camera | None:
        """One of them."""
        query = select(cameras, *_newest()).select_from(_with_newest())
        return next(iter(self._cameras(query.where(cameras.c.camera == name))), None)

    def last_id(self) -> int:
        """The id of the snapshot that arrived last, 0: none has."""
        with self._reading() as db:
            return int(db.scalar(select(func.max(snapshots.c.id))) or 0)

    def last_ids(self) -> tuple[int, int, int]:
        """The highest ids of snapshots, changes and faults; 0: there is none."""
        last = (select(func.max(table.c.id)).scalar_subquery() for table in _ROWS)
        with self._reading() as db:
            snapshot, change, fault = db.execute(select(*last)).one()
        return snapshot or 0, change or 0, fault or 0

    def id_before(self, moment_ms: int) -> int:
        """The id of the last snapshot that arrived before this moment, 0: none did."""
        query = select(func.max(snapshots.c.id)).where(snapshots.c.received_ms < moment_ms)
        with self._reading() as db:
            return int(db.scalar(query) or 0)

    def after(self, id: int, limit: int = 500, camera: str | None = None) -> list[Snapshot]:
        """Up to `limit` snapshots that arrived after the one with this id, in that order."""
        query = select(snapshots).where(snapshots.c.id > id).order_by(snapshots.c.id).limit(limit)
        return self._snapshots(_of(snapshots, query, camera))

    def snapshot(self, camera: str, boot: int, seq: int) -> Snapshot | None:
        """The snapshot with this identity."""
        query = _of(snapshots, select(snapshots), camera).where(
            snapshots.c.boot == boot, snapshots.c.seq == seq
        )
        return next(iter(self._snapshots(query)), None)

    def images(
        self, camera: str, before: tuple[int, int] | None = None, limit: int = 100
    ) -> list[Snapshot]:
        """Up to `limit` snapshots whose image is kept, the newest (boot, seq) first.

        before: only those with a smaller (boot, seq).
        """
        query = _of(snapshots, select(snapshots), camera).where(snapshots.c.image.is_not(None))
        if before is not None:
            query = query.where(_is_before(snapshots, *before))
        query = query.order_by(snapshots.c.boot.desc(), snapshots.c.seq.desc())
        return self._snapshots(query.limit(limit))

    def strip(self, camera: str, limit: int = 100) -> list[Snapshot | Gap]:
        """The last `limit` snapshots by (boot, seq), and the gaps between and after them."""
        query = _of(snapshots, select(snapshots), camera)
        newest = (snapshots.c.boot.desc(), snapshots.c.seq.desc())
        there: list[Snapshot | Gap] = [*self._snapshots(query.order_by(*newest).limit(limit))]
        wanted = _of(gaps, select(gaps), camera)
        if len(there) == limit and there:
            oldest = there[-1]
            assert isinstance(oldest, Snapshot)
            wanted = wanted.where(
                or_(
                    gaps.c.boot > oldest.boot,
                    and_(gaps.c.boot == oldest.boot, gaps.c.last > oldest.seq),
                )
            )
        wanted = wanted.order_by(gaps.c.boot.desc(), gaps.c.first.desc()).limit(limit)
        return sorted([*there, *self._gaps(wanted)], key=_place_in_strip)

    def gaps(
        self,
        camera: str | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int | None = None,
    ) -> list[Gap]:
        """What is missing or dropped now and was first noted in this time, oldest first."""
        query = _of(gaps, select(gaps), camera)
        query = _between(query, gaps.c.noted_ms, since_ms, until_ms)
        return self._gaps(query.order_by(gaps.c.id).limit(limit))

    def history(self, camera: str | None = None, limit: int | None = 1000) -> list[Change]:
        """The last changes of verdicts, the latest first."""
        query = _of(history, select(history), camera).order_by(history.c.id.desc()).limit(limit)
        return [Change(**row) for row in self._rows(query)]

    def changes_after(self, id: int, limit: int = 500) -> list[Change]:
        """Up to `limit` changes of verdicts after the one with this id, in that order."""
        query = select(history).where(history.c.id > id).order_by(history.c.id).limit(limit)
        return [Change(**row) for row in self._rows(query)]

    def faults_after(self, id: int, limit: int = 500) -> list[Fault]:
        """Up to `limit` payloads that were no snapshots after the one with this id."""
        query = select(faults).where(faults.c.id > id).order_by(faults.c.id).limit(limit)
        return [Fault(**row) for row in self._rows(query)]

    def faults(self, camera: str | None = None, limit: int = 1000) -> list[Fault]:
        """The last payloads that were no snapshots, the latest first."""
        query = _of(faults, select(faults), camera).order_by(faults.c.id.desc()).limit(limit)
        return [Fault(**row) for row in self._rows(query)]

    def samples(
        self, camera: str, since_ms: int, until_ms: int | None = None, most: int = 1000
    ) -> list[Sample]:
        """Health over time, oldest first; of more than `most` every n-th."""
        wanted = [column for column in samples.c if column.name not in ("id", "camera")]
        query = _of(samples, select(*wanted), camera)
        query = _between(query, samples.c.at_ms, since_ms, until_ms)
        return [Sample(**row) for row in self._thinned(query, samples.c.at_ms, most)]

    def latencies(
        self, camera: str, since_ms: int, until_ms: int | None = None, most: int = 1000
    ) -> list[tuple[int, int]]:
        """(received_ms, latency in ms) of snapshots, oldest first; of more than `most` every n-th.

        With the error of the camera's clock in it.
        """
        at, sent = snapshots.c.received_ms, snapshots.c.sent_ms
        query = _of(snapshots, select(at, (at - sent).label("latency")), camera)
        query = _between(query.where(sent.is_not(None)), at, since_ms, until_ms)
        return [(row["received_ms"], row["latency"]) for row in self._thinned(query, at, most)]

    def latency_values(
        self, camera: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> "array[int]":
        """All latencies of these snapshots in ms, ascending. See latencies()."""
        at, sent = snapshots.c.received_ms, snapshots.c.sent_ms
        query = _of(snapshots, select((at - sent).label("latency")), camera)
        query = _between(query.where(sent.is_not(None)), at, since_ms, until_ms)
        with self._reading() as db:
            return array("q", db.scalars(query.order_by("latency")))

    def counts(
        self, camera: str, since_ms: int | None = None, until_ms: int | None = None
    ) -> dict[str, int]:
        """How many payloads with each verdict arrived in this time, but for duplicates."""
        found: dict[str, int] = {}
        for table in (snapshots, faults):
            query = _of(table, select(table.c.verdict, func.count().label("count")), camera)
            query = _between(query, table.c.received_ms, since_ms, until_ms)
            for row in self._rows(query.group_by(table.c.verdict)):
                found[row["verdict"]] = row["count"]
        return found

    def _cameras(self, query: Select[Any]) -> list[Camera]:
        rows = self._rows(query.order_by(cameras.c.camera))
        try:
            return [Camera.load(row) for row in rows]
        except ValueError as error:
            raise self._unusable(str(error)) from error

    def _snapshots(self, query: Select[Any]) -> list[Snapshot]:
        return [Snapshot(**row) for row in self._rows(query)]

    def _gaps(self, query: Select[Any]) -> list[Gap]:
        with self._reading() as db:
            rows = [_plain(row) for row in db.execute(query)]
            known: dict[tuple[str, int], int] = {}
            for row in rows:
                of = (row["camera"], row["boot"])
                if of not in known:
                    mark = select(boots.c.acknowledged).where(
                        boots.c.camera == of[0], boots.c.boot == of[1]
                    )
                    known[of] = db.scalar(mark) or 0
        return [gap for row in rows for gap in placed(row, known[row["camera"], row["boot"]])]

    def _rows(self, query: Select[Any]) -> list[Mapping[str, Any]]:
        with self._reading() as db:
            return [_plain(row) for row in db.execute(query)]

    def _thinned(
        self, query: Select[Any], moment: Column[Any], most: int
    ) -> list[Mapping[str, Any]]:
        """Its rows by this moment, oldest first; of more than `most` every n-th."""
        rank = func.row_number().over(order_by=moment).label("rank")
        numbered = query.add_columns(rank).subquery()
        wanted = [column for column in numbered.c if column.name != "rank"]
        with self._reading() as db:
            count = db.scalar(select(func.count()).select_from(query.subquery())) or 0
            step = max(1, -(-count // most))
            every = select(*wanted).where((numbered.c.rank - 1) % step == 0)
            return [_plain(row) for row in db.execute(every.order_by(numbered.c.rank))]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as db:
                yield db
        except SQLAlchemyError as error:
            raise self._unusable(schema.why(error)) from error

    def _unusable(self, why: str) -> UserError:
        return UserError(
            f"cannot read the ledger {schema.shown(self._url)}: {why}; "
            "start a watcher with it first, or name the right one with --data or --ledger",
            exit_code=2,
        )


def reports(url: URL) -> dict[str, tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Each camera's last birth and last health, as dicts; None: it has not sent one.

    Raises UserError.
    """
    with Records(url) as records:
        return {camera.name: (camera.birth, camera.health) for camera in records.cameras()}


def _plain(row: Row[Any]) -> Mapping[str, Any]:
    return dict(row._mapping)


def _newest() -> list[Any]:
    return [column.label(f"newest_{column.name}") for column in snapshots.c]


def _with_newest() -> Any:
    others = snapshots.alias()
    newest = (
        select(others.c.id)
        .where(others.c.camera == cameras.c.camera)
        .order_by(others.c.boot.desc(), others.c.seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    return cameras.outerjoin(snapshots, snapshots.c.id == newest)


def _of(table: Table, query: Select[Any], camera: str | None) -> Select[Any]:
    return query if camera is None else query.where(table.c.camera == camera)


def _between(query: Select[Any], column: Any, since: int | None, until: int | None) -> Select[Any]:
    if since is not None:
        query = query.where(column >= since)
    return query if until is None else query.where(column < until)


def _is_before(table: Table, boot: int, seq: int) -> Any:
    return or_(table.c.boot < boot, and_(table.c.boot == boot, table.c.seq < seq))


def _place_in_strip(entry: Snapshot | Gap) -> tuple[int, int]:
    return (entry.boot, entry.seq if isinstance(entry, Snapshot) else entry.first)
