"""The certificate zoo, as data: each way a server's chain can be right or wrong, one row each.

What a camera makes of each row is in docs/truth-table.md, generated from real mbedTLS.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from broker.certificates import ROOT

KeyKind = Literal["P-256", "RSA 1024", "RSA 2048", "Ed25519"]
Usage = Literal["server", "server by encryption", "client", "signs certificates", "signs data"]
# How a listener behaves: TLS and MQTT as usual, or what it does otherwise.
Behaviour = Literal[
    "usual", "client certificate", "TLS 1.3 only", "X25519 only", "garbage", "plain MQTT"
]

# Everything is asked for under this name, unless a row says otherwise.
NAME = "localhost"


@dataclass(frozen=True)
class Certificate:
    """What to make. issuer: the name, here or in certificates.ISSUERS, of the one that signs it,
    its own name for a self-signed one. days: of its validity, from now. names: of its
    subjectAltName. serial: two with the same are one certificate.
    """

    issuer: str
    # The name of a key: "leaf" is each server's, otherwise one of the issuers' or a new one.
    key: str
    kind: KeyKind = "P-256"
    subject: str = ""
    days: tuple[int, int] = (-1, 89)
    is_authority: bool = False
    path_length: int | None = None
    names: tuple[str, ...] = ()
    usage: Usage = "server"
    is_sha1: bool = False
    # RFC 5280, 4.2.1.10: only names below this one; and whether that is critical.
    only_below: tuple[str, bool] | None = None
    # Bytes of an extension that nobody knows; and whether it is critical.
    unknown: tuple[int, bool] | None = None


@dataclass(frozen=True)
class Row:
    """One listener. sent: the names of the certificates that it sends, in this order, the first
    of them its own. camera: the verdict of a camera that has the row's root: "accepted" or the
    reason code (camera/errors.py). intermediate, cross_sign: certificates that a user could take
    as anchor in place of the root.
    """

    name: str
    what: str
    sent: tuple[str, ...]
    camera: str = "accepted"
    behaviour: Behaviour = "usual"
    root: str = ROOT
    intermediate: str = ""
    cross_sign: str = ""
    asked: str = NAME


class Anchors(TypedDict):
    """What else a user could take as an anchor; see Row."""

    intermediate: str
    cross_sign: str


def _authority(issuer: str, subject: str, key: str = "", **more: Any) -> Certificate:
    options = {"days": (-400, 1000), "usage": "signs certificates", **more}
    return Certificate(
        issuer, key or subject, subject=f"(TEST) {subject}", is_authority=True, **options
    )


def _leaf(issuer: str, **more: Any) -> Certificate:
    options = {"key": "leaf", "names": (NAME, "127.0.0.1"), **more}
    return Certificate(issuer, **options)


_LEAF_RSA: dict[str, Any] = {"key": "leaf-rsa", "kind": "RSA 2048"}

# An issuer comes before what it signs. x1, x2, ye, ye1, yr and yr1 are the broker's own: x2, ye
# and yr are cross-signs, and the self-signed ones with their names and keys are here.
CERTIFICATES: dict[str, Certificate] = {
    "x2-self": _authority("x2-self", "Root X2", "x2"),
    "ye-self": _authority("ye-self", "Root YE", "ye"),
    "yr-self": _authority("yr-self", "Root YR", "yr"),
    "e7": _authority(ROOT, "E7", path_length=0),
    "r12": _authority(ROOT, "R12", path_length=0, kind="RSA 2048"),
    "other-root": _authority("other-root", "Other Root"),
    "other-1": _authority("other-root", "Other 1", path_length=0),
    "nobody-root": _authority("nobody-root", "Nobody's Root"),
    "nobody-1": _authority("nobody-root", "Nobody 1"),
    "old-root": _authority("old-root", "Old Root", days=(-4000, -30)),
    "x1-by-old": _authority("old-root", "Root X1", ROOT, days=(-4000, -30)),
    "e7-expired": _authority(ROOT, "E7", "E7", days=(-400, -2), path_length=0),
    "e7-impostor": _authority("nobody-root", "E7", "impostor"),
    "e8": _authority(ROOT, "E8", days=(-400, -2), path_length=0),
    "e9": _authority(ROOT, "E9", usage="signs data"),
    "e10": Certificate(
        ROOT, "E10", subject="(TEST) E10", days=(-400, 1000), usage="signs certificates"
    ),
    "e11": _authority(ROOT, "E11", path_length=0),
    "e12": _authority("e11", "E12"),
    "e13": _authority(ROOT, "E13", only_below=("example.org", True)),
    "e14": _authority(ROOT, "E14", only_below=("example.org", False)),
    **{
        f"d{depth}": _authority(f"d{depth - 1}" if depth > 1 else ROOT, f"D{depth}")
        for depth in range(1, 10)
    },
    **{f"big{n}": _authority("e7", f"Big {n}", unknown=(6000, False)) for n in range(1, 4)},
    "ecdsa": _leaf("ye1"),
    "rsa": _leaf("yr1", **_LEAF_RSA),
    "ecdsa-2025": _leaf("e7", subject=NAME),
    "rsa-2025": _leaf("r12", subject=NAME, **_LEAF_RSA),
    "no-subject": _leaf("e7"),
    "other": _leaf("other-1"),
    "named": _leaf("e7", names=("broker.zoo.test",)),
    "wildcard": _leaf("e7", names=("*.zoo.test",)),
    "wildcard-two": _leaf("e7", names=("*.test",)),
    "address": _leaf("e7", names=("127.0.0.1",)),
    "common-name": _leaf("e7", subject=NAME, names=()),
    "expired": _leaf("e7", days=(-91, -1)),
    "future": _leaf("e7", days=(400, 490)),
    "by-expired": _leaf("e8"),
    "by-nobody": _leaf("nobody-1"),
    "self-signed": _leaf("self-signed", subject=NAME),
    "for-clients": _leaf("e7", usage="client"),
    "by-no-signing": _leaf("e9"),
    "by-no-authority": _leaf("e10"),
    "below-path-length": _leaf("e12"),
    "below-d9": _leaf("d9"),
    "forbidden-too": _leaf("e13"),
    "forbidden": _leaf("e14"),
    "unknown": _leaf("e7", unknown=(16, True)),
    "sha-1": _leaf("r12", is_sha1=True),
    "rsa-1024": _leaf("e7", key="leaf-1024", kind="RSA 1024"),
    "ed25519": _leaf("e7", key="leaf-ed25519", kind="Ed25519"),
    "ed-root": _authority("ed-root", "Ed25519 Root", kind="Ed25519"),
    "e7-by-ed": _authority("ed-root", "E7", "E7"),
    "ed-by-x1": _authority(ROOT, "Ed25519 Root", "Ed25519 Root", kind="Ed25519"),
    "encrypting": _leaf("r12", usage="server by encryption", **_LEAF_RSA),
    "all-wrong": _leaf(
        "r12",
        names=("broker.zoo.test",),
        days=(-91, -1),
        is_sha1=True,
        key="leaf-1024",
        kind="RSA 1024",
    ),
}

_USUAL = ("ecdsa-2025", "e7")
_ADDRESS = ("address", "e7")
_BIG = ("big1", "big2", "big3")
_DEEP = tuple(f"d{depth}" for depth in range(9, 0, -1))


def _of(intermediate: str, cross_sign: str = "") -> Anchors:
    return {"intermediate": intermediate, "cross_sign": cross_sign}


_E7, _R12, _OTHER = _of("e7"), _of("r12"), _of("other-1")
_YE, _YR = _of("ye1", "ye"), _of("yr1", "yr")

ROWS: tuple[Row, ...] = (
    # Right.
    Row("ecdsa", "ECDSA, from 2026: up to X1", ("ecdsa", "ye1", "ye", "x2"), **_YE),
    Row("ecdsa-x2", "the alternate, up to X2", ("ecdsa", "ye1", "ye"), root="x2-self", **_YE),
    Row("ecdsa-ye", "the shortest, up to YE", ("ecdsa", "ye1"), root="ye-self", **_YE),
    Row("rsa", "RSA, from 2026: up to X1", ("rsa", "yr1", "yr"), **_YR),
    Row("rsa-yr", "the alternate, up to YR", ("rsa", "yr1"), root="yr-self", **_YR),
    Row("ecdsa-2025", "ECDSA, until 2026", ("ecdsa-2025", "e7"), **_E7),
    Row("rsa-2025", "RSA, until 2026", ("rsa-2025", "r12"), **_R12),
    Row("other-ca", "a second CA", ("other", "other-1"), root="other-root", **_OTHER),
    Row("mutual-tls", "wants the client's certificate", _USUAL, "tls", "client certificate", **_E7),
    Row("empty-subject", "no subject, critical subjectAltName", ("no-subject", "e7"), **_E7),
    Row("wildcard", "*.zoo.test", ("wildcard", "e7"), asked="broker.zoo.test", **_E7),
    Row("address", "for an IP address only", ("address", "e7"), asked="127.0.0.1", **_E7),
    Row("root-sent", "the root sent along", (*_USUAL, ROOT), **_E7),
    Row(
        "surplus-cross-sign",
        "an old root's cross-sign of X1 sent along, expired",
        (*_USUAL, "x1-by-old"),
        **_E7,
    ),
    Row(
        "expired-twin",
        "an expired E7 before the E7 that is valid",
        ("ecdsa-2025", "e7-expired", "e7"),
        **_E7,
    ),
    Row(
        "ed25519-signed",
        "a cross-sign that is signed with Ed25519 sent along, which mbedTLS skips",
        (*_USUAL, "e7-by-ed"),
        **_E7,
    ),
    # Where mbedTLS is laxer or stricter than others.
    Row(
        "impostor",
        "another E7, with another key, before the right one",
        ("ecdsa-2025", "e7-impostor", "e7"),
        "untrusted",
        **_E7,
    ),
    Row("shuffled", "intermediates shuffled", ("ecdsa", "ye", "ye1", "x2"), "untrusted", **_YE),
    Row("common-name", "the name only as common name", ("common-name", "e7"), **_E7),
    Row("constraint", "a name constraint forbids the name", ("forbidden", "e14"), **_of("e14")),
    Row("critical-constraint", "the same, critical", ("forbidden-too", "e13"), "tls", **_of("e13")),
    # Wrong.
    Row("expired", "the leaf expired yesterday", ("expired", "e7"), "expired", **_E7),
    Row("not-yet-valid", "the leaf begins in 400 days", ("future", "e7"), "not_yet_valid", **_E7),
    Row(
        "intermediate-expired",
        "the intermediate expired",
        ("by-expired", "e8"),
        "expired",
        **_of("e8"),
    ),
    Row("intermediate-missing", "only the leaf is sent", ("ecdsa-2025",), "untrusted", **_E7),
    Row("wrong-name", "for another name", ("named", "e7"), "name_mismatch", **_E7),
    Row("address-only", "for an IP address, asked by name", _ADDRESS, "name_mismatch", **_E7),
    Row(
        "wildcard-two-labels",
        "*.test, which is one label only",
        ("wildcard-two", "e7"),
        "name_mismatch",
        asked="broker.zoo.test",
        **_E7,
    ),
    Row("unknown-root", "nobody's root", ("by-nobody", "nobody-1"), "untrusted", **_of("nobody-1")),
    Row("self-signed", "self-signed", ("self-signed",), "untrusted"),
    Row("client-usage", "the leaf is for clients", ("for-clients", "e7"), "tls", **_E7),
    Row(
        "signing-usage",
        "an intermediate that may not sign certificates",
        ("by-no-signing", "e9"),
        "untrusted",
        **_of("e9"),
    ),
    Row(
        "no-authority",
        "an intermediate that is no authority",
        ("by-no-authority", "e10"),
        "untrusted",
        **_of("e10"),
    ),
    Row(
        "path-length",
        "below an intermediate that allows no other below it",
        ("below-path-length", "e12", "e11"),
        "untrusted",
        **_of("e12"),
    ),
    Row("path-too-long", "nine intermediates", ("below-d9", *_DEEP), "tls", **_of("d9")),
    Row("unknown-critical", "an unknown critical extension", ("unknown", "e7"), "tls", **_E7),
    Row("sha-1", "signed with SHA-1", ("sha-1", "r12"), "untrusted", **_R12),
    Row("rsa-1024", "an RSA key of 1024 bits", ("rsa-1024", "e7"), "untrusted", **_E7),
    Row("ed25519", "an Ed25519 key", ("ed25519", "e7"), "tls", **_E7),
    Row(
        "ed25519-sent",
        "an authority with an Ed25519 key sent along, which nothing needs",
        (*_USUAL, "ed-by-x1"),
        "tls",
        **_E7,
    ),
    Row(
        "all-wrong",
        "so much wrong that nothing of it is named",
        ("all-wrong",),
        "untrusted",
        **_R12,
    ),
    Row(
        "key-encipherment",
        "an RSA key that may encrypt, but not sign",
        ("encrypting", "r12"),
        "tls",
        **_R12,
    ),
    Row("large-chain", "20 KiB of certificates", (*_USUAL, *_BIG), "tls", **_E7),
    Row("tls-1.3", "TLS 1.3 only", _USUAL, "tls", "TLS 1.3 only", **_E7),
    Row("x25519", "key exchange by X25519 only", _USUAL, "tls", "X25519 only", **_E7),
    Row("garbage", "garbage in place of TLS", (), "tls", "garbage"),
    Row("plain-mqtt", "MQTT without TLS", (), "broker_closed", "plain MQTT"),
)

# What a camera could be given as an anchor: the file's name and the certificate.
ANCHORS: dict[str, str] = {
    "test-root-x2": "x2-self",
    "test-root-ye": "ye-self",
    "test-root-yr": "yr-self",
    "test-other-root": "other-root",
}
