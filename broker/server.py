"""The test broker as one service: certificates, accounts, TLS listeners and the clock."""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from broker.accounts import WATCHER, Accounts
from broker.authority import Anchor, Authority
from broker.certificates import CHAINS, Chain
from broker.clock import ClockService
from broker.connection import Limits
from broker.devices import ask_for_certificate, note_failures
from broker.errors import UserError
from broker.events import Emit
from broker.files import locked, make_folder
from broker.repairs import RepairedBroker
from broker.rules import Role
from broker.streams import describe
from broker.zoo import listeners
from broker.zoo.making import Zoo
from broker.zoo.table import ROWS

# What is done with a connection that was accepted.
Serve = Callable[[socket.socket], Coroutine[None, None, None]]

# A leaf has a month left when it becomes due, so this need not be often.
RENEWAL_CHECK_S = 600.0
# Everything in stop() together takes no longer.
STOP_S = 4.0


@dataclass(frozen=True)
class Options:
    """What `anchorcam broker` can be told; README.md describes each option. Port 0: any free."""

    data: Path
    anchors: Path
    secrets: Path
    names: Sequence[str] = ("localhost", "127.0.0.1")
    cameras: Sequence[str] = ("cam1",)
    bind: str = "127.0.0.1"
    port: int = 8883
    rsa_port: int = 8884
    clock_port: int = 11123
    prefix: str = "cameras"
    # Of the listener that asks devices for their certificate; None: there is none.
    device_port: int | None = None
    # The first port of the zoo; None: no zoo.
    zoo_port: int | None = None
    limits: Limits = field(default_factory=Limits)
    renewal_check_s: float = RENEWAL_CHECK_S


class BrokerServer:
    """Start and stop of the whole service; the constructor does nothing.

    After start(): ports (listener name -> port), clock_port, anchors; zoo_ports (row's name ->
    port) where there is a zoo. authority and clock are there before, for tests to bend.
    """

    def __init__(self, options: Options, emit: Emit) -> None:
        self.options = options
        self.authority = Authority(options.data / "authority", options.names)
        self.clock = ClockService()
        self.ports: dict[str, int] = {}
        self.zoo_ports: dict[str, int] = {}
        self.clock_port = 0
        self.anchors: list[Anchor] = []
        self._emit = emit
        # Of the listeners that send each chain.
        self._contexts: dict[str, list[ssl.SSLContext]] = {}
        # What each context was given, the leaf first.
        self._loaded: dict[str, list[x509.Certificate]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._resources = contextlib.ExitStack()
        self._broker: RepairedBroker | None = None

    async def start(self) -> None:
        """Begin to serve; nothing is left running when it raises UserError."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        options = self.options
        self._claim(options.data)
        await asyncio.to_thread(self.authority.ensure)
        self.anchors = self.authority.write_anchors(options.anchors)
        accounts = Accounts(options.data / "accounts.json")
        wanted: dict[str, Role] = dict.fromkeys(options.cameras, "camera")
        wanted[WATCHER] = "watcher"
        accounts.ensure(wanted, options.secrets)
        ecdsa, rsa = CHAINS
        sockets = {
            "ecdsa": (ecdsa, self._listen(options.port, "--port")),
            "rsa": (rsa, self._listen(options.rsa_port, "--rsa-port")),
        }
        if options.device_port is not None:
            sockets["device"] = (ecdsa, self._listen(options.device_port, "--device-port"))
        try:
            _, self.clock_port = await self.clock.start(options.bind, options.clock_port)
        except OSError as error:
            raise _cannot_listen(options.bind, options.clock_port, "--clock-port", error) from error
        self._broker = RepairedBroker(accounts, options.prefix, options.limits, self._emit)
        await self._broker.start()
        for name, (chain, listening) in sockets.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if name == "device":
                ask_for_certificate(context, self.authority.devices_file)
            self._contexts.setdefault(chain.name, []).append(context)
            self._load(chain)
            self.ports[name] = listening.getsockname()[1]
            serve = functools.partial(self._serve, name, context)
            self._spawn(self._tasks, self._accept(listening, serve))
        if options.zoo_port is not None:
            await self._open_zoo(options.zoo_port)
        self._spawn(self._tasks, self._renew_for_ever())

    async def _open_zoo(self, first_port: int) -> None:
        zoo = Zoo(self.options.data / "zoo", self.authority, self.options.names, self.authority.now)
        try:
            await asyncio.to_thread(zoo.ensure)
            self.anchors += zoo.write_anchors(self.options.anchors)
            contexts = [listeners.context(zoo, row) for row in ROWS]
        except OSError as error:
            raise UserError(
                f"cannot make the zoo in {self.options.data}: {describe(error)}; make it writable"
                " or choose another folder with --data"
            ) from error
        for at, (row, context) in enumerate(zip(ROWS, contexts, strict=True)):
            listening = self._listen(first_port + at if first_port else 0, "--zoo-port")
            self.zoo_ports[row.name] = listening.getsockname()[1]
            name = f"zoo {row.name}"
            if row.behaviour == "garbage":
                serve = _answer_garbage
            else:
                serve = functools.partial(self._serve, name, context)
            self._spawn(self._tasks, self._accept(listening, serve))

    async def stop(self) -> None:
        """End every connection and free every port, within STOP_S seconds."""
        try:
            async with asyncio.timeout(STOP_S):
                await _cancel(self._tasks)
                self.clock.stop()
                if self._broker and self._broker.transitions.is_started():
                    await self._broker.shutdown()
                await _cancel(self._connections)
        except TimeoutError:
            self._emit("warning", reason="not everything could be closed in time")
        finally:
            self._resources.close()

    def _claim(self, data: Path) -> None:
        """Only one broker at a time may keep its certificates here."""
        try:
            make_folder(data, 0o700)
            mine = self._resources.enter_context(locked(data / "broker.lock", wait=False))
        except OSError as error:
            raise UserError(
                f"cannot use the data folder {data}: {error.strerror or error}; "
                "make it writable or choose another with --data"
            ) from error
        if not mine:
            raise UserError(
                f"another broker uses the data folder {data}: stop it or choose another "
                "folder with --data"
            )

    def _listen(self, port: int, option: str) -> socket.socket:
        host = self.options.bind
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = socket.create_server((host, port), family=family, backlog=100)
        except OSError as error:
            raise _cannot_listen(host, port, option, error) from error
        listening.setblocking(False)
        self._resources.callback(listening.close)
        return listening

    async def _accept(self, listening: socket.socket, serve: Serve) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:
                # Out of file descriptors, most likely: they come back as clients leave.
                self._emit("warning", reason=f"cannot accept a connection: {describe(error)}")
                await asyncio.sleep(1)
                continue
            self._spawn(self._connections, serve(client))

    async def _serve(
        self, name: str, context: ssl.SSLContext | None, client: socket.socket
    ) -> None:
        """One connection. Nothing it does, or we do wrong, may reach the other connections."""
        assert self._broker
        loop = asyncio.get_running_loop()
        limits = self.options.limits
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        address = "an unknown address"
        failures = note_failures()
        try:
            address = "{}:{}".format(*client.getpeername()[:2])
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol,
                client,
                ssl=context,
                ssl_handshake_timeout=limits.handshake_s if context else None,
                ssl_shutdown_timeout=limits.close_s if context else None,
            )
            stream = asyncio.StreamWriter(transport, protocol, reader, loop)
            await self._broker.serve(reader, stream, name)
        except OSError as error:
            client.close()
            reason = f"TLS: {describe(failures[0] if failures else error)}"
            self._emit("refused", address=address, listener=name, reason=reason)
        except Exception as error:  # noqa: BLE001 a fault of ours costs one connection
            reason = f"internal error: {type(error).__name__}: {error}"
            self._emit("refused", address=address, listener=name, reason=reason)

    def _load(self, chain: Chain) -> None:
        """Put the chain's current key and certificates into its live contexts.

        Handshakes from now on get them; connections that are open are not touched.
        """
        sent = self.authority.sent(chain)
        for context in self._contexts[chain.name]:
            context.load_cert_chain(self.authority.server_file(chain))
        self._loaded[chain.name] = sent

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.options.renewal_check_s)
            try:
                await self._renew()
            except Exception as error:  # noqa: BLE001 the next attempt may do better
                self._emit("warning", reason=f"certificates not renewed: {error}")

    async def _renew(self) -> None:
        try:
            await asyncio.to_thread(self.authority.ensure)
        finally:
            # Judged by the files: one chain may have been renewed before the other failed.
            for chain in CHAINS:
                if self.authority.sent(chain) != self._loaded[chain.name]:
                    self._load(chain)
                    expires = self._loaded[chain.name][0].not_valid_after_utc
                    self._emit("renewed", listener=chain.name, expires=f"{expires:%Y-%m-%d}")

    def _spawn(self, tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
        # The set keeps the task alive: the event loop itself holds it weakly.
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _answer_garbage(client: socket.socket) -> None:
    listeners.answer_garbage(client)


def _cannot_listen(host: str, port: int, option: str, error: OSError) -> UserError:
    where = f"{host} port {port}"
    reason = describe(error)
    return UserError(
        f"cannot listen on {where}: {reason}; stop the program that uses it, "
        f"or choose another with {option} (0: any free) or --bind"
    )


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
