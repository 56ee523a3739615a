"""What the page's server lets through: hosts, sessions, origins, sizes, addresses of pictures."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from host_tools.watch.web.pulse import CLIENTS_MAX
from tests.brokers import DEADLINE_S, BrokerProcess, wait_for
from tests.watch.cameras import stamped
from tests.watch.conftest import Publisher, Watch, WatchProcess, write_settings
from tests.watch.page import Site
from tests.watch.test_terminal import on_a_terminal, read_until


@pytest.fixture(scope="module")
def process(
    shared_broker: BrokerProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchProcess]:
    """One watcher for all that only look at it."""
    config = write_settings(tmp_path_factory.mktemp("page") / "here", shared_broker.endpoint())
    process = WatchProcess(config, ("--web", "--web-port=0")).connected()
    yield process
    # Whatever was asked, and however a page went away.
    assert "Traceback" not in process.end().errors


@pytest.fixture(scope="module")
def site(process: WatchProcess) -> Site:
    return Site.of(process)


def test_every_answer_is_hardened(site: Site) -> None:
    for path in ("/", "/static/app.js", "/api/overview", "/metrics", "/nothing", "/images/a/1/1/x"):
        headers = site.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "192.0.2.1"])
def test_another_name_for_this_server_is_refused(site: Site, host: str) -> None:
    said = site.ask("/api/overview", Host=host)
    assert said.status in (400, 421)
    assert b"cameras" not in said.body


def test_localhost_by_every_name(site: Site) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:80", "[::1]:9", "127.8.8.8"):
        assert site.ask("/api/overview", Host=host).status == 200, host


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_gets(site: Site) -> None:
    said = site.ask("/api/session", {"token": site.token})
    words = said.headers["set-cookie"].lower()
    assert "httponly" in words
    assert "samesite=strict" in words
    assert site.token not in said.headers["set-cookie"]
    assert not site.ask("/api/overview").json["unlocked"]
    assert site.ask("/api/overview", Cookie=site.cookie()).json["unlocked"]
    name, _, value = site.cookie().partition("=")
    ends, _, signature = value.partition(".")
    for forged in (f"{int(ends) + 1}.{signature}", f"1.{signature}", "", ".", f"{ends}.", "é.é"):
        cookie = f"{name}={forged}".encode().decode("latin-1")
        assert not site.ask("/api/overview", Cookie=cookie).json["unlocked"], forged


@pytest.mark.parametrize("token", ["", "x", None, 5, ["a"], "é" * 20, "a" * 300])
def test_a_wrong_token(site: Site, token: object) -> None:
    said = site.ask("/api/session", {"token": token})
    assert said.status == 403
    assert "set-cookie" not in said.headers


COMMAND = "/api/cameras/cam1/commands"


def test_a_command_needs_the_session_and_this_very_page(site: Site) -> None:
    body, cookie = {"do": "reboot"}, site.cookie()
    assert site.ask(COMMAND, body).status == 401
    for origin in ("http://evil.example", "null", None, f"http://{site.host}.evil", "http://x@"):
        assert site.ask(COMMAND, body, Cookie=cookie, Origin=origin).status == 403, origin
    text = site.ask(COMMAND, body, Cookie=cookie, Content_Type="text/plain")
    assert text.status == 415
    assert site.ask(COMMAND, Cookie=cookie).status == 405  # GET
    for method in ("PUT", "DELETE", "TRACE"):
        assert site.ask(COMMAND, body, method=method, Cookie=cookie).status == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"do": "dance"}, 400),
        ({"do": ["reboot"]}, 400),
        ({"do": "interval"}, 400),
        ({"do": "interval", "value": "5"}, 400),
        ({"do": "interval", "value": True}, 400),
        ({"do": "health", "value": 5}, 400),
        ([], 400),
        (b"{", 400),
        (b"[" * 1000, 400),
        (b'{"do": "interval", "value": NaN}', 400),
        (b'{"do": "interval", "value": ' + b"9" * 900 + b"}", 400),
        (b'"' + b"a" * 2000 + b'"', 413),
    ],
)
def test_commands_that_are_none(site: Site, body: object, status: int) -> None:
    said = site.ask(COMMAND, body, Cookie=site.cookie())
    assert said.status == status, said
    assert "error" in said.json


def test_beside_a_loopback_address_nothing_is_shown_without_the_token(
    watch: Watch, config: Path, publisher: Publisher
) -> None:
    # 127.0.0.1, spelt so that it is not taken for a loopback address.
    process = watch(config, "--web", "--web-port=0", "--bind=127.1").connected()
    site = Site.of(process)
    publisher.send(stamped(publisher.camera, 1))
    process.wait_snapshots(publisher.camera, 1)
    assert site.ask("/").status == 200
    image = f"/images/{publisher.camera}/1/1/x.jpg"
    for path in ("/api/overview", "/api/events?after=0.0.0", "/metrics", image):
        assert site.ask(path).status == 401, path
    assert site.ask("/api/overview", Cookie=site.cookie()).status == 200
    # As Prometheus does it.
    bearer = site.ask("/metrics", Authorization=f"Bearer {site.token}")
    assert (bearer.status, b"anchorcam_online" in bearer.body) == (200, True)
    assert site.ask("/metrics", Authorization="Bearer wrong").status == 401
    ended = process.end()
    assert "not encrypted" in ended.errors
    assert stat.S_IMODE((process.data / "page.token").stat().st_mode) == 0o600


def test_a_picture_has_one_address_for_ever(
    process: WatchProcess, site: Site, publisher: Publisher
) -> None:
    camera, payload = publisher.camera, stamped(publisher.camera, 7)
    publisher.send(payload)
    process.wait_snapshots(camera, 1)
    cameras = site.ask("/api/overview").json["cameras"]
    found = next(each for each in cameras if each["name"] == camera)
    said = site.ask(found["last"]["image"])
    assert (said.status, said.body) == (200, payload)
    assert said.headers["content-type"] == "image/jpeg"
    assert "immutable" in said.headers["cache-control"]
    for other in ("/images/{}/1/8/{}", "/images/{}/2/7/{}", "/images/{}/1/7/0{}"):
        path = other.format(camera, found["last"]["image"].rpartition("/")[2])
        assert site.ask(path).status == 404, path
    for path in ("/images/..%2f..%2fsecrets.json/1/7/x", f"/images/{camera}/1/{2**70}/x"):
        assert site.ask(path).status == 404, path
    assert site.ask("/static/../gate.py").status == 404
    assert site.ask("/static/%2e%2e/gate.py").status == 404


@pytest.mark.parametrize("after", ["", "x", "1", "1.2", "1.2.3.4", "-1.0.0", "1.0.٣", "9" * 40])
def test_events_after_nonsense(site: Site, after: str) -> None:
    assert site.ask(f"/api/events?after={quote(after)}").status == 400


def test_the_number_of_pages_that_follow_is_bounded(site: Site) -> None:
    def follow() -> socket.socket:
        stream = socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE_S)
        request = f"GET /api/events?after=0.0.0 HTTP/1.1\r\nHost: {site.host}\r\n\r\n"
        stream.sendall(request.encode())
        return stream

    streams = [follow() for _ in range(CLIENTS_MAX)]
    try:
        for stream in streams:
            assert b"200 OK" in stream.recv(4096)
        refused = site.ask("/api/events?after=0.0.0")
        assert refused.status == 503
        assert "Too many" in refused.json["error"]
    finally:
        for stream in streams:
            stream.close()

    def admitted() -> bool:
        with follow() as stream:
            return b"200 OK" in stream.recv(4096)

    # Those that left give their places back, at the latest when they are next written to.
    wait_for(admitted, "a place", 2 * DEADLINE_S)


def test_a_cursor_of_another_ledger_asks_for_a_fresh_start(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE_S) as stream:
        request = f"GET /api/events?after=99.0.0 HTTP/1.1\r\nHost: {site.host}\r\n\r\n"
        stream.sendall(request.encode())
        text = b""
        while b"event: reload" not in text:
            piece = stream.recv(4096)
            assert piece, text
            text += piece


def test_heads_are_bounded(site: Site) -> None:
    said = site.ask("/api/overview", Cookie="a" * 100_000)
    assert said.status == 431
    assert site.ask(f"/images/cam1/1/{'9' * 9000}/x.jpg").status == 414
    assert site.ask(f"/api/cameras/cam1/history?boot=1&seq={'9' * 9000}").status == 414
    # What never ends is not read for ever.
    with socket.create_connection(("127.0.0.1", site.port), timeout=DEADLINE_S) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nCookie: " + b"a" * 1_000_000)
        assert b" 400 " in stream.recv(4096)


def test_a_person_gets_the_address_that_unlocks(config: Path) -> None:
    process, terminal = on_a_terminal(config, "--web", "--web-port=0")
    try:
        shown = read_until(terminal, lambda text: "its token is in" in text)
    finally:
        process.terminate()
        process.wait()
        os.close(terminal)
    token = (config.parent / "watch/page.token").read_text().strip()
    assert f"/#token={token}" in shown.replace("\r\n", "")


def test_bad_starts(watch: Watch, config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = watch(config, "--web", f"--web-port={port}").end(None)
    assert (ended.status, f"the page cannot be at 127.0.0.1:{port}" in ended.errors) == (2, True)
    ended = watch(config, "--bind=127.0.0.2").end(None)
    assert (ended.status, "are for --web; give it too" in ended.errors) == (2, True)
    short = tmp_path / "token"
    short.write_text("short")
    ended = watch(config, "--web", "--web-port=0", f"--token-file={short}").end(None)
    assert (ended.status, "16 to 256 characters" in ended.errors) == (2, True)


def test_a_token_of_ones_own(watch: Watch, config: Path, tmp_path: Path) -> None:
    own = tmp_path / "token"
    own.write_text("correct horse battery staple\n")
    site = Site.of(watch(config, "--web", "--web-port=0", f"--token-file={own}"))
    assert site.token == "correct horse battery staple"
    assert json.loads(site.ask("/api/session", {"token": site.token}).body) == {}
