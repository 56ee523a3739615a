"""The host's prediction against real mbedTLS, on random chains and on damaged certificates.

The seed is in every failure; ANCHORCAM_SEED asks another, ANCHORCAM_CHAINS about more chains.
"""

import os
import random
from dataclasses import replace
from datetime import UTC, datetime

from host_tools.anchor import files, mbedtls, reading
from host_tools.anchor.mbedtls import Question
from host_tools.virtual_camera.micropython import MicroPython
from tests.anchor import asking
from tests.anchor.forging import Forge, Recipe, der, distinguished
from tests.anchor.random_chains import CLOCKS, Case, Maker
from tests.cameras import LIMITS

SEED = int(os.environ.get("ANCHORCAM_SEED", "1"))
CHAINS = int(os.environ.get("ANCHORCAM_CHAINS", "40"))


def test_what_is_predicted_of_random_chains_is_what_mbedtls_says(runtime: MicroPython) -> None:
    now = datetime.now(UTC)
    maker = Maker(SEED, now)
    compared = asking.compare(runtime, [maker.case() for _ in range(CHAINS)], CLOCKS, now)
    wrong = [each for each in compared if each.is_wrong()]
    assert wrong == [], f"seed {SEED}, the first: {wrong[0]}"
    codes = {each.answer.code for each in compared if each.said.code}
    # The chains are of every kind, and not all is silence.
    assert codes >= {"accepted", "untrusted", "tls"}, SEED
    assert sum(not each.said.code for each in compared) < len(compared) // 3, SEED


def test_what_is_read_of_damaged_certificates_is_what_mbedtls_reads(runtime: MicroPython) -> None:
    maker, choose = Maker(SEED, datetime.now(UTC)), random.Random(SEED)
    whole = [each for _ in range(20) for each in maker.case().anchors]
    damaged = [_damaged(choose.choice(whole), choose) for _ in range(CHAINS * 10)]
    told = mbedtls.ask(runtime, [Question(each) for each in damaged], LIMITS)
    wrong, said = [], set()
    for certificate, answer in zip(damaged, told, strict=True):
        code = _read(certificate)
        said.add(code)
        if code not in ("", answer.code):
            wrong.append((certificate.hex(), code, answer))
    assert wrong == [], f"seed {SEED}"
    assert said == {"accepted", "anchor", ""}, SEED


def test_how_much_there_is_room_for(runtime: MicroPython) -> None:
    now, sizes = datetime.now(UTC), (16384, 16385, 16896, 16897)
    forge = Forge(now)
    compared = asking.compare(runtime, [_as_large_as(each, forge) for each in sizes], (0,), now)
    assert [each.said.code for each in compared] == ["accepted", "", "", "tls"]
    assert [each.is_wrong() for each in compared] == [False] * 4, compared


def _as_large_as(size: int, forge: Forge) -> Case:
    """A good leaf and its root, in a Certificate message of so many bytes."""
    name = distinguished([("2.5.4.3", 0x0C, b"Root")])
    for_localhost = ("2.5.29.17", False, der(0x30, der(0x82, b"localhost")))
    authority = ("2.5.29.19", True, b"\x30\x03\x01\x01\xff")
    leaf = Recipe(name, name, "P-256", "RSA-2048", extensions=(for_localhost,))

    def chain(padding: int) -> tuple[bytes, ...]:
        padded = ("1.3.6.1.4.1.32473.1", False, bytes(padding))
        root = replace(leaf, key="RSA-2048", issuer_key="", extensions=(authority, padded))
        return forge.make(replace(leaf, subject=distinguished())), forge.make(root)

    def length(ders: tuple[bytes, ...]) -> int:
        return 4 + 3 + sum(3 + len(each) for each in ders)

    made = chain(15000 + size - length(chain(15000)))
    assert length(made) == size
    return Case(made, forge.key("P-256"), (made[1],), "localhost", "DEFAULT")


def _read(certificate: bytes) -> str:
    try:
        reading.read(files.load(certificate))
    except reading.Refused:
        return "anchor"
    except (reading.Unsaid, ValueError):
        return ""
    return "accepted"


def _damaged(certificate: bytes, choose: random.Random) -> bytes:
    data = bytearray(certificate)
    for _ in range(choose.choice((1, 1, 2))):
        # Nothing but names, keys and extensions is of interest; the signature comes last.
        at = choose.randrange(len(data) if choose.random() < 0.3 else min(len(data), 420))
        match choose.randrange(3):
            case 0:
                data[at] ^= 1 << choose.randrange(8)
            case 1:
                data[at] = choose.randrange(256)
            case 2:
                data[at : at + 2] = choose.randbytes(2)
    return bytes(data)
