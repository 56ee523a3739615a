"""Which port is the camera's, and what is said when that is not clear."""

import fcntl
import os
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from broker.errors import UserError
from host_tools.deploy import ports
from tests.deploy.bench import Bench


def usb(device: str, vid: int, pid: int, serial: str) -> ListPortInfo:
    """A port as pyserial lists it."""
    info = ListPortInfo(device)
    info.vid, info.pid, info.serial_number = vid, pid, serial
    return info


N6 = usb("/dev/ttyACM1", 0x37C5, 0x1206, "A1B2")
NICLA = usb("/dev/ttyACM0", 0x2341, 0x055F, "C3D4")
NEW = usb("/dev/ttyACM2", 0x37C5, 0x9999, "E5F6")
ARDUINO_UNO = usb("/dev/ttyACM3", 0x2341, 0x0043, "0000")
RS232 = ListPortInfo("/dev/ttyS0")


def test_the_only_camera_is_found_among_other_ports() -> None:
    port = ports.choose(None, [RS232, ARDUINO_UNO, N6])
    assert (port.device, port.serial, port.name) == ("/dev/ttyACM1", "A1B2", "OpenMV N6")
    assert ports.choose(None, [NEW]).name == "OpenMV"


def test_one_of_two_by_name_or_serial_number() -> None:
    both = [N6, NICLA]
    assert ports.choose("C3D4", both).device == "/dev/ttyACM0"
    assert ports.choose("/dev/ttyACM1", both).serial == "A1B2"
    with pytest.raises(UserError) as caught:
        ports.choose(None, both)
    assert caught.value.exit_code == 2
    assert "2 cameras are on USB here" in str(caught.value)
    assert "/dev/ttyACM0  Arduino Nicla Vision  serial C3D4" in str(caught.value)
    assert "--port" in str(caught.value)


def test_no_camera() -> None:
    with pytest.raises(UserError, match="no camera is on USB here; plug one in"):
        ports.choose(None, [RS232, ARDUINO_UNO])
    with pytest.raises(UserError, match="there is no port ZZ99: no camera"):
        ports.choose("ZZ99", [])


def test_after_a_reset_it_is_found_by_its_serial_number(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = usb("/dev/ttyACM7", 0x37C5, 0x1206, "A1B2")
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [NICLA, moved])
    again = ports.choose(None, [N6]).found_again()
    assert again is not None
    assert again.device == "/dev/ttyACM7"


def test_another_program_has_the_port(bench: Bench) -> None:
    handle = os.open(bench.port, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = bench.deploy("--no-wait")
    finally:
        os.close(handle)
    assert done.status == 1
    name = Path("/proc/self/comm").read_text().strip()
    assert f"{name} (process {os.getpid()}) has it: close the OpenMV IDE" in done.err


def test_a_port_that_is_no_camera(bench: Bench, tmp_path: Path) -> None:
    done = bench.run("deploy", "--port", str(tmp_path / "nothing"), "--no-wait")
    assert done.status == 1
    assert "there is no port" in done.err
