"""`anchorcam anchor inspect`: against openssl, row by row, and what it says of each fault."""

import json
import os
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from broker.zoo.table import ROWS, Row
from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages
from tests.anchor.conftest import Desk
from tests.scripted import listening, self_signed

# One worker, one zoo.
pytestmark = pytest.mark.xdist_group("zoo")

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.S)


def inspect(desk: Desk, row: Row, *more: str) -> tuple[int, dict[str, Any]]:
    arguments = ("--json", "--roots", str(desk.roots), "--name", row.asked, *more)
    done = desk.anchor("inspect", desk.server(row.name), *arguments)
    assert done.err == ""
    return done.status, json.loads(done.out)


@pytest.fixture(scope="module")
def openssl() -> Path:
    """Debian's, as it is on nearly every machine."""
    found = shutil.which("openssl")
    if found:
        return Path(found)
    return fetch_packages(("openssl",), "bookworm", cache_folder("openssl")) / "usr/bin/openssl"


def shown_by(openssl: Path, port: int, name: str) -> list[str]:
    """What the user's document tells him to look at: the certificates that s_client shows."""
    done = subprocess.run(
        [
            *(str(openssl), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name),
            # Weak ones are in the zoo; in TLS 1.3 a server may choose another chain.
            *("-showcerts", "-tls1_2", "-cipher", "DEFAULT:@SECLEVEL=0", "-groups", "P-256:X25519"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LC_ALL": "C"},
    )
    chain = done.stdout.partition("Server certificate")[0]
    return _PEM.findall(chain)


def test_the_chain_is_the_one_that_openssl_shows(desk: Desk, openssl: Path) -> None:
    def compare(row: Row) -> tuple[str, list[str], list[str]]:
        _, ours = inspect(desk, row)
        theirs = shown_by(openssl, desk.port(row.name), row.asked)
        return row.name, [each["pem"] for each in ours["certificates"]], theirs

    with ThreadPoolExecutor(4) as pool:
        compared = list(pool.map(compare, ROWS))
    assert [name for name, ours, theirs in compared if ours != theirs] == []
    assert sum(len(ours) for _, ours, _ in compared) > 80


def test_the_camera_will_do_what_the_table_says(desk: Desk) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = dict(zip(ROWS, pool.map(lambda row: inspect(desk, row), ROWS), strict=True))
    for row, (status, found) in told.items():
        if row.name == "mutual-tls":
            # It asks for a certificate; whether it insists cannot be seen from outside.
            assert {each["camera"] for each in found["anchors"] if each["root"]} == {None}
            continue
        accepted = [each["sha256"] for each in found["anchors"] if each["camera"] == "accepted"]
        recommended = [each for each in found["anchors"] if each["recommended"]]
        if row.camera == "accepted":
            assert (status, len(recommended)) == (0, 1), row.name
            assert recommended[0]["sha256"] in accepted, row.name
        else:
            assert status == 1, row.name


def said_of(desk: Desk, row: str, *more: str) -> tuple[int, str]:
    done = desk.anchor("inspect", desk.server(row), "--roots", str(desk.roots), *more)
    assert done.err == ""
    return done.status, done.out


def test_a_good_chain_as_a_person_sees_it(desk: Desk) -> None:
    status, out = said_of(desk, "ecdsa")
    assert status == 0
    for words in (
        "0  subject   (none)",
        "   issuer    O=anchorcam test, not for use, CN=(TEST) YE1",
        "   names     localhost, 127.0.0.1",
        "   key       P-256",
        "days left",
        "sent         4 certificates, ",
        "bytes of the 16,384 that a camera has room for",
        "➔ localhost <- (TEST) YE1 <- (TEST) Root YE <- (TEST) Root X2 <- (TEST) Root X1  (your",
        "➔ localhost <- (TEST) YE1 <- (TEST) Root YE  (your own",
        "anchor       (TEST) Root X1, RSA 4096",
        "a camera     with (TEST) Root X1 accepts it until ",
        "never learns of a revocation",
    ):
        assert words in out, out


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("tls-1.3", "it speaks TLS 1.3 only, and a camera speaks TLS 1.2 only"),
        ("x25519", "it exchanges keys by X25519 only"),
        ("ed25519", "its key is Ed25519, which mbedTLS does not have"),
        ("garbage", "no TLS there"),
        ("large-chain", "a camera has room for 16,384: it must send fewer"),
        ("shuffled", "wrong order, and mbedTLS does not sort: send 0, 2, 1, 3"),
        ("intermediate-missing", "an intermediate is missing"),
        ("unknown-root", "no CA has published|neither sent nor published"),
        ("self-signed", "the certificate is its own root"),
        ("expired", "certificate 0 (localhost) expired on"),
        ("not-yet-valid", "is not valid before"),
        ("intermediate-expired", "certificate 1 ((TEST) E8) expired on"),
        ("wrong-name", "refuses it: name_mismatch, the certificate is not for localhost"),
        ("sha-1", "signed with an old digest"),
        ("rsa-1024", "RSA with 1024 bits"),
        ("client-usage", "extended key usage is not for servers"),
        ("critical-constraint", "does not know its critical extension nameConstraints"),
        ("path-too-long", "more than 8 intermediates"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, row: str, words: str) -> None:
    status, out = said_of(desk, row)
    assert status == 1
    assert any(each in out for each in words.split("|")), out


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("root-sent", "certificate 2 ((TEST) Root X1) is a root: a server need not send it"),
        ("surplus-cross-sign", "certificate 2 ((TEST) Root X1) is surplus"),
        ("expired-twin", "certificate 1 ((TEST) E7) expired on"),
        ("constraint", "limits the names it may be used for, which mbedTLS does not check"),
        ("common-name", "mbedTLS takes its common name, OpenSSL refuses it"),
        ("ecdsa", "accepts it with an intermediate as anchor too ((TEST) YE1, "),
    ],
)
def test_what_a_camera_does_not_mind_is_said_too(desk: Desk, row: str, words: str) -> None:
    status, out = said_of(desk, row)
    assert (status, words in out) == (0, True), out


def test_without_the_ca_of_ones_own_no_root_is_invented(desk: Desk) -> None:
    done = desk.anchor("inspect", desk.server("ecdsa"))
    assert done.status == 1
    assert "the certificate of (TEST) Root X1" in done.out
    assert "give its file with --roots" in done.out
    assert "anchor       " not in done.out


def test_what_expires_soon(desk: Desk) -> None:
    status, out = said_of(desk, "ecdsa", "--warn-days", "3650")
    assert status == 0
    assert "! certificate 0 (localhost) expires in" in out


def test_another_issuer_than_expected_is_a_portal(desk: Desk) -> None:
    assert said_of(desk, "ecdsa", "--issuer", "(test) ye1")[0] == 0
    status, out = said_of(desk, "other-ca", "--issuer", "(TEST) YE1")
    assert status == 1
    assert "is no issuer here: another server, a proxy or a captive portal answers" in out


def test_a_file_instead_of_a_server(desk: Desk) -> None:
    _, found = inspect(desk, next(row for row in ROWS if row.name == "ecdsa"))
    chain = desk.folder / "chain.pem"
    chain.write_text("".join(each["pem"] for each in found["certificates"]))
    done = desk.anchor("inspect", str(chain), "--roots", str(desk.roots), "--json")
    told = json.loads(done.out)
    assert done.status == 0
    assert told["certificates"] == found["certificates"]
    assert told["message_bytes"] == found["message_bytes"]
    assert [each["camera"] for each in told["anchors"]] == [
        each["camera"] for each in found["anchors"]
    ]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("mqtts://localhost:8883", "there is no such file"),
        ("localhost:0", "there is no port 0"),
        ("localhost:http", "names no server"),
        ("bücher.example", "names no server"),
        ("a b", "names no server"),
        ("x\x1b[31m.example", "names no server"),
        ("", "names no server"),
        ("nothing.pem", "there is no such file"),
    ],
)
def test_odd_names_are_refused(desk: Desk, server: str, words: str) -> None:
    done = desk.anchor("inspect", "--", server)
    assert (done.status, done.out) == (2, "")
    assert words in done.err
    assert "\x1b" not in done.err


def test_nothing_listens(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = desk.anchor("inspect", f"localhost:{port}")
    assert (done.status, done.out) == (3, "")
    assert f"127.0.0.1 port {port} cannot be reached: Connection refused" in done.err


def _close(stream: socket.socket) -> None:
    stream.recv(1)


def _stall(stream: socket.socket) -> None:
    while stream.recv(4096):
        pass


def _ten_megabytes(stream: socket.socket) -> None:
    stream.recv(4096)
    # Handshake records full of a certificate message that has no end.
    record = b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" + bytes(16380)
    for _ in range(640):
        stream.sendall(record)


def _too_long(stream: socket.socket) -> None:
    stream.recv(4096)
    # One ServerHello of just as much as is read at most, which the records' heads go beyond.
    data = b"\x02\x04\x00\x00" + bytes(1 << 18)
    for at in range(0, len(data), 16384):
        piece = data[at : at + 16384]
        stream.sendall(b"\x16\x03\x03" + len(piece).to_bytes(2, "big") + piece)


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (_close, "it closed the connection"),
        (_stall, "no answer within 0.5 s"),
        (_ten_megabytes, "bytes"),
        (_too_long, "it sends more than 256 KiB before it is done"),
    ],
)
def test_a_hostile_server_is_bounded(desk: Desk, serve: Any, words: str) -> None:
    with listening(serve) as port:
        done = desk.anchor("inspect", f"localhost:{port}", "--timeout", "0.5")
    assert done.status == 1
    assert words in done.out


def test_a_name_that_commands_terminals(desk: Desk) -> None:
    file = desk.folder / "hostile.der"
    file.write_bytes(self_signed(common_name="\x1b[2Jevil\x07").der)
    done = desk.anchor("inspect", str(file))
    assert "?[2Jevil?" in done.out
    assert "\x1b" not in done.out
