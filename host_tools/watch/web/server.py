"""The page's server: uvicorn in a thread beside the watcher."""

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import uvicorn

from broker.errors import UserError
from host_tools.watch.records import Records
from host_tools.watch.subscriber import Watcher
from host_tools.watch.web.feed import Feed
from host_tools.watch.web.gate import HEAD_MAX, Token, is_loopback
from host_tools.watch.web.site import Site

LOOPBACK = "127.0.0.1"
PORT = 8089
_CONNECTIONS_MAX = 200
_STOP_S = 5


@dataclass(frozen=True)
class Wanted:
    """Where the page is to be. port: 0 for any that is free; token: the file, or None."""

    bind: str = LOOPBACK
    port: int = PORT
    token: Path | None = None


@dataclass(frozen=True)
class Address:
    """Where the page is. url: with the token."""

    plain: str
    url: str
    notes: tuple[str, ...]  # what to know before using it

    def announce(self) -> None:
        """Say it on stderr (stdout may be NDJSON); with the token to a person, to no log."""
        shown = self.url if sys.stderr.isatty() else self.plain
        print(f"page  {shown}", *self.notes, sep="\n", file=sys.stderr, flush=True)


@contextmanager
def serving(watcher: Watcher, wanted: Wanted) -> Iterator[Address]:
    """The page of a running watcher, for the length of the block. Raises UserError."""
    options = watcher.options
    token = Token(wanted.token or options.folder / "page.token")
    listener = _listen(wanted)
    with listener, Records(options.ledger) as records:
        site = Site(Feed(records, watcher.view), options, token)
        server = uvicorn.Server(
            uvicorn.Config(
                site.app(wanted.bind),
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                http="h11",
                h11_max_incomplete_event_size=HEAD_MAX,
                limit_concurrency=_CONNECTIONS_MAX,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=_STOP_S,
            )
        )
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve([listener])), name="page", daemon=True
        )
        thread.start()
        try:
            yield _address(wanted, listener, token)
        finally:
            site.pulse.end()
            server.should_exit = True
            thread.join(2 * _STOP_S)


def _listen(wanted: Wanted) -> socket.socket:
    family = socket.AF_INET6 if ":" in wanted.bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((wanted.bind, wanted.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(
            f"the page cannot be at {wanted.bind}:{wanted.port}: {error.strerror};"
            " give another --web-port (0: any that is free) or --bind",
            exit_code=2,
        ) from error
    return listener


def _address(wanted: Wanted, listener: socket.socket, token: Token) -> Address:
    host = f"[{wanted.bind}]" if ":" in wanted.bind else wanted.bind
    if host in ("0.0.0.0", "[::]"):  # noqa: S104 (the user's own words)
        host = socket.gethostname()
    plain = f"http://{host}:{listener.getsockname()[1]}/"
    # Behind "#", what is there never leaves the browser.
    url = f"{plain}#token={quote(token.text, safe='')}"
    notes = [f"its token is in {token.path}"]
    if not is_loopback(wanted.bind):
        notes.append(
            "others can reach this page: it asks for the token, but HTTP is not encrypted;"
            " use it in a network that you trust, or behind a proxy with TLS"
        )
    return Address(plain, url, tuple(notes))
