"""Servers that do what a test says, for what a proper broker or clock never does."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.brokers import DEADLINE_S


@dataclass(frozen=True)
class SelfSigned:
    """A certificate for localhost that is its own anchor, and its key."""

    der: bytes
    pem: bytes
    key_pem: bytes


def self_signed(*more: x509.ExtensionType, common_name: str = "localhost") -> SelfSigned:
    """A new one, valid for a day. more: further extensions."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return SelfSigned(
        certificate.public_bytes(serialization.Encoding.DER),
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP listener whose connections are given to serve(), one after the other; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    stream, _ = server.accept()
                except OSError:
                    return
                stream.settimeout(DEADLINE_S)
                with stream, contextlib.suppress(OSError, EOFError):
                    serve(stream)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_S)


@contextlib.contextmanager
def tls_listening(
    folder: Path, serve: Callable[[socket.socket], None]
) -> Iterator[tuple[int, bytes]]:
    """As listening(), behind TLS: its port and its anchor (DER)."""
    identity = self_signed()
    chain = folder / "scripted.pem"
    chain.write_bytes(identity.key_pem + identity.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    def serve_tls(stream: socket.socket) -> None:
        with context.wrap_socket(stream, server_side=True) as secure:
            serve(secure)

    with listening(serve_tls) as port:
        yield port, identity.der


@contextlib.contextmanager
def clock_answering(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A UDP service that answers each datagram with answer(datagram); its "host:port"."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.1", 0))
        service.settimeout(0.1)
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    request, sender = service.recvfrom(256)
                    if reply := answer(request):
                        service.sendto(reply, sender)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{service.getsockname()[1]}"
        finally:
            stop.set()
            thread.join(DEADLINE_S)
