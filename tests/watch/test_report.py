"""`anchorcam report`, as its user starts it, of ledgers whose contents are known."""

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import update

from broker.errors import UserError
from host_tools.watch import schema
from host_tools.watch.records import Records
from host_tools.watch.report import make, parse_time, percent
from host_tools.watch.schema import location, snapshots
from tests.host.commands import anchorcam
from tests.watch.cameras import flipped, health, jpeg, stamped
from tests.watch.desk import Desk


@pytest.fixture
def data(desk: Desk) -> Iterator[Path]:
    """cam1: 1 to 10 but for 4 and 5 (lost after PUBACK) and 7 (dropped); cam2: one of one."""
    for seq in (1, 2, 3, 6, 8, 10, 9):
        sent = round(time.time() * 1000) - 100 * seq
        desk.give(stamped("cam1", seq, ts=sent))
    desk.intake.health("cam1", health(1, 10, drops=[[1, 7, 7, "full"]]), retained=False)
    desk.intake.tick()
    desk.give(flipped(stamped("cam1", 11)))
    desk.give(jpeg(1))
    # A clock in 2000, and one in 2106.
    desk.give(stamped("cam2", 1, ts=946_684_800_000), "cam2")
    desk.give(stamped("cam2", 2, ts=4_294_967_295_000), "cam2")
    desk.close()
    yield desk.folder
    desk.open()


def test_as_json(data: Path) -> None:
    done = anchorcam("report", "--data", str(data), "--json")
    assert (done.status, done.err) == (0, "")
    report = json.loads(done.out)
    first, second = report["periods"]
    assert first["camera"] == "cam1"
    assert (first["delivered"], first["reordered"], first["arrived"]) == (6, 1, 7)
    assert (first["missing"], first["dropped"], first["completeness"]) == (2, 1, 0.7)
    assert (first["corrupt"], first["unverifiable"]) == (1, 1)
    assert 100 <= first["latency"]["p50"] <= first["latency"]["p100"] < 10_000
    assert (second["completeness"], second["latency"]) == (1, {})
    assert [(gap["first"], gap["last"], gap["reason"], gap["place"]) for gap in report["gaps"]] == [
        (7, 7, "full", "never sent"),
        (4, 5, None, "after PUBACK"),
    ]


def test_as_a_table(data: Path) -> None:
    done = anchorcam("report", "--data", str(data))
    assert (done.status, done.err) == (0, "")
    assert re.search(r"^cam1 .* 7 +70.00 % +1 +2 +1 +1 +1 ", done.out, re.MULTILINE)
    assert re.search(r"^cam2 .* 2 +100 % ", done.out, re.MULTILINE)
    assert "seq 4 to 5 (2): missing; lost: after PUBACK" in done.out
    assert "seq 7: dropped-by-camera, full; lost: never sent" in done.out
    assert "\x1b" not in done.out


def test_one_camera_and_a_claim(data: Path) -> None:
    done = anchorcam("report", "--data", str(data), "--camera=cam2", "--least=100")
    assert (done.status, "cam1" in done.out) == (0, False)
    done = anchorcam("report", "--data", str(data), "--least=99")
    assert done.status == 1
    assert "cam1 is 70.00 % complete, less than 99 %" in done.err
    done = anchorcam("report", "--data", str(data), "--least=1", "--until=1d", "--since=2d")
    assert (done.status, "no camera sent anything" in done.err) == (1, True)


class _Page(HTMLParser):
    """Every tag and attribute, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, str | None] = {}
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_as_a_page_that_asks_nobody_for_anything(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = anchorcam("report", "--data", str(data), "--html", str(file), "--by=hour")
    assert (done.status, done.out) == (0, f"{file}: written\n")
    page = _Page(file.read_text())
    assert {"svg", "circle", "table"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe", "image"} & set(page.tags)
    assert not {"src", "href", "xlink:href"} & set(page.attributes)
    assert "url(" not in file.read_text()
    assert "70.00 %" in page.text
    assert "after PUBACK" in page.text


def test_what_a_camera_says_is_text_in_the_page(desk: Desk, tmp_path: Path) -> None:
    desk.give(stamped("cam1", 1))
    desk.intake.health(
        "cam1", health(1, 3, drops=[[1, 2, 3, "<script>alert(1)</script>"]]), retained=False
    )
    file = tmp_path / "report.html"
    done = anchorcam("report", "--data", str(desk.folder), "--html", str(file))
    assert done.status == 0
    page = _Page(file.read_text())
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


def test_periods_are_those_of_arrival(desk: Desk) -> None:
    for seq in (1, 2, 3):
        desk.give(stamped("cam1", seq))
    now_ms = round(time.time() * 1000)
    engine = schema.connect(desk.url, "write")
    with engine.begin() as db:
        db.execute(
            update(snapshots)
            .where(snapshots.c.seq == 1)
            .values(received_ms=now_ms - 3 * 86_400_000)
        )
    engine.dispose()
    with Records(desk.url) as records:
        days = make(records, now_ms - 7 * 86_400_000, now_ms + 1, "day").periods
        assert [day.arrived for day in days] in ([1, 2], [1, 1, 1])
        assert all(day.end_ms - day.begin_ms <= 90_000_000 for day in days)
        with pytest.raises(UserError, match="more than 1000 periods"):
            make(records, 0, now_ms, "hour")
        with pytest.raises(UserError, match="has no camera nobody; it has cam1"):
            make(records, 0, now_ms, camera="nobody")


def test_times_in_words() -> None:
    assert parse_time("90m", 10_000) == (10_000 - 5400) * 1000
    assert parse_time("2d", 1e6) == (10**6 - 172_800) * 1000
    assert parse_time("2026-11-24T00:00+00:00") == 1_795_478_400_000
    for wrong in ("", "d", "tomorrow", "9999999999d", "-3h"):
        with pytest.raises(UserError, match="is no time"):
            parse_time(wrong)


def test_only_what_is_complete_is_a_hundred_percent() -> None:
    assert (percent(1), percent(0.99999), percent(None)) == ("100 %", "99.99 %", "-")


def test_no_ledger_and_no_file_are_one_line(tmp_path: Path, data: Path) -> None:
    done = anchorcam("report", "--data", str(tmp_path / "none"))
    assert (done.status, done.err.count("\n")) == (2, 1)
    done = anchorcam("report", "--data", str(data), "--html", str(tmp_path / "none" / "x.html"))
    assert (done.status, "cannot write" in done.err) == (1, True)
    with Records(location(data)) as records:
        assert records.last_id() == 9
