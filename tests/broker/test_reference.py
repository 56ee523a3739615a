"""What happens on a machine where mosquitto cannot be had."""

import pytest

from broker.errors import UserError
from tests.broker import reference


@pytest.fixture(autouse=True)
def no_mosquitto(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> None:
        raise UserError("no network")

    monkeypatch.setattr(reference.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(reference, "fetch_packages", fetch)


def test_the_comparison_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no mosquitto to compare with: no network"):
        reference.find_mosquitto()


def test_but_never_on_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no mosquitto to compare with: no network"):
        reference.find_mosquitto()
