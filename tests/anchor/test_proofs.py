"""What proves a root that is in no published set, and what does not, however it looks."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from host_tools.anchor import describing, files, paths, proofs
from host_tools.anchor.published import Published, Root
from tests.anchor.forging import Extension, Forge, Recipe, distinguished
from tests.host.commands import anchorcam

NOW = datetime.now(UTC)


def name(text: str) -> bytes:
    return distinguished([("2.5.4.3", 0x0C, text.encode())])


def basic(is_authority: bool = True, length: int | None = None) -> Extension:
    return "2.5.29.19", True, x509.BasicConstraints(is_authority, length).public_bytes()


SIGNS: Extension = ("2.5.29.15", True, b"\x03\x02\x01\x06")
NO_SIGNING: Extension = ("2.5.29.15", True, b"\x03\x02\x07\x80")
FOR_MAIL: Extension = (
    "2.5.29.37",
    False,
    x509.ExtendedKeyUsage([Purpose.EMAIL_PROTECTION]).public_bytes(),
)
FOR_SOME: Extension = (
    "2.5.29.30",
    False,
    x509.NameConstraints([x509.DNSName("example.org")], None).public_bytes(),
)

OLD = Recipe(name("Old"), name("Old"), "P-256 old", "", extensions=(basic(), SIGNS))
MIDDLE = Recipe(name("Middle"), name("Old"), "P-256 m", "P-256 old", extensions=(basic(), SIGNS))
# What Old has signed for New, by way of Middle; and New itself.
CROSS = Recipe(name("New"), name("Middle"), "P-256 new", "P-256 m", extensions=(basic(), SIGNS))
NEW = Recipe(name("New"), name("New"), "P-256 new", "", extensions=(basic(), SIGNS))


def proof(
    new: Recipe = NEW, cross: Recipe = CROSS, middle: Recipe = MIDDLE, old: Recipe = OLD
) -> proofs.Proof:
    forge = Forge(NOW)
    root, signed, between, published = (
        files.load(forge.make(each)) for each in (new, cross, middle, old)
    )
    known = Published([Root("Old", describing.sha256(published), "own", published)])
    return proofs.by_cross_sign(root, [root, between, signed], known, NOW)


def test_a_published_root_vouches_for_it() -> None:
    found = proof()
    assert found.path is not None
    assert [describing.name(each) for each in found.path.sent] == ["New", "Middle"]
    assert found.path.root.name == "Old"


@pytest.mark.parametrize(
    ("why", "changed"),
    [
        # Whoever has a web server has this: a name and a key that a root has signed.
        ("may not sign", {"cross": replace(CROSS, extensions=(basic(False),))}),
        ("may not sign", {"cross": replace(CROSS, extensions=())}),
        ("may not sign", {"cross": replace(CROSS, extensions=(basic(), NO_SIGNING))}),
        ("nothing that was sent", {"middle": replace(MIDDLE, extensions=(basic(False), SIGNS))}),
        ("nothing that was sent", {"middle": replace(MIDDLE, extensions=(basic(), NO_SIGNING))}),
        ("no such depth", {"middle": replace(MIDDLE, extensions=(basic(True, 0), SIGNS))}),
        ("no such depth", {"old": replace(OLD, extensions=(basic(True, 1), SIGNS))}),
        ("has expired", {"cross": replace(CROSS, days=(-500, -1))}),
        ("not valid yet", {"cross": replace(CROSS, days=(1, 500))}),
        ("has expired", {"middle": replace(MIDDLE, days=(-500, -1))}),
        ("has expired", {"old": replace(OLD, days=(-500, -1))}),
        ("old digest", {"cross": replace(CROSS, digest="SHA224")}),
        ("secp256k1", {"middle": replace(MIDDLE, key="secp256k1 m"), "cross": replace(
            CROSS, issuer_key="secp256k1 m")}),
        ("not for servers", {"cross": replace(CROSS, extensions=(basic(), SIGNS, FOR_MAIL))}),
        ("some names only", {"middle": replace(MIDDLE, extensions=(basic(), SIGNS, FOR_SOME))}),
        ("more authorities", {"cross": replace(CROSS, extensions=(basic(True, 0), SIGNS))}),
        ("its own key", {"new": replace(NEW, is_broken=True)}),
        ("not valid now", {"new": replace(NEW, days=(-500, -1))}),
        ("is no authority", {"new": replace(NEW, extensions=(basic(False),))}),
        # These are no cross-signs of it at all, and nothing is said of them.
        ("", {"cross": replace(CROSS, key="P-256 another")}),
        ("", {"cross": replace(CROSS, subject=name("Another"))}),
        ("", {"cross": replace(CROSS, is_broken=True)}),
        ("", {"middle": replace(MIDDLE, is_broken=True)}),
        ("", {"middle": replace(MIDDLE, key="P-256 impostor")}),
    ],
)  # fmt: skip
def test_what_is_no_proof(why: str, changed: dict[str, Recipe]) -> None:
    found = proof(**changed)
    assert found.path is None
    assert bool(found.why_not) is bool(why)
    assert why in found.why_not


def test_a_web_server_s_key_makes_no_root(tmp_path: Path) -> None:
    """Through the command: a root with the name and the key of a leaf that Old has signed."""
    forge = Forge(NOW)
    leaf = replace(CROSS, extensions=(basic(False),))
    file, roots = tmp_path / "new.pem", tmp_path / "old.der"
    file.write_text(
        "".join(ssl.DER_cert_to_PEM_cert(forge.make(each)) for each in (NEW, leaf, MIDDLE))
    )
    roots.write_bytes(forge.make(OLD))
    done = anchorcam("anchor", "fetch", str(file), "--roots", str(roots), cwd=tmp_path)
    assert done.status == 1
    assert "nothing proves it: New may not sign certificates. Compare" in done.err
    assert not (tmp_path / "anchors").exists()


def test_nor_an_intermediate_of_its_own(tmp_path: Path) -> None:
    """What a server sends as its intermediate is none, when it is another server's leaf."""
    forge = Forge(NOW)
    leaf = Recipe(name("a.test"), name("New"), "P-256 leaf", "P-256 new")
    chain = [files.load(forge.make(e)) for e in (leaf, replace(CROSS, extensions=()), MIDDLE)]
    old = files.load(forge.make(OLD))
    known = Published([Root("Old", describing.sha256(old), "own", old)])
    [path] = paths.find(chain, known)
    assert not proofs.is_authority(path, NOW)
    chain[1] = files.load(forge.make(CROSS))
    [path] = paths.find(chain, known)
    assert proofs.is_authority(path, NOW)


def test_an_expired_root_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "old.der"
    der = Forge(NOW).make(replace(OLD, days=(-500, -1)))
    file.write_bytes(der)
    digest = describing.sha256(files.load(der))
    done = anchorcam("anchor", "fetch", str(file), "--sha256", digest, cwd=tmp_path)
    assert done.status == 1
    assert "expired on" in done.err
    assert not (tmp_path / "anchors").exists()


def test_a_fingerprint_is_never_passed_over(tmp_path: Path) -> None:
    """Also where the root is known by its name: who gives a fingerprint wants it compared."""
    done = anchorcam("anchor", "fetch", "ISRG Root X1", "--sha256", "00" * 32, cwd=tmp_path)
    assert done.status == 1
    assert "is not the certificate with SHA-256 0000" in done.err
    assert not (tmp_path / "anchors").exists()
