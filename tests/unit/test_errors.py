"""camera.errors, on both interpreters."""

from camera.errors import REASONS, CameraError, code_of


def test_every_exception_has_a_code():
    assert code_of(CameraError("dns", "broker.test")) == "dns"
    assert code_of(MemoryError()) == "memory"
    assert code_of(ValueError("x")) == "internal"
    assert "internal" in REASONS


def test_text():
    assert str(CameraError("auth")) == "auth: " + REASONS["auth"]
    assert str(CameraError("dns", "x.test")).endswith("(x.test)")
