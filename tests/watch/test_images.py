"""The journal: after a power cut every file is there of which anything was acknowledged."""

from pathlib import Path

import pytest

from host_tools.watch import journal
from host_tools.watch.images import Images, name
from host_tools.watch.verdicts import Verdict
from tests.watch.cameras import stamped
from tests.watch.desk import Desk


def files(count: int, first: int = 1) -> dict[str, bytes]:
    return {name("cam1", 1, seq): stamped("cam1", seq, ts=1) for seq in range(first, first + count)}


def keep(kept: Images, written: dict[str, bytes]) -> None:
    """As the watcher does."""
    kept.begin(written)
    safe = kept.finish()
    assert safe
    safe.result()


def cut_power(kept: Images) -> None:
    """Leave everything as it is at this moment."""
    kept._writer.shutdown()
    kept._filer.close()


def test_what_the_files_lack_after_a_power_cut_the_journal_has(tmp_path: Path) -> None:
    kept, written = Images(tmp_path), files(5)
    keep(kept, written)
    cut_power(kept)
    one, two, three, *_ = (tmp_path / each for each in written)
    one.unlink()
    two.write_bytes(b"")
    three.write_bytes(bytes(three.stat().st_size))
    again = Images(tmp_path)
    assert {each: (tmp_path / each).read_bytes() for each in written} == written
    again.close()
    one.unlink()
    Images(tmp_path).close()
    assert not one.exists(), "it was on disk, and whoever deleted it meant it"


def test_a_torn_journal_is_read_up_to_the_tear(tmp_path: Path) -> None:
    kept, written = Images(tmp_path), files(3)
    keep(kept, written)
    cut_power(kept)
    there = tmp_path / "images.journal"
    size = sum(len(each) + len(content) + 12 for each, content in written.items())
    content = there.read_bytes()
    there.write_bytes(content[: size - 100] + bytes(1000))
    for each in written:
        (tmp_path / each).unlink()
    Images(tmp_path).close()
    assert [(tmp_path / each).exists() for each in written] == [True, True, False]


@pytest.mark.parametrize("content", [b"", b"JPG1", b"JPG1" + b"\xff" * 5000, b"nonsense" * 999])
def test_a_journal_that_is_none_is_no_trouble(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.journal").write_bytes(content)
    Images(tmp_path).close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["filer.lock", "images.journal.spare"]


def test_a_full_journal_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "JOURNAL_BYTES", 50_000)
    kept = Images(tmp_path)
    for first in range(1, 100, 5):
        keep(kept, files(5, first))
        if kept._journal._settling:
            kept._journal._settling.join()
    cut_power(kept)
    journals = sum(path.stat().st_size for path in tmp_path.glob("images.journal*"))
    assert journals <= 2 * 50_000 + len(stamped("cam1", 1)) * 5
    for path in tmp_path.glob("cam1/*/*/*.jpg"):
        path.unlink()
    Images(tmp_path).close()
    back = sorted(int(path.stem) for path in tmp_path.glob("cam1/*/*/*.jpg"))
    assert back, "the newest are in the journal"
    assert back == list(range(back[0], 101)), "and nothing of what was there before them"


def test_a_duplicate_makes_good_for_a_file_that_is_not_there(desk: Desk) -> None:
    # Its row was on disk when the power failed, and its file was not.
    desk.give(stamped("cam1", 1, ts=1))
    file = desk.folder / name("cam1", 1, 1)
    file.unlink()
    assert desk.give(stamped("cam1", 1, ts=1)).fields["verdict"] == Verdict.DUPLICATE
    assert file.read_bytes() == stamped("cam1", 1, ts=1)
