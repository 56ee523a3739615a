"""What every test folder can use: the MicroPython and the umqtt.simple under test."""

from pathlib import Path

import pytest

from host_tools.deploy import umqtt
from host_tools.virtual_camera import micropython
from host_tools.virtual_camera.micropython import MicroPython


@pytest.fixture(scope="session")
def runtime() -> MicroPython:
    """The MicroPython of the virtual camera ($MICROPYTHON names another)."""
    return micropython.find()


@pytest.fixture(scope="session")
def library() -> Path:
    """The umqtt/simple.py of the virtual camera ($UMQTT_SIMPLE names another)."""
    return umqtt.find()
