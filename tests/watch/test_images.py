"""The journal: after a power cut every file is there of which anything was acknowledged."""

from pathlib import Path

import pytest

from host_tools.watch import images
from host_tools.watch.images import Images, name
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import stamped
from tests.watch.desk import Desk


def files(count: int, first: int = 1) -> dict[str, bytes]:
    return {name("cam1", 1, seq): stamped("cam1", seq, ts=1) for seq in range(first, first + count)}


def cut_power(kept: Images) -> None:
    """Leave everything as it is at this moment."""
    kept._writer.shutdown()


def test_what_the_files_lack_after_a_power_cut_the_journal_has(tmp_path: Path) -> None:
    kept, written = Images(tmp_path), files(5)
    kept.write(written).result()
    kept.sync().result()
    cut_power(kept)
    one, two, three, *_ = (tmp_path / each for each in written)
    one.unlink()
    two.write_bytes(b"")
    three.write_bytes(bytes(three.stat().st_size))
    again = Images(tmp_path)
    assert {each: (tmp_path / each).read_bytes() for each in written} == written
    again.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cam1"]


def test_a_torn_journal_is_read_up_to_the_tear(tmp_path: Path) -> None:
    kept, written = Images(tmp_path), files(3)
    kept.write(written).result()
    cut_power(kept)
    journal = tmp_path / "images.journal"
    size = sum(len(each) + len(content) + 12 for each, content in written.items())
    content = journal.read_bytes()
    journal.write_bytes(content[: size - 100] + bytes(1000))
    for each in written:
        (tmp_path / each).unlink()
    Images(tmp_path).close()
    assert [(tmp_path / each).exists() for each in written] == [True, True, False]


@pytest.mark.parametrize("content", [b"", b"JPG1", b"JPG1" + b"\xff" * 5000, b"nonsense" * 999])
def test_a_journal_that_is_none_is_no_trouble(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.journal").write_bytes(content)
    Images(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_the_journal_goes_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "JOURNAL_BYTES", 50_000)
    kept = Images(tmp_path)
    for first in range(1, 100, 5):
        kept.write(files(5, first)).result()
        if kept._settling:
            kept._settling.join()
    kept.sync().result()
    cut_power(kept)
    journals = sum(path.stat().st_size for path in tmp_path.glob("images.journal*"))
    assert journals <= 2 * 50_000 + len(stamped("cam1", 1)) * 5
    Images(tmp_path).close()
    assert len(list(tmp_path.glob("cam1/*/*/*.jpg"))) == 100


def test_a_duplicate_makes_good_for_a_file_that_is_not_there(desk: Desk) -> None:
    # Its row was on disk when the power failed, and its file was not.
    desk.give(stamped("cam1", 1, ts=1))
    file = desk.folder / name("cam1", 1, 1)
    file.unlink()
    assert desk.give(stamped("cam1", 1, ts=1)).fields["verdict"] == Verdict.DUPLICATE
    assert file.read_bytes() == stamped("cam1", 1, ts=1)
