"""The watcher's page as a test uses it: the server's address, and what a browser shows."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.brokers import DEADLINE_S
from tests.watch.conftest import WatchProcess


@dataclass(frozen=True)
class Said:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """Where a watcher serves its page. url: without the token."""

    url: str
    token: str

    @classmethod
    def of(cls, process: WatchProcess) -> "Site":
        """From what the watcher prints when it has started."""
        assert process.process.stderr
        page, token = (process.process.stderr.readline().strip() for _ in range(2))
        assert page.startswith("page  http://"), page
        # What is not a terminal may be a log.
        assert "#" not in page
        path = Path(token.removeprefix("its token is in "))
        return cls(page.removeprefix("page  "), path.read_text().strip())

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(
        self, path: str, body: object = None, *, method: str = "", **headers: str | None
    ) -> Said:
        """A request as this page's own script makes it; headers with None are left out."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        sent: dict[str, str | None] = {"Host": self.host}
        if body is not None:
            sent |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        client.putrequest(
            method or ("GET" if body is None else "POST"),
            path,
            skip_host=True,
            skip_accept_encoding=True,
        )
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            sent["Content-Length"] = str(len(data))
        for name, value in sent.items():
            if value is not None:
                client.putheader(name, value)
        client.endheaders(data if body is not None else None)
        try:
            answer = client.getresponse()
            return Said(answer.status, dict(answer.headers.items()), answer.read())
        finally:
            client.close()

    def cookie(self) -> str:
        """That of a new session."""
        said = self.ask("/api/session", {"token": self.token})
        assert said.status == 200, said
        return said.headers["set-cookie"].partition(";")[0]
