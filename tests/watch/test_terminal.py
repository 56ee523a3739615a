"""The watcher inside another program, on a terminal, and in a pipe that is closed."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.watch import options, subscriber
from host_tools.watch.events import Event
from host_tools.watch.outcome import conclude, verified
from host_tools.watch.subscriber import Watcher
from tests.brokers import DEADLINE_S, REPOSITORY, wait_for
from tests.watch.cameras import stamped
from tests.watch.conftest import Publisher, Watch


def test_in_process(config: Path, publisher: Publisher) -> None:
    events: list[Event] = []
    with Watcher(options.load(config, config.parent / "watch"), events.extend) as watcher:
        assert watcher.wait_connected(DEADLINE_S)
        publisher.send(stamped(publisher.camera, 1))
        wait_for(lambda: verified(watcher.view(publisher.camera)) == 1, "the snapshot")
        assert watcher.is_running()
        view = watcher.view(publisher.camera)
    assert not watcher.is_running()
    assert conclude(view, 1) == f"1 snapshot verified, of {publisher.camera}"
    assert [event.kind for event in events] == ["connection", "snapshot"]


def test_while_nothing_can_be_stored_the_broker_keeps_it_and_nothing_is_lost(
    config: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than it may take before it has stored any.
    camera, count = publisher.camera, 30
    monkeypatch.setattr(subscriber, "INBOX_MAX", 20_000)
    chosen = options.load(config, config.parent / "watch")
    # A file where the camera's folder belongs.
    blocked = chosen.folder / camera
    blocked.parent.mkdir()
    blocked.touch()
    with Watcher(chosen) as watcher:
        assert watcher.wait_connected(DEADLINE_S)
        publisher.send(*(stamped(camera, seq) for seq in range(1, count + 1)))
        wait_for(lambda: "cannot store" in watcher.view().trouble, "a word about the disk")
        blocked.unlink()
        wait_for(lambda: verified(watcher.view(camera)) == count, "all of them")
        wait_for(lambda: not watcher.view().trouble, "an all-clear")
    assert (blocked / "latest.jpg").read_bytes()[:2] == b"\xff\xd8"


def on_a_terminal(config: Path, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
    """`anchorcam watch` on a terminal of 100 columns; the process and the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "host_tools", "watch", str(config)),
            *("--data", str(config.parent / "watch"), *arguments),
        ],
        cwd=REPOSITORY,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": "100", "LINES": "30", "TERM": "xterm"},
    )
    os.close(theirs)
    return process, ours


def read_until(handle: int, is_enough: Callable[[str], bool]) -> str:
    """What a terminal shows, until it is enough or the program closes it."""
    text, end = "", time.monotonic() + DEADLINE_S
    while not is_enough(text) and time.monotonic() < end:
        if select.select([handle], [], [], 0.1)[0]:
            try:
                text += os.read(handle, 65536).decode()
            except OSError:  # Linux: the other side is closed
                break
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_live_table_and_its_end(
    config: Path, publisher: Publisher, number: signal.Signals
) -> None:
    process, handle = on_a_terminal(config, "--camera", publisher.camera)
    try:
        read_until(handle, lambda text: "TLS verified" in text)
        publisher.send(stamped(publisher.camera, 1))
        text = read_until(handle, lambda text: "latest.jpg" in text)
        assert publisher.camera in text
        assert "#1 3 kB" in text
        process.send_signal(number)
        read_until(handle, lambda _: False)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        os.close(handle)


def test_the_summary_on_a_terminal(config: Path, publisher: Publisher) -> None:
    process, handle = on_a_terminal(config, "--expect", "1", "--camera", publisher.camera)
    try:
        read_until(handle, lambda text: "TLS verified" in text)
        publisher.send(stamped(publisher.camera, 1))
        assert "1 snapshot verified, of" in read_until(handle, lambda _: False)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        os.close(handle)


def test_a_closed_pipe_ends_it_quietly(config: Path, publisher: Publisher) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "host_tools", "watch", str(config)),
            *("--data", str(config.parent / "watch")),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        assert "connected" in process.stdout.readline()
        process.stdout.close()
        publisher.send(stamped(publisher.camera, 1))
        assert process.wait(DEADLINE_S) == 0
        assert process.stderr.read() == ""


def test_a_full_disk_behind_stdout_is_told(config: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "host_tools", "watch", str(config)),
                *("--data", str(config.parent / "watch")),
            ],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
        )
    assert done.returncode == 1
    assert "stdout cannot be written: No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_only_one_camera_is_shown_and_counted(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    watcher = watch(config, "--camera", "another", "--expect", "1").connected()
    publisher.send(stamped(publisher.camera, 1))
    ended = watcher.end()
    assert ended.status == 1
    assert watcher.snapshots(publisher.camera) == []


def test_a_line_that_a_signal_interrupts_is_written_to_its_end(
    watch: Watch, config: Path, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera, count = publisher.camera, 600
    watch(config).connected().end()
    publisher.send(*(stamped(camera, seq) for seq in range(1, count + 1)))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    data = config.parent / "watch"
    process = subprocess.Popen(
        [sys.executable, "-m", "host_tools", "watch", str(config), "--data", str(data)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        pipe = process.stdout.fileno()
        # It holds 64 KiB, and nobody reads: the rest is waiting in a write().
        wait_for(lambda: _waiting(pipe) > 60_000, "a full pipe")
        for _ in range(20):
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
        seqs = []
        while len(seqs) < count:
            event = json.loads(process.stdout.readline())
            seqs += [event["seq"]] if event["event"] == "snapshot" else []
        process.terminate()
    assert seqs == list(range(1, count + 1))


def _waiting(pipe: int) -> int:
    """Bytes that could be read from it."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
