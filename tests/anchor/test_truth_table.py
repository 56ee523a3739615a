"""mbedTLS, the zoo's own expectations, the host's prediction and the document, one against all."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.zoo.table import ROWS
from host_tools.anchor import hello, prediction
from host_tools.anchor.mbedtls import Answer
from host_tools.virtual_camera.micropython import MicroPython
from tests.anchor import truth
from tests.anchor.truth import Cell
from tests.brokers import BrokerProcess


@pytest.fixture(scope="module")
def answers(runtime: MicroPython, zoo: BrokerProcess, zoo_data: Path) -> Mapping[Cell, Answer]:
    return truth.measure(runtime, truth.cells(zoo_data), zoo.ready["zoo"])


# One worker asks all of it once.
@pytest.mark.xdist_group("zoo")
class TestTruthTable:
    def test_the_zoo_is_what_it_says(self, answers: Mapping[Cell, Answer]) -> None:
        said = {
            cell.row.name: answer.code
            for cell, answer in answers.items()
            if (cell.anchor, cell.clock) == ("root", "right")
        }
        assert said == {row.name: row.camera for row in ROWS}

    def test_the_prediction_is_mbedtls(
        self, answers: Mapping[Cell, Answer], zoo: BrokerProcess
    ) -> None:
        sent = {
            row.name: hello.look("127.0.0.1", zoo.ready["zoo"][row.name], row.asked, 5)
            for row in ROWS
        }
        wrong, silent = [], set()
        for cell, answer in answers.items():
            if cell.certificate is None:
                continue
            at = truth.time_of(cell.clock)
            said = prediction.predict(sent[cell.row.name], cell.certificate, cell.row.asked, at)
            if not said.code:
                silent.add(cell.row.name)
            elif said.code != answer.code:
                wrong.append((cell.row.name, cell.anchor, cell.clock, said, answer))
            elif answer.is_accepted:
                ends = [int(each.not_valid_after_utc.timestamp()) for each in said.path]
                assert ends == list(answer.ends), cell
        assert wrong == []
        # Whether it insists cannot be seen from outside.
        assert silent == {"mutual-tls"}

    def test_without_an_anchor_nothing_is_accepted(self, answers: Mapping[Cell, Answer]) -> None:
        asked = [answer for cell, answer in answers.items() if cell.anchor == "none"]
        assert len(asked) == len(ROWS) * len(truth.CLOCKS)
        assert not any(answer.is_accepted for answer in asked)

    def test_the_document_says_so(self, answers: Mapping[Cell, Answer]) -> None:
        assert truth.DOCUMENT.read_text() == truth.document(answers), (
            "run `python -m tests.anchor` and look at what has changed"
        )
