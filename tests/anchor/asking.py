"""Real mbedTLS and the host's prediction, asked about the same servers."""

import contextlib
import selectors
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from host_tools.anchor import files, hello, mbedtls, prediction
from host_tools.anchor.mbedtls import Answer, Question
from host_tools.anchor.prediction import Prediction
from host_tools.virtual_camera.micropython import MicroPython
from tests.anchor.random_chains import Case
from tests.brokers import DEADLINE_S
from tests.cameras import LIMITS


@dataclass(frozen=True)
class Compared:
    """One case with one anchor at one time: what mbedTLS says, and what was predicted."""

    case: Case
    anchor: bytes
    days: int
    answer: Answer
    said: Prediction

    def is_wrong(self) -> bool:
        """Something was predicted, and it is not what mbedTLS says, or not of its path."""
        if not self.said.code:
            return False
        if self.said.code == self.answer.code != mbedtls.ACCEPTED:
            return False
        ends = [int(each.not_valid_after_utc.timestamp()) for each in self.said.path]
        return self.said.code != self.answer.code or ends != list(self.answer.ends)


@contextlib.contextmanager
def serving(cases: Sequence[Case]) -> Iterator[list[int]]:
    """A TLS 1.2 server for each case; their ports, 0 where OpenSSL would not send that."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        waiting = stack.enter_context(selectors.DefaultSelector())
        pool = stack.enter_context(ThreadPoolExecutor(8))
        ports = []
        for at, case in enumerate(cases):
            context = _context(case, Path(folder) / f"{at}.pem")
            if context is None:
                ports.append(0)
                continue
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            waiting.register(server, selectors.EVENT_READ, context)
            ports.append(server.getsockname()[1])
        mine, its = socket.socketpair()
        waiting.register(its, selectors.EVENT_READ)

        def run() -> None:
            while True:
                for key, _ in waiting.select():
                    if key.fileobj is its:
                        return
                    assert isinstance(key.fileobj, socket.socket)
                    pool.submit(_shake, key.fileobj.accept()[0], key.data)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield ports
        finally:
            mine.close()
            thread.join(DEADLINE_S)
            its.close()


def _context(case: Case, file: Path) -> ssl.SSLContext | None:
    file.write_bytes(case.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{case.suites}:@SECLEVEL=0")
    try:
        context.load_cert_chain(file)
    except ssl.SSLError:
        return None
    return context


def _shake(connection: socket.socket, context: ssl.SSLContext) -> None:
    connection.settimeout(DEADLINE_S)
    with contextlib.suppress(OSError), connection:
        stream = context.wrap_socket(connection, server_side=True)
        with stream:
            while stream.recv(64):
                pass


def compare(
    runtime: MicroPython, cases: Sequence[Case], clocks: Sequence[int], now: datetime
) -> list[Compared]:
    """Every case with every anchor, at clocks[n] days from now for the n-th of all."""
    compared = []
    with serving(cases) as ports:
        sent = [
            hello.look("127.0.0.1", port, case.name, DEADLINE_S) if port else None
            for case, port in zip(cases, ports, strict=True)
        ]
        jobs = [
            (index, anchor)
            for index, case in enumerate(cases)
            if ports[index]
            for anchor in dict.fromkeys(case.anchors)
        ]
        for place, days in enumerate(clocks):
            these = jobs[place :: len(clocks)]
            at = now + timedelta(days=days)
            questions = [
                Question(anchor, cases[index].name, "127.0.0.1", ports[index])
                for index, anchor in these
            ]
            told = mbedtls.ask(runtime, questions, LIMITS, at) if questions else []
            for (index, anchor), answer in zip(these, told, strict=True):
                case, shown = cases[index], sent[index]
                assert shown is not None
                try:
                    said = prediction.predict(shown, files.load(anchor), case.name, at)
                except ValueError:
                    # No user gets so far with this anchor.
                    said = Prediction("", "the anchor cannot be read here")
                compared.append(Compared(case, anchor, days, answer, said))
    return compared
