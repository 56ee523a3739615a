"""Random chains, as servers could send them: right, odd and wrong in every way that is known."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from tests.anchor.forging import Extension, Forge, Key, Recipe, der, distinguished, oid, pem

HOSTS = ("localhost", "a.zoo.test", "127.0.0.1", "LocalHost", "localhost.")
# Days from now.
CLOCKS = (0, 50, 365, -9000)

_UTF8, _PRINTABLE, _IA5, _BMP, _NUMERIC, _T61 = 12, 19, 22, 30, 18, 20
_COMMON_NAME, _ORGANIZATION, _COUNTRY = "2.5.4.3", "2.5.4.10", "2.5.4.6"
_BASIC, _USAGE, _PURPOSE, _ALTERNATIVE = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"
_POLICIES, _CONSTRAINTS, _KEY_ID, _ISSUER_KEY_ID = (
    "2.5.29.32",
    "2.5.29.30",
    "2.5.29.14",
    "2.5.29.35",
)
_NETSCAPE, _UNKNOWN = "2.16.840.1.113730.1.1", "1.3.6.1.4.1.32473.1"


@dataclass(frozen=True)
class Case:
    """What a server sends, and the key that it has; what could be a camera's anchor."""

    chain: tuple[bytes, ...]
    key: Key
    anchors: tuple[bytes, ...]
    name: str
    # OpenSSL's, for the key exchange.
    suites: str
    told: str = field(default="", compare=False)

    def pem(self) -> bytes:
        """Key and chain as ssl.SSLContext.load_cert_chain() takes them."""
        return pem(self.key, self.chain)


class Maker:
    """Makes cases. The choices follow from the seed; keys and signatures are new each time."""

    def __init__(self, seed: int, now: datetime) -> None:
        self._random = random.Random(seed)
        self._forge = Forge(now)

    def case(self) -> Case:
        """The next one."""
        choose = self._random
        names = self._names()
        authorities: list[Recipe] = []
        for _ in range(choose.randint(2, 6)):
            authorities.append(self._authority(names, authorities))
        top = choose.choice(authorities)
        name = choose.choices(HOSTS, (10, 4, 4, 1, 1))[0]
        leaf = self._leaf(top, name)
        chain = [leaf, *self._climb(top, authorities)]
        anchors = [*authorities, leaf, chain[-1], chain[-1]]
        anchor_ders = [self._forge.make(each) for each in choose.sample(anchors, 3)]
        sent = self._disturbed(chain, authorities)
        made: dict[Recipe, bytes] = {}
        ders = [made.setdefault(each, self._forge.make(each)) for each in sent]
        # What is sent may be the anchor itself, to the byte.
        anchor_ders += [choose.choice(ders)]
        root = chain[-1]
        anchor_ders.append(made.get(root) or self._forge.make(root))
        suites = "kRSA" if leaf.key.startswith("RSA") and self._maybe(0.3) else "DEFAULT"
        key = self._forge.key(leaf.key)
        return Case(tuple(ders), key, tuple(anchor_ders), name, suites, repr(sent))

    def _maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def _names(self) -> list[bytes]:
        choose = self._random
        found = []
        for letter in "AB" + "C" * self._maybe(0.5):
            text = f"CA {letter}".encode()
            found.append(distinguished([(_COMMON_NAME, _UTF8, text)]))
            if self._maybe(0.5):
                found.append(
                    choose.choice(
                        (
                            distinguished([(_COMMON_NAME, _PRINTABLE, text.lower())]),
                            distinguished([(_COMMON_NAME, _PRINTABLE, text)]),
                            distinguished([(_COMMON_NAME, _IA5, text)]),
                            distinguished([(_COMMON_NAME, _T61, text)]),
                            distinguished(
                                [(_COMMON_NAME, _BMP, text.decode().encode("utf-16-be"))]
                            ),
                            distinguished(
                                [(_ORGANIZATION, _UTF8, b"O")], [(_COMMON_NAME, _UTF8, text)]
                            ),
                            distinguished(
                                [(_ORGANIZATION, _UTF8, b"O"), (_COMMON_NAME, _UTF8, text)]
                            ),
                            distinguished([("2.5.4.5", _NUMERIC, b"123")]),
                            distinguished([(_COMMON_NAME, _UTF8, "CÄ".encode())]),
                            distinguished([(_COMMON_NAME, _UTF8, "Cä".encode())]),
                            distinguished(),
                        )
                    )
                )
        return found

    def _authority(self, names: Sequence[bytes], above: Sequence[Recipe]) -> Recipe:
        choose = self._random
        if above and self._maybe(0.2):
            # A relative: a cross-sign, a renewal, a twin with another key ...
            old = choose.choice(above)
            signer = choose.choice(above)
            changes: list[dict[str, object]] = [
                {"issuer": signer.subject, "issuer_key": signer.key},
                {"days": self._days()},
                {"key": self._key_name(), "issuer_key": old.issuer_key or old.key},
                {"subject": choose.choice(names)},
                {"serial": 2},
            ]
            return replace(old, **choose.choice(changes))  # type: ignore[arg-type]
        subject, key = choose.choice(names), self._key_name()
        signer = choose.choice(above) if above and self._maybe(0.85) else None
        is_self = signer is None
        recipe = Recipe(
            subject,
            subject if signer is None else signer.subject,
            key,
            "" if signer is None else signer.key,
            days=self._days(),
            digest=self._digest(),
            is_pss=self._maybe(0.03),
            is_broken=self._maybe(0.03),
            extensions=self._authority_extensions(),
        )
        if self._maybe(0.15 if is_self else 0.04):
            kept = recipe.extensions if self._maybe(0.2) else ()
            return replace(recipe, version=choose.choice((1, 1, 2)), extensions=kept)
        return recipe

    def _authority_extensions(self) -> tuple[Extension, ...]:
        choose = self._random
        found: list[Extension] = []
        length = choose.choices((None, 0, 1, 2), (5, 1, 1, 1))[0]
        if not self._maybe(0.06):
            basic = x509.BasicConstraints(True, length)
            if self._maybe(0.06):
                basic = x509.BasicConstraints(False, None)
            found.append((_BASIC, self._maybe(0.9), basic.public_bytes()))
        if not self._maybe(0.2):
            # Bits from the left: digitalSignature 0, keyCertSign 5, encipherOnly 7.
            bits = 0b00000110 if not self._maybe(0.1) else choose.randrange(256)
            found.append((_USAGE, self._maybe(0.9), der(3, b"\0" + bytes([bits]))))
        if self._maybe(0.05):
            found.append(
                (_PURPOSE, False, x509.ExtendedKeyUsage([Purpose.CLIENT_AUTH]).public_bytes())
            )
        return self._others(found)

    def _others(self, found: list[Extension]) -> tuple[Extension, ...]:
        choose = self._random
        if self._maybe(0.1):
            policy = choose.choice(("2.5.29.32.0", "2.23.140.1.2.1"))
            found.append((_POLICIES, self._maybe(0.3), der(0x30, der(0x30, oid(policy)))))
        if self._maybe(0.04):
            constraint = x509.NameConstraints([x509.DNSName("localhost")], None)
            found.append((_CONSTRAINTS, self._maybe(0.5), constraint.public_bytes()))
        if self._maybe(0.06):
            found.append((_UNKNOWN, self._maybe(0.3), b"anything"))
        if self._maybe(0.04):
            found.append((_NETSCAPE, self._maybe(0.5), der(3, b"\0\x40")))
        if self._maybe(0.3):
            found.append((_KEY_ID, self._maybe(0.1), der(4, b"key id")))
        if self._maybe(0.2):
            whole = choose.choice(
                (
                    der(0x80, b"key id"),
                    der(0x80, b"k")
                    + der(0xA1, der(0xA4, distinguished([(_COMMON_NAME, _UTF8, b"X")])))
                    + der(0x82, b"\x01"),
                )
            )
            found.append((_ISSUER_KEY_ID, False, der(0x30, whole)))
        if found and self._maybe(0.02):
            found.append(choose.choice(found))
        choose.shuffle(found)
        return tuple(found)

    def _leaf(self, issuer: Recipe, name: str) -> Recipe:
        choose = self._random
        common = choose.choice(
            (
                distinguished(),
                distinguished([(_COMMON_NAME, _UTF8, name.encode())]),
                distinguished([(_COMMON_NAME, _PRINTABLE, name.upper().encode())]),
                distinguished([(_COMMON_NAME, _UTF8, b"x")], [(_COMMON_NAME, _IA5, name.encode())]),
                distinguished([(_COMMON_NAME, _BMP, name.encode("utf-16-be"))]),
                distinguished([(_COMMON_NAME, _UTF8, b"*.zoo.test")]),
                distinguished([(_ORGANIZATION, _UTF8, b"only this")]),
            )
        )
        found: list[Extension] = []
        if not self._maybe(0.12):
            found.append((_ALTERNATIVE, self._maybe(0.2), self._alternative(name)))
        if self._maybe(0.6):
            bits = choose.choices((0x80, 0xA0, 0x20, 0x08, 0x89, 0x00), (8, 4, 2, 1, 1, 1))[0]
            found.append((_USAGE, self._maybe(0.9), der(3, b"\0" + bytes([bits]))))
        if self._maybe(0.6):
            purposes = choose.choices(
                (
                    [Purpose.SERVER_AUTH],
                    [Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH],
                    [Purpose.CLIENT_AUTH],
                    [Purpose.ANY_EXTENDED_KEY_USAGE],
                ),
                (9, 3, 1, 1),
            )[0]
            found.append(
                (_PURPOSE, self._maybe(0.2), x509.ExtendedKeyUsage(purposes).public_bytes())
            )
        if self._maybe(0.3):
            is_authority = self._maybe(0.2)
            basic = x509.BasicConstraints(is_authority, None)
            found.append((_BASIC, True, basic.public_bytes()))
        is_own = self._maybe(0.06)
        key = self._key_name(True)
        if is_own and common == distinguished():
            common = distinguished([(_COMMON_NAME, _UTF8, name.encode())])
        recipe = Recipe(
            common,
            common if is_own else issuer.subject,
            key,
            "" if is_own else issuer.key,
            days=self._days(),
            digest=self._digest(),
            is_pss=self._maybe(0.03),
            is_broken=self._maybe(0.02),
            serial=choose.choice((1, 5, -7, 0)),
            extensions=self._others(found),
        )
        return replace(recipe, version=1, extensions=()) if self._maybe(0.04) else recipe

    def _alternative(self, name: str) -> bytes:
        choose = self._random
        dns, address = name.encode(), bytes((127, 0, 0, 1))
        good = [der(0x82, dns)] + ([der(0x87, address)] if name == "127.0.0.1" else [])
        if self._maybe(0.7):
            return der(0x30, *good)
        other = [
            der(0x82, b"*." + dns.partition(b".")[2]),
            der(0x82, b"*." + dns),
            der(0x82, b"*"),
            der(0x82, b"*."),
            der(0x82, b"lo*host"),
            der(0x82, b"a.*.test"),
            der(0x82, dns.upper()),
            der(0x82, dns + b"."),
            der(0x82, dns.rstrip(b".")),
            der(0x82, b""),
            der(0x82, dns + b"\0.example.org"),
            der(0x82, b"*.0.0.1"),
            der(0x81, b"me@localhost"),
            der(0x86, dns),
            der(0x86, b"https://" + dns),
            der(0x87, address),
            der(0x87, bytes(16)),
            der(0x87, address + bytes((255, 255, 255, 0))),
            der(0x88, oid("1.2.3")[2:]),
            der(0xA4, distinguished([(_COMMON_NAME, _UTF8, dns)])),
            der(0xA0, oid("1.3.6.1.4.1.32473.2"), der(0xA0, der(_UTF8, dns))),
            *good,
        ]
        return der(0x30, *choose.choices(other, k=choose.randint(0, 3)))

    def _climb(self, start: Recipe, authorities: Sequence[Recipe]) -> list[Recipe]:
        path = [start]
        while path[-1].issuer_key and len(path) < 10:
            last = path[-1]
            above = [
                each
                for each in authorities
                if each.subject == last.issuer and each.key == last.issuer_key and each not in path
            ]
            if not above:
                break
            path.append(self._random.choice(above))
        return path

    def _disturbed(self, chain: list[Recipe], authorities: Sequence[Recipe]) -> list[Recipe]:
        choose = self._random
        leaf, *rest = chain
        if rest and not self._maybe(0.25):
            rest = rest[:-1]
        if rest and self._maybe(0.1):
            rest.pop(choose.randrange(len(rest)))
        if self._maybe(0.25):
            rest.insert(choose.randint(0, len(rest)), choose.choice(authorities))
        if rest and self._maybe(0.08):
            rest.append(choose.choice(rest))
        if self._maybe(0.1):
            choose.shuffle(rest)
        if self._maybe(0.03):
            rest.insert(choose.randint(0, len(rest)), leaf)
        return [leaf, *rest]

    def _days(self) -> tuple[int, int]:
        return self._random.choices(
            ((-500, 1000), (-500, -3), (100, 1000), (-500, 20), (-20000, 20000)), (14, 1, 1, 1, 1)
        )[0]

    def _digest(self) -> str:
        return self._random.choices(
            ("SHA256", "SHA384", "SHA512", "SHA1", "SHA224"), (20, 3, 3, 1, 1)
        )[0]

    def _key_name(self, is_leaf: bool = False) -> str:
        kinds = ["P-256 1", "P-256 2", "P-256 3", "P-384 1", "P-521 1", "RSA-2048 1", "RSA-2048 2"]
        odd = ["RSA-1024 1", "secp256k1 1", "Ed25519 1", "brainpool 1", "P-224 1"]
        if self._maybe(0.06):
            return self._random.choice(odd)
        return self._random.choice(kinds) + " leaf" * is_leaf
