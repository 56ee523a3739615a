"""The page's routes: what can be asked for, within which limits."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from broker.errors import UserError
from camera import stamp, topics
from host_tools.exchange import Verb, exchange, outcome, request_of
from host_tools.watch.options import Options
from host_tools.watch.web.cells import image_url
from host_tools.watch.web.feed import Cursor, Feed
from host_tools.watch.web.gate import SESSION_S, Gate, Token
from host_tools.watch.web.metrics import Metrics
from host_tools.watch.web.pulse import Pulse

STATIC = Path(__file__).parent / "static"
_BODY_MAX = 1024
_COMMANDS_MAX = 4
_COMMAND_S = 10.0
# A wrong token costs this long, one attempt at a time.
_WRONG_S = 0.5


class Site:
    """What the routes share. options: those of the watcher."""

    def __init__(self, feed: Feed, options: Options, token: Token) -> None:
        self._feed = feed
        self._options = options
        self._token = token
        self._metrics = Metrics(feed)
        self.pulse = Pulse(feed)
        self._commands = asyncio.Semaphore(_COMMANDS_MAX)
        self._attempts = asyncio.Lock()

    def app(self, bind: str) -> Starlette:
        """The ASGI application of a server that listens at this address."""

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(self.pulse.beat())
            yield
            task.cancel()

        return Starlette(
            routes=[
                Route("/", self._index),
                Mount("/static", StaticFiles(directory=STATIC)),
                Route("/metrics", self._metrics_page),
                Route("/api/overview", self._overview),
                Route("/api/events", self._events),
                Route("/api/session", self._open, methods=["POST"]),
                Route("/api/session/end", self._end, methods=["POST"]),
                Route("/api/cameras/{camera}", self._of_camera(self._camera)),
                Route("/api/cameras/{camera}/series", self._of_camera(self._series)),
                Route("/api/cameras/{camera}/history", self._of_camera(self._history)),
                Route(
                    "/api/cameras/{camera}/commands",
                    self._of_camera(self._command),
                    methods=["POST"],
                ),
                Route("/images/{camera}/{boot:int}/{seq:int}/{file}", self._of_camera(self._image)),
            ],
            middleware=[Middleware(Gate, token=self._token, bind=bind)],
            exception_handlers={UserError: _unusable, HTTPException: _refused},
            lifespan=lifespan,
        )

    async def _index(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def _metrics_page(self, _request: Request) -> Response:
        text = await run_in_threadpool(self._metrics.render)
        return Response(text, media_type=self._metrics.media_type)

    async def _overview(self, request: Request) -> Response:
        said = await run_in_threadpool(self._feed.overview)
        return JSONResponse(said | {"unlocked": request.scope["unlocked"]})

    async def _events(self, request: Request) -> Response:
        # The browser's own, after a reconnect, is later than the one in the address.
        text = request.headers.get("last-event-id") or request.query_params.get("after", "")
        cursor = Cursor.parse(text)
        if cursor is None:
            raise HTTPException(400, "That is no id of an event.")
        if not self.pulse.enter():
            raise HTTPException(503, "Too many pages follow this watcher; close one.")
        return _Events(self.pulse, cursor)

    async def _open(self, request: Request) -> Response:
        given = (await _body(request)).get("token")
        async with self._attempts:
            if not isinstance(given, str) or not self._token.fits(given):
                await asyncio.sleep(_WRONG_S)
                raise HTTPException(403, "That is not the token.")
        response = JSONResponse({})
        response.set_cookie(
            self._token.cookie,
            self._token.session(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.headers.get("origin", "").startswith("https:"),  # a proxy's
        )
        return response

    async def _end(self, _request: Request) -> Response:
        response = JSONResponse({})
        response.delete_cookie(self._token.cookie, httponly=True, samesite="strict")
        return response

    def _of_camera(
        self, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            camera = request.path_params["camera"]
            if not topics.is_id(camera):
                raise HTTPException(404, "There is no such camera.")
            return await handler(request, camera)

        return endpoint

    async def _camera(self, _request: Request, camera: str) -> Response:
        said = await run_in_threadpool(self._feed.camera, camera)
        if said is None:
            raise HTTPException(404, "There is no such camera.")
        return JSONResponse(said)

    async def _series(self, _request: Request, camera: str) -> Response:
        return JSONResponse(await run_in_threadpool(self._feed.series, camera))

    async def _history(self, request: Request, camera: str) -> Response:
        try:
            before = (int(request.query_params["boot"]), int(request.query_params["seq"]))
        except (KeyError, ValueError):
            raise HTTPException(400, "boot and seq must be numbers.") from None
        if not all(0 <= number <= stamp.COUNT_MAX for number in before):
            raise HTTPException(400, "boot and seq must be numbers.")
        history = await run_in_threadpool(self._feed.history, camera, before)
        return JSONResponse({"history": history})

    async def _image(self, request: Request, camera: str) -> Response:
        boot, seq = request.path_params["boot"], request.path_params["seq"]
        if max(boot, seq) > stamp.COUNT_MAX:
            raise HTTPException(404)
        snapshot = await run_in_threadpool(self._feed.records.snapshot, camera, boot, seq)
        if snapshot is None or image_url(snapshot) != request.url.path:
            raise HTTPException(404)
        assert snapshot.image is not None
        path = self._options.folder / snapshot.image
        if not path.is_file():
            raise HTTPException(404)
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    async def _command(self, request: Request, camera: str) -> Response:
        said = await _body(request)
        value = said.get("value")
        if said.get("do") not in list(Verb) or not (value is None or _is_number(value)):
            raise HTTPException(400, "That is no command.")
        try:
            asked = request_of(Verb(said["do"]), value)
        except UserError as error:
            raise HTTPException(400, str(error)) from None
        if self._commands.locked():
            raise HTTPException(503, "Other commands wait for their answers; try again.")
        async with self._commands:
            try:
                answer = await run_in_threadpool(exchange, self._options, camera, asked, _COMMAND_S)
                return JSONResponse({"said": outcome(camera, answer)})
            except UserError as error:
                raise HTTPException(502, str(error)) from None


class _Events(StreamingResponse):
    """The events for a page that has entered, until it goes away."""

    def __init__(self, pulse: Pulse, cursor: Cursor) -> None:
        headers = {"x-accel-buffering": "no"}
        super().__init__(pulse.follow(cursor), media_type="text/event-stream", headers=headers)
        self._pulse = pulse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pulse.leave()


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises HTTPException for anything else."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _BODY_MAX:
            raise HTTPException(413, "That is too long.")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise HTTPException(400, "That is no JSON object.")
    return said


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


async def _unusable(_request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503)
