"""Server-sent events: looks for what is new in the ledger once, and tells every page of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from broker.errors import UserError
from host_tools.watch.web.feed import BEHIND_MAX, Cursor, Feed

CLIENTS_MAX = 32
_LOOK_S = 0.25
# State, counts and health have no rows; they are compared this often.
_LIVE_S = 1.0
# A proxy or a dead peer shows by this.
_SILENCE_MAX_S = 15.0
# What a browser waits before it connects again.
_RETRY_MS = 1000


class Pulse:
    """The newest of a feed. beat() runs for as long as the server does."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._clients = 0
        self._is_over = False
        self._newest = Cursor()
        self._lives: dict[str, tuple[int, str]] = {}  # name: (version, JSON)
        self._version = 0
        self._beat = asyncio.Event()  # of the next look; each has an event of its own

    def enter(self) -> bool:
        """Whether one more page may follow; then it has to leave() some time."""
        if self._clients >= CLIENTS_MAX:
            return False
        self._clients += 1
        return True

    def leave(self) -> None:
        """A page that had entered follows no more."""
        self._clients -= 1

    def end(self) -> None:
        """Let every page go, soon."""
        self._is_over = True

    async def beat(self) -> None:
        """Look, for ever."""
        look = 0
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self._clients:
                continue  # nobody asks, so the watcher need not answer
            look += 1
            try:
                self._newest = await run_in_threadpool(self._feed.newest)
                if look % round(_LIVE_S / _LOOK_S) == 0:
                    self._compare(await run_in_threadpool(self._lives_now))
            except UserError:
                continue  # a ledger that is busy for once: the same question again
            beat, self._beat = self._beat, asyncio.Event()
            beat.set()  # each follower sees for itself whether it is news

    async def follow(self, cursor: Cursor) -> AsyncIterator[str]:
        """The events after the cursor, as text/event-stream, until the page goes away."""
        seen = 0  # version of what has no rows
        try:
            yield f"retry: {_RETRY_MS}\n\n"
            while not self._is_over:
                self._newest = await run_in_threadpool(self._feed.newest)
                behind = cursor.behind(self._newest)
                if behind is None or behind > BEHIND_MAX:
                    yield "event: reload\ndata:\n\n"
                    return
                for position, event in await run_in_threadpool(self._after, cursor):
                    cursor = position
                    if event:
                        yield f"id: {cursor}\ndata: {_json(event)}\n\n"
                for version, text in sorted(self._lives.values()):
                    if version > seen:
                        yield f"data: {text}\n\n"
                        seen = version
                if not await self._is_news(cursor, seen):
                    yield ": still here\n\n"
        except UserError:
            return  # the page comes back, with the id of the last event that it got

    async def _is_news(self, cursor: Cursor, seen: int) -> bool:
        """True as soon as there is something behind these two; False: not for a while."""

        # No asyncio.Condition: a page that goes away in the middle would leave its lock broken.
        loop = asyncio.get_running_loop()
        end = loop.time() + _SILENCE_MAX_S
        while self._version <= seen and self._newest == cursor and not self._is_over:
            try:
                await asyncio.wait_for(self._beat.wait(), max(end - loop.time(), 0))
            except TimeoutError:
                return False
        return True

    def _after(self, cursor: Cursor) -> list[tuple[Cursor, dict[str, Any] | None]]:
        return list(self._feed.after(cursor))

    def _lives_now(self) -> list[dict[str, Any]]:
        return [self._feed.broker(), *self._feed.live()]

    def _compare(self, lives: list[dict[str, Any]]) -> None:
        for live in lives:
            name, text = live.get("camera", ""), _json(live)
            if self._lives.get(name, (0, ""))[1] != text:
                self._version += 1
                self._lives[name] = (self._version, text)


def _json(event: dict[str, Any]) -> str:
    return json.dumps(event, separators=(",", ":"))
