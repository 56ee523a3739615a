"""Hostile servers and hostile files: a finding or one line of error, in bounded time and work."""

import random
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from broker.errors import UserError
from host_tools.anchor import files, hello, inspection, mbedtls, prediction
from host_tools.anchor.command import app
from host_tools.anchor.mbedtls import Question
from host_tools.anchor.paths import find
from host_tools.anchor.published import Published
from host_tools.virtual_camera.micropython import MicroPython
from tests.anchor.forging import Extension, Forge, Recipe, der, distinguished, pem
from tests.anchor.test_fetch import web
from tests.cameras import LIMITS
from tests.scripted import listening, self_signed

_SERVER_HELLO = b"\x03\x03" + bytes(32) + b"\0\xc0\x2b\0"
_NAME = distinguished([("2.5.4.3", 0x0C, b"localhost")])
_FOR_LOCALHOST: Extension = ("2.5.29.17", False, der(0x30, der(0x82, b"localhost")))
_AUTHORITY: Extension = ("2.5.29.19", True, b"\x30\x03\x01\x01\xff")


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def record(body: bytes, kind: int = 22) -> bytes:
    return bytes([kind]) + b"\x03\x03" + len(body).to_bytes(2, "big") + body


def certificates(*ders: bytes, said: int | None = None) -> bytes:
    body = b"".join(len(each).to_bytes(3, "big") + each for each in ders)
    return message(11, (len(body) if said is None else said).to_bytes(3, "big") + body)


def look(data: bytes, limit_s: float = 5, pause_s: float = 0) -> hello.Sent:
    """What hello makes of a server that answers so, all at once or byte by byte."""

    def serve(stream: socket.socket) -> None:
        stream.recv(4096)
        for at in range(len(data)) if pause_s else ():
            stream.sendall(data[at : at + 1])
            time.sleep(pause_s)
        stream.sendall(b"" if pause_s else data)
        stream.shutdown(socket.SHUT_WR)
        stream.recv(1)

    with listening(serve) as port:
        return hello.look("127.0.0.1", port, "localhost", limit_s)


class TestAServer:
    ONE = Forge(datetime.now(UTC)).make(Recipe(_NAME, _NAME, "P-256", ""))

    def test_what_a_proper_one_sends(self) -> None:
        parts = (message(2, _SERVER_HELLO), certificates(self.ONE), message(12, b""))
        for done in (message(14, b""), message(13, b"") + message(14, b"")):
            sent = look(record(b"".join(parts) + done))
            assert (sent.code, sent.certificates) == ("", (self.ONE,))
        assert sent.asks_client

    @pytest.mark.parametrize(
        ("messages", "why"),
        [
            (certificates(ONE), "message 11 out of turn"),
            (message(2, _SERVER_HELLO) * 2, "message 2 out of turn"),
            (message(2, _SERVER_HELLO) + certificates(ONE) * 2, "message 11 out of turn"),
            (message(2, _SERVER_HELLO) + message(14, b""), "message 14 out of turn"),
            (message(2, b"\x03\x03"), "a cipher suite that was not offered"),
            (message(2, _SERVER_HELLO[:34]), "a cipher suite that was not offered"),
            (message(2, b"\x03\x03" + bytes(32) + b"\xff"), "a cipher suite that was not offered"),
            (message(2, b"\x03\x02" + bytes(36)), "it does not speak TLS 1.2"),
            (message(2, b""), "it does not speak TLS 1.2"),
            (message(2, _SERVER_HELLO) + message(11, b""), "list of certificates is damaged"),
            (message(2, _SERVER_HELLO) + certificates(b""), "list of certificates is damaged"),
            (message(2, _SERVER_HELLO) + certificates(ONE, said=3), "certificates is damaged"),
            (message(2, _SERVER_HELLO) + certificates(ONE, said=1 << 20), "is damaged"),
            (
                message(2, _SERVER_HELLO) + message(11, b"\0\0\6\0\xff\xff" + b"x" * 3),
                "certificates is damaged",
            ),
            (b"\x0b\xff\xff\xff", "a handshake message of 16777215 bytes"),
        ],
    )
    def test_what_mbedtls_would_not_take_either(self, messages: bytes, why: str) -> None:
        sent = look(record(messages))
        assert (sent.code, sent.certificates) == ("tls", ())
        assert why in sent.why

    def test_no_certificate_at_all(self) -> None:
        sent = look(record(message(2, _SERVER_HELLO) + certificates() + message(14, b"")))
        found = prediction.predict(sent, files.load(self.ONE), "localhost", datetime.now(UTC))
        assert (found.code, found.why) == ("tls", "it sends no certificate")

    def test_the_limit_is_of_all_of_it(self) -> None:
        """A byte now and then keeps nobody waiting for longer."""
        started = time.monotonic()
        sent = look(record(message(2, _SERVER_HELLO)), limit_s=0.6, pause_s=0.05)
        assert sent.code == "timeout"
        assert time.monotonic() - started < 3

    def test_random_answers(self) -> None:
        choose = random.Random(1)
        good = message(2, _SERVER_HELLO) + certificates(self.ONE) + message(14, b"")
        for _ in range(300):
            data = bytearray(record(good))
            for _ in range(choose.randrange(1, 4)):
                data[choose.randrange(min(len(data), 70))] = choose.randrange(256)
            sent = look(bytes(data[: choose.randrange(len(data) + 1)]))
            assert sent.code in ("", "tls", "broker_closed"), data.hex()

    def test_a_warning_is_no_refusal(self, runtime: MicroPython, tmp_path: Path) -> None:
        """Of a name that a server does not know some warn, and go on; so does mbedTLS."""
        forge = Forge(datetime.now(UTC))
        recipe = Recipe(_NAME, _NAME, "P-256", "", extensions=(_FOR_LOCALHOST,))
        root = forge.make(recipe)
        with warning(pem(forge.key("P-256"), [root]), tmp_path) as port:
            sent = hello.look("127.0.0.1", port, "localhost", 5)
            [answer] = mbedtls.ask(
                runtime, [Question(root, "localhost", "127.0.0.1", port)], LIMITS
            )
        said = prediction.predict(sent, files.load(root), "localhost", datetime.now(UTC))
        assert (said.code, answer.code) == ("accepted", "accepted")


@contextmanager
def warning(identity: bytes, folder: Path) -> Iterator[int]:
    """A TLS 1.2 server that begins with the warning unrecognized_name; its port."""
    (folder / "server.pem").write_bytes(identity)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(folder / "server.pem")

    def serve(stream: socket.socket) -> None:
        # The client has spoken.
        stream.recv(1, socket.MSG_PEEK)
        stream.sendall(record(b"\x01\x70", 21))
        with context.wrap_socket(stream.dup(), server_side=True) as wrapped:
            wrapped.recv(16)

    with listening(serve) as port:
        yield port


def run(*arguments: str) -> Result:
    """`anchorcam anchor ...` in this process, for there are many; as a user sees it."""
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit | UserError), arguments
    text = done.output + str(done.exception or "")
    assert all(char.isprintable() or char == "\n" for char in text), arguments
    return done


class TestAFile:
    @pytest.mark.parametrize(
        "text",
        [
            b"\x1b[31mred\x1b[0m\x07",
            b"[red]x[/red][link=http://e.test]",
            b":cd: :smile:",
            "\u202egnp.exe\u200b".encode(),
            b"a\nb\rc\td",
            b"",
            b"x" * 5000,
            b"\xff\xfe\xc0",
        ],
    )
    def test_names_that_command_terminals(self, text: bytes, tmp_path: Path) -> None:
        forge, folder = Forge(datetime.now(UTC)), tmp_path / "anchors"
        folder.mkdir()
        for tag in (0x0C, 0x13, 0x14, 0x16, 0x1E, 0x03):
            name = distinguished([("2.5.4.3", tag, text)])
            alternative: Extension = ("2.5.29.17", False, der(0x30, der(0x82, text)))
            (folder / f"{tag}.der").write_bytes(
                forge.make(Recipe(name, name, "P-256", "", extensions=(alternative,)))
            )
        run("list", str(folder))
        for file in folder.iterdir():
            for verb in ("inspect", "pin", "fetch"):
                run(verb, str(file))
        plain = distinguished([("2.5.4.3", 0x0C, text)])
        (folder / "plain.der").write_bytes(forge.make(Recipe(plain, plain, "P-256", "")))
        shown = run("show", str(folder / "plain.der"))
        if text.startswith((b"[", b":")):
            # What Rich would make something else of stands there as it is.
            assert text.decode() in shown.output

    @pytest.mark.parametrize(
        ("why", "changes"),
        [
            ("before 1950", {"days": (-40000, -38000)}),
            ("after 2100", {"days": (0, 2_900_000)}),
            ("a negative serial number", {"serial": -(1 << 200)}),
            ("no serial number", {"serial": 0}),
            ("version 2", {"version": 2}),
            ("a key that nobody has", {"key": "Ed25519"}),
            ("the same twice", {"extensions": (_FOR_LOCALHOST,) * 2}),
            ("a damaged one", {"extensions": (("2.5.29.17", False, b"\x30\x80"),)}),
            (
                "names of a kind that nobody uses",
                {"extensions": (("2.5.29.17", False, der(0x30, der(0xA5, b"x"))),)},
            ),
            (
                "20,000 names",
                {
                    "extensions": (
                        ("2.5.29.17", False, der(0x30, *[der(0x82, b"host.example")] * 20000)),
                    )
                },
            ),
        ],
    )
    def test_odd_certificates(self, why: str, changes: dict[str, object], tmp_path: Path) -> None:
        made = Recipe(_NAME, _NAME, **{"key": "P-256", "issuer_key": "", **changes})  # type: ignore[arg-type]
        (tmp_path / "odd.der").write_bytes(Forge(datetime.now(UTC)).make(made))
        run("list", str(tmp_path))
        for verb in ("inspect", "pin", "show", "fetch"):
            run(verb, str(tmp_path / "odd.der"))

    def test_sixty_certificates_with_one_name_and_key(self) -> None:
        """Each could be signed by each: no search without a limit."""
        forge = Forge(datetime.now(UTC))
        ders = [
            forge.make(Recipe(_NAME, _NAME, "P-256", "", serial=n, extensions=(_AUTHORITY,)))
            for n in range(1, 61)
        ]
        chain = [files.load(each) for each in ders]
        assert find(chain, Published()) == []
        found = inspection.inspect(
            "x", "localhost", inspection.sent_by(chain), Published(), datetime.now(UTC), 21
        )
        assert len(found.chain) == inspection.LOOKED_AT_MOST
        assert any("only the first 32 are looked at" in each.text for each in found.findings)


class TestAnAddress:
    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (b"HTTP/1.1 302 x\r\nLocation: file:///etc/passwd\r\n\r\n", "is not allowed"),
            (b"HTTP/1.1 302 x\r\nLocation: ftp://127.0.0.1/x\r\n\r\n", "what is no web page"),
            (b"HTTP/1.1 404 \x1b[31mred\r\n\r\n", "cannot be downloaded"),
            (b"\x1b[31mno HTTP\r\n\r\n", "cannot be downloaded"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", "cannot be"),
            (b"", "cannot be downloaded"),
        ],
    )
    def test_what_is_no_certificate_on_the_web(self, answer: bytes, why: str) -> None:
        def serve(stream: socket.socket) -> None:
            stream.recv(4096)
            stream.sendall(answer)

        with listening(serve) as port:
            done = run("fetch", f"http://127.0.0.1:{port}/root.der")
        assert isinstance(done.exception, UserError)
        assert why in str(done.exception)

    def test_a_byte_now_and_then(self) -> None:
        def serve(stream: socket.socket) -> None:
            stream.recv(4096)
            stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                stream.sendall(b"x")
                time.sleep(0.05)

        with listening(serve) as port:
            started = time.monotonic()
            done = run("fetch", f"http://127.0.0.1:{port}/root.der", "--timeout", "0.5")
            assert time.monotonic() - started < 10
        assert "it did not come within 0.5 s" in str(done.exception)

    def test_an_address_with_what_does_not_belong_there(self) -> None:
        with web({"x": self_signed().der}) as address:
            done = run("fetch", f"{address}x y\x7f")
        assert isinstance(done.exception, UserError)
