"""`anchorcam anchor fetch`: a root from anywhere but the server, or nothing at all."""

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from host_tools.anchor import files
from host_tools.anchor.published import Published
from tests.anchor.conftest import Desk
from tests.anchor.truth import load
from tests.scripted import self_signed

pytestmark = pytest.mark.xdist_group("zoo")

X1 = "96bcec06264976f37460779acf28c5a7cfe8a3c0aae11a8ffcee05c0bddf08c6"


@contextlib.contextmanager
def web(pages: Mapping[str, bytes]) -> Iterator[str]:
    """A web server with these pages; its address, with "/" at the end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path[1:])
            self.send_response(200 if page is not None else 404)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(page or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def colons(digest: str) -> str:
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)).upper()


class TestOfAServer:
    def test_the_root_that_anchors_it(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("ecdsa"), "--roots", str(desk.roots))
        assert (done.status, done.err) == (0, "")
        der = (desk.folder / "anchors/test-root-x1.der").read_bytes()
        assert der == (desk.roots / "test-root-x1.der").read_bytes()
        assert colons(hashlib.sha256(der).hexdigest()) in done.out
        assert "mbedTLS      loads it, and accepts localhost port" in done.out
        assert '"anchors": ["test-root-x1.der"]' in done.out
        assert desk.written() == ["test-root-x1.der"]

    def test_the_root_of_the_shortest_chain(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("rsa-yr"), "--roots", str(desk.roots))
        assert (done.status, desk.written()) == (0, ["test-root-yr.der"])

    @pytest.mark.parametrize(
        "row", ["ecdsa", "unknown-root", "self-signed", "intermediate-missing", "garbage"]
    )
    def test_what_the_server_sent_is_never_an_anchor(self, desk: Desk, row: str) -> None:
        done = desk.anchor("fetch", desk.server(row))
        assert done.status == 1
        assert "no published root anchors localhost" in done.err
        assert desk.written() == []

    def test_the_right_root_of_a_server_that_is_wrong(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("expired"), "--roots", str(desk.roots))
        assert done.status == 1
        assert "and refuses localhost port" in done.out
        assert "expired, The certificate validity has expired" in done.out
        assert desk.written() == ["test-root-x1.der"]

    def test_the_intermediate_with_what_it_costs(self, desk: Desk) -> None:
        server, roots = desk.server("ecdsa"), str(desk.roots)
        done = desk.anchor("fetch", server, "--intermediate", "--roots", roots)
        assert done.status == 0
        assert "trade-off" in done.out
        assert "locked out" in done.out
        assert "proof        signed: localhost <- (TEST) YE1" in done.out
        assert desk.written() == ["test-ye1.der"]

    def test_an_intermediate_that_no_root_proves(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("unknown-root"), "--intermediate")
        assert (done.status, desk.written()) == (1, [])
        assert "nothing proves it" in done.err

    def test_a_self_signed_server_is_its_own_anchor(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("self-signed"), "--pin")
        assert done.status == 0
        assert "compare its SHA-256 on the server before you trust it" in done.out
        assert "accepts localhost port" in done.out
        assert desk.written() == ["localhost.der"]

    def test_a_leaf_of_a_ca_is_no_anchor_to_mbedtls(self, desk: Desk) -> None:
        done = desk.anchor("fetch", desk.server("ecdsa"), "--pin", "--roots", str(desk.roots))
        assert (done.status, desk.written()) == (1, [])
        assert "mbedTLS takes no such certificate as an anchor" in done.err
        assert "anchorcam anchor pin" in done.err


class TestOfAName:
    @pytest.mark.parametrize("name", ["ISRG Root X1", "isrgrootx1", "isrg-root-x1"])
    def test_the_document_s_root(self, desk: Desk, name: str) -> None:
        done = desk.anchor("fetch", name)
        assert (done.status, done.err) == (0, "")
        der = (desk.folder / "anchors/isrg-root-x1.der").read_bytes()
        assert hashlib.sha256(der).hexdigest() == X1
        assert "from         Mozilla's CA program (certifi " in done.out

    def test_another_fingerprint_than_expected(self, desk: Desk) -> None:
        done = desk.anchor("fetch", "isrgrootx1", "--sha256", "00" * 32)
        assert (done.status, desk.written()) == (1, [])
        assert f"it has {X1}" in done.err

    def test_a_name_that_is_none(self, desk: Desk) -> None:
        done = desk.anchor("fetch", "Amazon Root CA")
        assert (done.status, desk.written()) == (2, [])
        assert "like it: Amazon Root CA 1, Amazon Root CA 2" in done.err

    def test_all_of_the_catalogue_can_be_fetched_or_says_where_it_is(self) -> None:
        """Each fingerprint of the catalogue is Mozilla's, or has the address of its CA."""
        known = {root.sha256: root for root in Published().roots}
        mozilla = files.read(Path(certifi.where()))
        digests = {hashlib.sha256(c.public_bytes(Encoding.DER)).hexdigest() for c in mozilla}
        others = [root for digest, root in known.items() if digest not in digests]
        assert sorted(root.name for root in others) == ["ISRG Root YE", "ISRG Root YR"]
        assert all(root.url.startswith("https://letsencrypt.org/certs/") for root in others)


class TestOfAnAddress:
    def test_with_the_fingerprint_that_its_ca_publishes(self, desk: Desk) -> None:
        pem = x509.load_der_x509_certificate(
            (desk.roots / "test-root-x2.der").read_bytes()
        ).public_bytes(Encoding.PEM)
        digest = hashlib.sha256((desk.roots / "test-root-x2.der").read_bytes()).hexdigest()
        with web({"root.pem": pem}) as address:
            done = desk.anchor("fetch", f"{address}root.pem", "--sha256", colons(digest))
        assert done.status == 0
        assert "its SHA-256 is the one that you gave" in done.out
        assert desk.written() == ["test-root-x2.der"]

    def test_one_that_was_exchanged_on_the_way(self, desk: Desk) -> None:
        with web({"root.der": (desk.roots / "test-root-x2.der").read_bytes()}) as address:
            done = desk.anchor("fetch", f"{address}root.der", "--sha256", X1)
        assert (done.status, desk.written()) == (1, [])
        assert "exchanged on the way" in done.err

    def test_one_that_is_published_needs_no_fingerprint(self, desk: Desk) -> None:
        mozilla = files.read(Path(certifi.where()))
        x1 = next(c for c in mozilla if "ISRG Root X1" in c.subject.rfc4514_string())
        with web({"x1": x1.public_bytes(Encoding.DER)}) as address:
            done = desk.anchor("fetch", f"{address}x1")
        assert (done.status, desk.written()) == (0, ["isrg-root-x1.der"])

    def test_what_is_no_root_or_not_there(self, desk: Desk) -> None:
        pages = {"page": b"<html>Log in to the hotel</html>", "big": bytes(10 << 20), "empty": b""}
        with web(pages) as address:
            for page, status, words in (
                ("page", 2, "it is no certificate"),
                ("big", 2, "larger than 1 MiB"),
                ("empty", 2, "it is empty"),
                ("none", 3, "cannot be downloaded: "),
            ):
                done = desk.anchor("fetch", f"{address}{page}")
                assert (done.status, words in done.err) == (status, True), done.err
        assert desk.written() == []


class TestOfAFile:
    def test_nothing_proves_it(self, desk: Desk) -> None:
        done = desk.anchor("fetch", str(desk.roots / "test-root-ye.der"))
        assert (done.status, desk.written()) == (1, [])
        assert "nothing proves it" in done.err
        assert "--cross-sign" in done.err

    def test_a_cross_sign_proves_it(self, desk: Desk) -> None:
        """As Root YE, which is in no store yet, is proven by Root X2's cross-sign of it."""
        done = desk.anchor(
            *("fetch", str(desk.roots / "test-root-ye.der")),
            *("--cross-sign", desk.server("ecdsa")),
            *("--roots", str(desk.roots / "test-root-x1.der")),
        )
        assert done.status == 0, done.err
        assert (
            "proof        proven: it has the name and the key of a certificate that (TEST) Root X2"
            " has signed ((TEST) Root YE <- (TEST) Root X2 <- (TEST) Root X1"
        ) in done.out
        assert desk.written() == ["test-root-ye.der"]

    @pytest.mark.parametrize("row", ["rsa", "ecdsa-2025", "unknown-root"])
    def test_another_s_cross_sign_does_not(self, desk: Desk, row: str) -> None:
        done = desk.anchor(
            *("fetch", str(desk.roots / "test-root-ye.der"), "--cross-sign", desk.server(row)),
            *("--roots", str(desk.roots / "test-root-x1.der")),
        )
        assert (done.status, desk.written()) == (1, [])

    def test_nor_does_one_with_the_same_name_and_another_key(
        self, desk: Desk, zoo_data: object
    ) -> None:
        """The impostor has E7's name, and a key of its own."""
        impostor = load(desk.roots.parent, "e7-impostor").public_bytes(Encoding.PEM)
        right = load(desk.roots.parent, "e7").public_bytes(Encoding.PEM)
        file = desk.folder / "both.pem"
        file.write_bytes(impostor + right)
        done = desk.anchor("fetch", str(file), "--roots", str(desk.roots / "test-root-x1.der"))
        assert (done.status, desk.written()) == (2, [])
        assert "0 roots among its 2 certificates" in done.err

    def test_another_file_is_not_overwritten(self, desk: Desk) -> None:
        (desk.folder / "anchors").mkdir()
        mine = desk.folder / "anchors/isrg-root-x1.der"
        mine.write_bytes(b"mine")
        done = desk.anchor("fetch", "isrgrootx1")
        assert (done.status, mine.read_bytes()) == (2, b"mine")
        assert "--force" in done.err
        assert desk.anchor("fetch", "isrgrootx1", "--force").status == 0
        assert hashlib.sha256(mine.read_bytes()).hexdigest() == X1

    def test_bad_files(self, desk: Desk) -> None:
        identity = self_signed()
        key = desk.folder / "key.pem"
        key.write_bytes(identity.key_pem)
        both = desk.folder / "both.pem"
        both.write_bytes(identity.pem + identity.key_pem)
        der = desk.folder / "key.der"
        der.write_bytes(_der_of(identity.key_pem))
        secret = identity.key_pem.splitlines()[1].decode()
        garbage = desk.folder / "garbage.der"
        garbage.write_bytes(bytes(range(256)) * 8)
        empty = desk.folder / "empty.der"
        empty.touch()
        huge = desk.folder / "huge.pem"
        huge.write_bytes(bytes(5 << 20))
        for file, words in (
            (key, "it is a private key"),
            (both, "it is a private key"),
            (der, "it is a private key"),
            (garbage, "it is no certificate"),
            (empty, "it is empty"),
            (huge, "it is larger than 4 MiB"),
        ):
            for verb in ("fetch", "show", "inspect"):
                done = desk.anchor(verb, str(file))
                assert (done.status, words in done.err) == (2, True), (file, verb, done)
                assert secret not in done.out + done.err
        assert desk.written() == []


def _der_of(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


class TestLists:
    def test_what_is_in_the_folder(self, desk: Desk) -> None:
        desk.anchor("fetch", "isrgrootx1")
        (desk.folder / "anchors/broken.der").write_bytes(b"broken")
        done = desk.anchor("list")
        assert done.status == 1
        head, broken, x1 = done.out.splitlines()
        assert head.split() == [
            "file",
            "certificate",
            "key",
            "valid",
            "until",
            "days",
            "SHA-256",
            "published",
            "in",
        ]
        assert "broken.der cannot be used: it is no certificate" in broken
        assert x1.split()[:6] == ["isrg-root-x1.der", "ISRG", "Root", "X1", "RSA", "4096"]
        assert X1[:16] in x1

    def test_a_published_root(self, desk: Desk) -> None:
        desk.anchor("fetch", "isrgrootx1")
        done = desk.anchor("show", "anchors/isrg-root-x1.der")
        assert done.status == 0
        assert f"SHA-256      {X1}" in done.out
        assert "published    ISRG Root X1, Mozilla's CA program" in done.out
        assert "mbedTLS      loads it" in done.out

    def test_several_certificates_in_one_file(self, desk: Desk) -> None:
        file = desk.folder / "two.pem"
        file.write_bytes(self_signed().pem * 2)
        done = desk.anchor("show", str(file))
        assert done.status == 2
        assert "holds 2 certificates, and a camera would take the first" in done.err

    def test_no_anchor_at_all(self, desk: Desk) -> None:
        (desk.folder / "anchors").mkdir()
        done = desk.anchor("list")
        assert done.status == 1
        assert "`anchorcam anchor fetch` gets one" in done.err

    def test_the_pins_of_a_leaf(self, desk: Desk) -> None:
        done = desk.anchor("pin", desk.server("ecdsa"))
        leaf = load(desk.roots.parent, "ecdsa")
        assert done.status == 0
        assert f"certificate  {hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest()}" in (
            done.out
        )
        assert '"pin_sha256": ["' in done.out
