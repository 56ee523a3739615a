"""A file from the web, bounded in size and in time, and from the web only."""

import http.client
import threading
import urllib.request
from concurrent.futures import Future
from email.message import Message
from typing import IO

_CHUNK = 1 << 16


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows no redirect out of the web; urllib's own goes on to ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        """As urllib's. Raises ValueError."""
        if not newurl.lower().startswith(("https://", "http://")):
            raise ValueError("it redirects to what is no web page")
        if req.full_url.startswith("https://") and not newurl.lower().startswith("https://"):
            raise ValueError("it redirects from https to http")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def download(url: str, most: int, limit_s: float) -> bytes:
    """What is at an http or https URL, at most one byte more than `most`, within limit_s seconds.

    Raises OSError, ValueError and http.client.HTTPException.
    """
    found: Future[bytes] = Future()

    def run() -> None:
        try:
            found.set_result(_read(url, most, limit_s))
        except (OSError, ValueError, http.client.HTTPException) as error:
            found.set_exception(error)

    # A server that sends a byte now and then keeps every single read within its limit.
    threading.Thread(target=run, daemon=True).start()
    try:
        return found.result(limit_s)
    except TimeoutError:
        raise TimeoutError(f"it did not come within {limit_s:g} s") from None


def _read(url: str, most: int, limit_s: float) -> bytes:
    opener = urllib.request.build_opener(_WebOnly)
    data = bytearray()
    with opener.open(url, timeout=limit_s) as answer:
        while len(data) <= most and (piece := answer.read(min(_CHUNK, most + 1 - len(data)))):
            data += piece
    return bytes(data)
