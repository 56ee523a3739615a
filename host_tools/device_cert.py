"""`anchorcam device-cert`: a key and a certificate of its own for one camera."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from broker.authority import Authority
from broker.certificates import device_subject
from broker.command import DATA
from broker.errors import UserError
from broker.files import write_atomic
from camera import topics
from host_tools.deploy import client

# Far more than any chain of certificates.
_ANSWER_MAX_BYTES = 1 << 20


def device_cert(
    camera: Annotated[str, typer.Argument(help="The camera's id, which is its account.")],
    data: Annotated[Path, typer.Option(help="The test broker's folder.")] = DATA,
    days: Annotated[int, typer.Option(min=1, max=7300, help="Days that it is valid for.")] = 365,
    into: Annotated[
        Path, typer.Option(help="The folder for both files, beside config.json.")
    ] = Path(client.FOLDER),
    csr: Annotated[
        bool, typer.Option("--csr", help="Write a request for another CA, no certificate.")
    ] = False,
    answer: Annotated[
        Path | None,
        typer.Option("--from", help="What that CA has answered: convert it for the camera."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make a new key where there is one already.")
    ] = False,
) -> None:
    """Make a camera's own key and certificate, from the test broker's authority or another CA."""
    if not topics.is_id(camera):
        raise UserError(f"{camera!r} is no camera id: give the id in its config.json", exit_code=2)
    if csr and answer:
        raise UserError("--csr comes before the CA's answer, --from after it", exit_code=2)
    certificate_path, key_path = (into / name for name in names(camera))
    try:
        if csr:
            _request(camera, into / f"{camera}.csr.pem", key_path, force)
            return
        if answer:
            certificate = _answered(answer, key_path)
            write_atomic(certificate_path, certificate.public_bytes(Encoding.DER), 0o644)
        else:
            certificate = issue(camera, data, into, timedelta(days=days), force)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written: {error.strerror}") from error
    end = certificate.not_valid_after_utc
    left = (end - datetime.now(UTC)).days
    print(f"{certificate_path}  valid until {end:%Y-%m-%d}, {left} days")
    print(f"{key_path}  the key: copy it nowhere but onto this camera")
    print("in config.json, at the broker:")
    print(f'  "client_cert": "{certificate_path.name}", "client_key": "{key_path.name}"')


def names(camera: str) -> tuple[str, str]:
    """The file names of a camera's certificate and key."""
    return f"{camera}.der", f"{camera}.key.der"


def issue(camera: str, data: Path, into: Path, life: timedelta, force: bool) -> x509.Certificate:
    """Make both files in the folder into, by the test broker's authority, and return the first.

    force: also where there is a key already. Raises UserError, OSError.
    """
    certificate_path, key_path = (into / name for name in names(camera))
    folder = data / "authority"
    if not folder.is_dir():
        raise UserError(
            f"{data} has no test broker's authority: start `anchorcam broker` once, or name its"
            " folder with --data; for another CA take --csr",
            exit_code=2,
        )
    key = _new_key(key_path, force)
    certificate = Authority(folder, ()).issue_device(camera, key.public_key(), life)
    client.write_key(key_path, key)
    write_atomic(certificate_path, certificate.public_bytes(Encoding.DER), 0o644)
    return certificate


def _request(camera: str, path: Path, key_path: Path, force: bool) -> None:
    key = _new_key(key_path, force)
    request = x509.CertificateSigningRequestBuilder().subject_name(device_subject(camera))
    client.write_key(key_path, key)
    write_atomic(path, request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), 0o644)
    print(f"{path}  send this to the CA")
    print(f"{key_path}  the key: copy it nowhere but onto this camera")
    print(f"then: anchorcam device-cert {camera} --into {path.parent} --from FILE")


def _new_key(path: Path, force: bool) -> ec.EllipticCurvePrivateKey:
    if path.exists() and not force:
        raise UserError(
            f"there is a key in {path} already: a new one needs a new certificate; --force"
            " replaces it",
            exit_code=2,
        )
    return ec.generate_private_key(ec.SECP256R1())


def _answered(path: Path, key_path: Path) -> x509.Certificate:
    """The certificate of this key among those in a file, PEM or DER."""
    key = client.read_key(key_path)
    try:
        with path.open("rb") as file:
            data = file.read(_ANSWER_MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", exit_code=2) from None
    try:
        if b"-----BEGIN" in data:
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise UserError(
            f"{path} holds no certificate, PEM or DER: take the file that the CA answered with",
            exit_code=2,
        ) from None
    for certificate in found:
        if client.fits(certificate, key):
            if len(found) > 1:
                print("the camera sends only its own: the broker has to know the intermediates")
            return certificate
    raise UserError(
        f"no certificate in {path} is of the key {key_path}: it answers another request",
        exit_code=2,
    )
