"""A ledger in PostgreSQL: who may use it, and what becomes of it when the server goes."""

import json
from pathlib import Path

import pytest
from sqlalchemy import URL

from broker.errors import UserError
from camera import topics
from host_tools.watch.ledger import Ledger
from host_tools.watch.records import Records
from host_tools.watch.schema import location, shown
from host_tools.watch.verdicts import Verdict
from tests.postgresql import PASSWORD, USER, Server
from tests.watch.cameras import flipped, health, stamped
from tests.watch.conftest import Publisher, Watch
from tests.watch.desk import Desk
from tests.watch.page import Site

pytestmark = pytest.mark.xdist_group("postgresql")


def without_password(url: URL) -> str:
    return url._replace(drivername="postgresql", password=None).render_as_string()


def test_a_watcher_with_the_password_in_the_environment(
    watch: Watch, config: Path, publisher: Publisher, database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = without_password(database)
    watcher = watch(config, "--ledger", url, "--expect", "3").connected()
    publisher.send(*(stamped(publisher.camera, seq) for seq in (1, 2, 3)))
    assert watcher.end(None).status == 0
    with Records(location(Path(), url)) as records:
        rows = records.after(0)
        assert [(row.camera, row.seq) for row in rows] == [
            (publisher.camera, seq) for seq in (1, 2, 3)
        ]
        assert (watcher.data / str(rows[0].image)).read_bytes()[:2] == b"\xff\xd8"


def test_a_password_file_does_too(
    database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{database.port}:*:{USER}:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    Ledger(tmp_path / "data", location(tmp_path, without_password(database))).close()


def test_the_password_is_never_told(watch: Watch, config: Path, database: URL) -> None:
    secret = "not-the-right-one"
    url = database.set(drivername="postgresql", password=secret)
    ended = watch(config, "--ledger", url.render_as_string(hide_password=False)).end(None)
    assert (ended.status, ended.events) == (2, [])
    assert "password authentication failed" in ended.errors
    assert ended.errors.count("\n") == 1
    assert secret not in ended.errors + repr(location(Path(), str(url))) + shown(url)


@pytest.mark.parametrize(
    ("ledger", "why"),
    [
        ("postgresql://127.0.0.1:1/ledger", "refused"),
        ("mysql://localhost/ledger", "cannot be mysql"),
        ("keeper:s3cret@localhost/ledger", "is not a URL"),
        ("postgresql://u@host:seven/x", "is not a URL"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_one_line(tmp_path: Path, ledger: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        Ledger(tmp_path, location(tmp_path, ledger))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_database_is_for_one_watcher(database: URL, tmp_path: Path) -> None:
    first = Ledger(tmp_path / "a", database)
    with pytest.raises(UserError, match="another watcher is using this database"):
        Ledger(tmp_path / "b", database)
    first.close()
    Ledger(tmp_path / "b", database).close()


def test_a_database_of_something_else_is_left_alone(
    postgresql: Server, database: URL, tmp_path: Path
) -> None:
    desk = Desk(tmp_path / "a", database)
    desk.close()
    with Records(database) as records, records._engine.connect() as db:
        assert db.exec_driver_sql("SELECT count(*) FROM snapshots").scalar() == 0
    engine = desk.ledger._engine
    with engine.begin() as db:
        db.exec_driver_sql("DROP TABLE meta")
    engine.dispose()
    with pytest.raises(UserError, match="other tables in it"):
        desk.again()


def test_a_connection_that_is_cut_costs_nothing(
    postgresql: Server, database: URL, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, database)
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.database}'"  # noqa: E501, S608
    for seq in (1, 2, 5, 3):
        assert desk.give(stamped("cam1", seq)).fields["verdict"] != Verdict.DUPLICATE
        postgresql.execute(cut)
    desk.intake.tick()
    assert (desk.count(Verdict.DELIVERED), desk.count(Verdict.REORDERED)) == (3, 1)
    desk.close()


def test_while_the_server_says_no_nothing_has_happened(
    postgresql: Server, database: URL, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, database)
    desk.give(stamped("cam1", 1))
    name = database.database
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS off")
    postgresql.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
    )
    for _ in range(2):
        with pytest.raises(OSError, match="not currently accepting connections"):
            desk.give(stamped("cam1", 2))
    assert [event.fields["seq"] for event in desk.events] == [1]
    postgresql.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS on")
    assert desk.give(stamped("cam1", 2)).fields["verdict"] == Verdict.DELIVERED
    desk.intake.health("cam1", health(1, 4), retained=False)
    desk.intake.tick()
    assert json.loads(desk.events[-1].as_json())["count"] == 2
    desk.close()


def test_the_page_and_the_metrics_read_it(
    watch: Watch, config: Path, publisher: Publisher, database: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    camera, url = publisher.camera, without_password(database)
    process = watch(config, "--ledger", url, "--web", "--web-port=0", "--reorder=0").connected()
    site = Site.of(process)
    payload = stamped(camera, 3)
    publisher.send(stamped(camera, 1), payload, flipped(stamped(camera, 4)))
    publisher.send(health(1, 4), kind=topics.HEALTH)
    process.wait_snapshots(camera, 3)
    process.event(event="missing", camera=camera, seq=2)
    (found,) = site.ask("/api/overview").json["cameras"]
    assert found["name"] == camera
    assert site.ask(found["last"]["image"]).body == payload
    for path in ("", "/series", "/history?boot=1&seq=3"):
        assert site.ask(f"/api/cameras/{camera}{path}").status == 200, path
    metrics = site.ask("/metrics").body.decode()
    assert f'anchorcam_snapshots_missing{{camera="{camera}"}} 1.0' in metrics
    assert process.end().status == 0
