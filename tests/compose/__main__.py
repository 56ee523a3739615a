"""`python -m tests.compose`: build and run the broker as compose.yaml says, and try it.

Exit code 0: all checks passed, or there is no engine to try it with (one line says so); 1: a
check failed, or nothing could be tried on CI as root, where it must be.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.compose import checks
from tests.compose.engine import Unavailable, engine
from tests.compose.project import Project, project
from tests.compose.shell import Failure, say, step


def _try_everything(ours: Project, work: Path) -> None:
    with step("building the image"):
        ours.build()
    with step("up: until the health check is content"):
        ours.up()
    with step("anchors and passwords can be taken out"):
        taken = checks.take_out(ours, work / "first")
    with step("not root, no capabilities, read-only"):
        checks.confinement(ours)
    with step("nothing in the image but the broker"):
        checks.contents(ours)
    with step("published on 127.0.0.1 only"):
        checks.published_ports(ours)
    with step("certificate verified, for its names only"):
        checks.verification(ours, taken)
    with step("cam1 publishes, the watcher receives"):
        checks.round_trip(ours, taken)
    with step("wrong passwords are refused"):
        checks.wrong_password(ours, taken)
    with step("the clock answers over UDP"):
        checks.clock(ours)
    with step("a stalled broker becomes unhealthy, and recovers"):
        checks.stalled_broker(ours)
    with step("stops in time"):
        checks.clean_stop(ours)
    with step("down and up: same anchors, same accounts"):
        ours.down()
        ours.up()
        again = checks.take_out(ours, work / "second")
        if (again.hashes, again.passwords) != (taken.hashes, taken.passwords):
            raise Failure("`down` and `up` changed the anchors or the passwords in the volume")
        checks.round_trip(ours, taken)
    for name, digest in taken.hashes.items():
        print(f"  anchor {name}, SHA-256 {digest}")


def main() -> int:
    """The exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    started = time.monotonic()
    try:
        with (
            engine() as docker,
            tempfile.TemporaryDirectory(prefix="anchorcam-compose-") as folder,
        ):
            work = Path(folder)
            (work / "project").mkdir()
            with project(docker, work / "project") as ours:
                _try_everything(ours, work)
    except Unavailable as error:
        say(f"skipped test-compose: {error}")
        return 1 if os.environ.get("CI") == "true" and os.geteuid() == 0 else 0
    except Failure as error:
        say(f"test-compose failed: {error}")
        return 1
    except KeyboardInterrupt:
        say("test-compose was interrupted; everything it started is gone")
        return 130
    print(f"test-compose passed in {time.monotonic() - started:.0f} s")
    return 0


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that the containers and the engine are taken down on the way out.
    raise KeyboardInterrupt


sys.exit(main())
