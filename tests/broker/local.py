"""A broker in this process: for tests that look inside, or bend its limits."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from broker.server import BrokerServer, Options
from tests.brokers import Endpoint, wait_for
from tests.packets import DEADLINE_S

NAMES = ("localhost", "127.0.0.1")


class LocalBroker:
    """A BrokerServer in a thread of this process."""

    def __init__(self, options: Options, now: Callable[[], datetime] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.server = self.run(self._make(options))
        if now:
            self.server.authority.now = now
        self.run(self.server.start())
        passwords = json.loads(options.secrets.read_text())["passwords"]
        self.endpoint = Endpoint(self.server.ports["ecdsa"], self.server.anchors[0].path, passwords)

    async def _make(self, options: Options) -> BrokerServer:
        return BrokerServer(options, self._emit)

    def _emit(self, event: str, **fields: object) -> None:
        self.events.append({"event": event, **fields})

    def event(self, name: str) -> dict[str, Any]:
        """The first event of this name, waited for."""

        def found() -> dict[str, Any] | None:
            return next((e for e in list(self.events) if e["event"] == name), None)

        return dict(wait_for(found, f"event {name}; there are {self.events}"))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the broker's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def stop(self) -> None:
        """Stop the broker and its thread; nothing of it may be left."""
        self.run(self.server.stop())
        left = self.run(_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
        assert left == []


async def _others() -> list[str]:
    me = asyncio.current_task()
    return [repr(task) for task in asyncio.all_tasks() if task is not me]
