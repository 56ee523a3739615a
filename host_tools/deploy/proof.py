"""Proof that a camera works: the first verified snapshot at the broker, or what it said instead."""

import queue
import shutil
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from broker.errors import UserError
from host_tools.deploy.device import Device
from host_tools.watch import outcome
from host_tools.watch.events import Event
from host_tools.watch.options import Options
from host_tools.watch.session import CONNECT_S
from host_tools.watch.subscriber import Watcher
from host_tools.watch.verdicts import VERIFIED

_LINES_KEPT = 8


class Proof:
    """Watches the broker for one camera, from before it starts.

    after: the number of its last boot; only a snapshot of a later one proves anything. 0: it
    never was started, so the ledger in options.folder, which may know another camera of this
    id, is begun anew.
    """

    def __init__(self, options: Options, camera: str, after: int) -> None:
        if not after:
            shutil.rmtree(options.folder, ignore_errors=True)
        self._camera = camera
        self._after = after
        self._events: queue.Queue[Event] = queue.Queue()
        self._watcher = Watcher(replace(options, reorder_s=1.0), self._tell)

    def __enter__(self) -> Self:
        """Raises UserError when the broker does not let the watcher in."""
        self._watcher.start()
        if not self._watcher.wait_connected(CONNECT_S):
            why = outcome.why(self._watcher.view())
            self._watcher.stop()
            raise UserError(
                f"the watcher cannot prove anything, {why}; --no-wait deploys without proof"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._watcher.stop()

    def wait(self, device: Device, seconds: float) -> str:
        """What the first verified snapshot was; the camera has just been started.

        Raises UserError with what the camera said when there is none.
        """
        end = time.monotonic() + seconds
        last: deque[str] = deque(maxlen=_LINES_KEPT)
        for line in device.lines():
            if line:
                last.append(line)
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                if time.monotonic() < end:
                    continue
                break
            boot, seq, size = (event.fields.get(name) for name in ("boot", "seq", "size"))
            return f"boot {boot}, seq {seq}, {size:,} bytes"
        said = "\n".join(f"    {line}" for line in last) or "    (nothing)"
        raise UserError(
            f"no verified snapshot of {self._camera} within {seconds:g} s:"
            f" {outcome.why(self._watcher.view(self._camera))}; the camera said last:\n{said}\n"
            "docs/operations.md says what its reason codes mean; `anchorcam doctor` walks the way"
        )

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            boot = event.fields.get("boot")
            if (
                event.kind == "snapshot"
                and event.camera == self._camera
                and isinstance(boot, int)
                and boot > self._after
                and event.fields.get("verdict") in VERIFIED
            ):
                self._events.put(event)
