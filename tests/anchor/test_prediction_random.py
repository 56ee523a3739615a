"""The host's prediction against real mbedTLS, on random chains and on damaged certificates.

The seed is in every failure; ANCHORCAM_SEED asks another, ANCHORCAM_CHAINS about more chains.
"""

import os
import random
from datetime import UTC, datetime

from host_tools.anchor import files, mbedtls, reading
from host_tools.anchor.mbedtls import Question
from host_tools.virtual_camera.micropython import MicroPython
from tests.anchor import asking
from tests.anchor.random_chains import CLOCKS, Maker
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
    assert codes >= {"accepted", "untrusted", "name_mismatch", "expired", "tls", "anchor"}, SEED
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
