"""Who may ask the page's server for what, decided before anything else looks at a request.

- The Host header must be an address, or a name of this machine: with any other name it would be
  another site's script that had its own name point here (DNS rebinding).
- What changes something is a POST with the Origin of this very page, and needs the session: a
  cookie of no use without the token, that no script can read and no other site can send.
- Beside a loopback address everything but the empty page needs the session, too.
"""

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.errors import UserError
from broker.files import make_folder, write_atomic

SESSION_S = 30 * 24 * 3600
HEAD_MAX = 16 * 1024
_TARGET_MAX = 1024
# Beside a loopback address without a session: what holds nothing of any camera.
_OPEN = ("/", "/api/session")
_TOKEN_LEAST, _TOKEN_MOST = 16, 256
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Token:
    """The secret of one page, kept in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        """Read it, or make one. Raises UserError."""
        try:
            make_folder(path.parent)
            if not path.exists():
                write_atomic(path, secrets.token_urlsafe(24).encode() + b"\n", 0o600)
            text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UserError(f"the token file {path} cannot be used: {why}", exit_code=2) from error
        if not _TOKEN_LEAST <= len(text) <= _TOKEN_MOST:
            raise UserError(
                f"the token in {path} must have {_TOKEN_LEAST} to {_TOKEN_MOST} characters;"
                " remove the file to have one made",
                exit_code=2,
            )
        self.path = path
        self.text = text
        self._key = hashlib.sha256(b"anchorcam page " + text.encode()).digest()
        # Cookies know no ports: two watchers on one machine must not share one.
        self.cookie = f"anchorcam-{self._sign('name')[:8]}"

    def fits(self, given: str) -> bool:
        """Whether this is the token; takes as long for a wrong one."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.text.encode())

    def session(self) -> str:
        """What the cookie of a new session holds; it outlives a restart, not a new token."""
        ends = str(int(time.time()) + SESSION_S)
        return f"{ends}.{self._sign(ends)}"

    def is_session(self, cookie: str) -> bool:
        """Whether session() made this, and not too long ago."""
        ends, _, signature = cookie.partition(".")
        known = hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(ends).encode())
        return known and ends.isdigit() and int(ends) > time.time()

    def _sign(self, ends: str) -> str:
        return hmac.new(self._key, ends.encode("utf-8", "replace"), "sha256").hexdigest()


class Gate:
    """ASGI middleware. A request that it lets through has scope["unlocked"], a bool.

    bind: the address at which the server listens.
    """

    def __init__(self, app: ASGIApp, token: Token, bind: str) -> None:
        self._app = app
        self._token = token
        self._is_local = is_loopback(bind)
        name = socket.gethostname().lower()
        short = name.partition(".")[0]
        self._names = () if self._is_local else (bind.lower(), name, short, f"{short}.local")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                is_static = scope["path"].startswith("/static/")
                headers.setdefault("cache-control", "no-cache" if is_static else "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_hardened)
        else:
            status, why = refusal
            await JSONResponse({"error": why}, status)(scope, receive, send_hardened)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason, or None when the request may pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEAD_MAX:
            return 431, "The head of the request is too long."
        if len(scope["path"]) + len(scope["query_string"]) > _TARGET_MAX:
            return 414, "The address is too long."
        if not self._is_ours(host):
            return 421, "This is not the name of this server; open it by the address it printed."
        scope["unlocked"] = self._is_unlocked(headers)
        if scope["method"] not in ("GET", "HEAD"):
            if scope["method"] != "POST":
                return 405, "Only GET and POST."
            origin = headers.get("origin", "")
            if urlsplit(origin).netloc != host or not origin.startswith(("http://", "https://")):
                return 403, "Only this page itself may ask for that."
            if headers.get("content-type") != "application/json":
                return 415, "Only application/json."
        path = scope["path"]
        is_open = path in _OPEN or path.startswith("/static/")
        needs_session = scope["method"] == "POST" or not self._is_local
        if needs_session and not is_open and not scope["unlocked"]:
            return 401, "Unlock this page with its token first."
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name in self._names:
            return True
        return not self._is_local and _is_address(name)

    def _is_unlocked(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._token.fits(given.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._token.cookie)
        except CookieError:
            return False
        return cookie is not None and self._token.is_session(cookie.value)


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach what listens there."""
    if _is_address(address):
        return ipaddress.ip_address(address).is_loopback
    return address == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
