"""The journal: after a power cut every file is there of which anything was acknowledged."""

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from host_tools.watch import disk, journal
from host_tools.watch.filing import Filer
from host_tools.watch.images import Images, name
from host_tools.watch.verdicts import Verdict
from tests.brokers import DEADLINE_S
from tests.watch.cameras import stamped
from tests.watch.desk import Desk


def files(count: int, first: int = 1) -> dict[str, bytes]:
    return {name("cam1", 1, seq): stamped("cam1", seq, ts=1) for seq in range(first, first + count)}


def keep(kept: Images, written: dict[str, bytes]) -> None:
    """As the watcher does."""
    kept.begin(written)
    kept.finish()
    kept.secure()


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


def test_the_process_that_writes_files_is_killed_in_the_middle(tmp_path: Path) -> None:
    kept, written = Images(tmp_path), files(10)
    kept._filer._process.send_signal(signal.SIGSTOP)
    kept.begin(files(5))
    kept._writer.submit(int).result()
    kept._filer._process.kill()
    kept._filer._process.wait()
    kept.begin(files(5, 6))
    with pytest.raises(OSError, match="was ended"):
        kept.finish()
    keep(kept, written)
    kept.close()
    assert {each: (tmp_path / each).read_bytes() for each in written} == written


def test_a_journal_that_could_not_be_opened_is_opened_the_next_time(tmp_path: Path) -> None:
    filer = Filer(tmp_path)
    for number in (1, 2):
        filer.begin(number, [("cam1/1.jpg", 2, 3)])
        with pytest.raises(OSError, match=r"images\.journal"):
            filer.finish()
    (tmp_path / "images.journal").write_bytes(b"..abc..")
    filer.begin(2, [("cam1/1.jpg", 2, 3)])
    filer.finish()
    filer.close()
    assert (tmp_path / "cam1/1.jpg").read_bytes() == b"abc"


def test_a_journal_that_is_full_in_the_middle_is_safe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, secured = [], threading.Event()
    real = disk.sync_data
    monkeypatch.setattr(journal, "JOURNAL_BYTES", 10_000)
    monkeypatch.setattr(disk, "sync_all", lambda folder: secured.wait(DEADLINE_S))
    monkeypatch.setattr(
        disk, "sync_data", lambda handle: (synced.append(os.fstat(handle).st_ino), real(handle))
    )
    kept = Images(tmp_path)
    kept.begin(files(5))
    kept.begin(files(5, 6))
    kept.finish()
    kept.secure()
    inodes = {path.stat().st_ino for path in tmp_path.glob("images.journal*")}
    assert len(inodes) == 2
    assert inodes == set(synced)
    secured.set()
    kept.close()


def test_what_could_not_be_made_safe_is_not_called_so_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel says only once that it could not write, and takes it for written then.
    calls = []

    def fail(handle: int) -> None:
        calls.append("data")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(disk, "sync_data", fail)
        with pytest.raises(OSError, match="Input/output"):
            desk.give(stamped("cam1", 1, ts=1))
    monkeypatch.setattr(disk, "sync_all", lambda folder: calls.append("all"))
    desk.give(stamped("cam1", 1, ts=1))
    assert calls == ["data", "all"]
