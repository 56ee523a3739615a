"""What a real camera's firmware does and the virtual camera's does not: played to the code."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from host_tools.virtual_camera.board import Board
from host_tools.virtual_camera.micropython import MicroPython
from host_tools.virtual_camera.sensor import Scene
from tests.brokers import DEADLINE_S, BrokerProcess, wait_for
from tests.cameras import CameraUnderTest
from tests.device.receiving import receiving
from tests.scripted import tls_listening

Start = Callable[..., None]


@pytest.fixture
def start(camera: CameraUnderTest) -> Start:
    """Start the camera with a script instead of main.py, or before it."""

    def run(script: str, *, before_main: bool = False) -> None:
        camera.power_on()
        camera.power_cut()
        camera.console.clear()
        main = camera.flash / "main.py"
        main.write_text(script + (main.read_text() if before_main else ""))
        camera.restart()

    return run


def test_a_watchdog_that_cannot_count_so_far(camera: CameraUnderTest, start: Start) -> None:
    # The AE3's, in the words of ports/alif/machine_wdt.c.
    start(
        "import machine\n"
        "def WDT(timeout):\n"
        "    print('asked for', timeout)\n"
        "    if timeout > 10737:\n"
        "        raise ValueError('WDT timeout too long, max 10737ms')\n"
        "    return Dog\n"
        "class Dog:\n"
        "    feed = staticmethod(lambda: None)\n"
        "machine.WDT = WDT\n",
        before_main=True,
    )
    camera.line("asked for 10600")
    camera.line("connected to")


def test_pins_on_a_firmware_that_does_not_show_what_it_verifies(
    camera: CameraUnderTest, start: Start
) -> None:
    # As in firmware before 2024. A broker with pins is refused there, never let pass unpinned.
    camera.broker["pin_sha256"] = ["0" * 64]
    start(
        "import ssl\n"
        "class Inner:\n"
        "    def __init__(self, new):\n"
        "        self._new = new\n"
        "    @property\n"
        "    def verify_mode(self):\n"
        "        return self._new.verify_mode\n"
        "    @verify_mode.setter\n"
        "    def verify_mode(self, mode):\n"
        "        self._new.verify_mode = mode\n"
        "    def __getattr__(self, name):\n"
        "        if name == 'verify_callback':\n"
        "            raise AttributeError(name)\n"
        "        return getattr(self._new, name)\n"
        "class Old(ssl.SSLContext):\n"
        "    def __init__(self, protocol):\n"
        "        super().__init__(protocol)\n"
        "        self._context = Inner(self._context)\n"
        "ssl.SSLContext = Old\n",
        before_main=True,
    )
    camera.line("tls: ", "this firmware cannot check pin_sha256")
    assert not [line for line in camera.console if "connected to" in line]
    # Without pins it is good enough.
    camera.power_cut()
    config = json.loads((camera.flash / "config.json").read_text())
    del config["brokers"][0]["pin_sha256"]
    (camera.flash / "config.json").write_text(json.dumps(config))
    camera.restart()
    camera.line("connected to localhost")


def test_a_clock_server_that_went_away_is_not_asked_in_each_step(
    camera: CameraUnderTest, start: Start
) -> None:
    server = camera.config["clock"]["servers"][0]
    start(
        "from camera import clock\n"
        "class Uptime:\n"
        "    now = 0\n"
        "    def ms(self): return self.now\n"
        "uptime = Uptime()\n"
        "class Here: resolve = staticmethod(lambda host: host)\n"
        f"it = clock.Clock(dict(servers=['{server}'], resync_s=3600, step_s=5), 1, uptime, Here)\n"
        "it.sync()\n"
        "print('set', it.due())\n"
        "uptime.now += 3600000\n"
        "print('later', it.due())\n"
        "it._servers = ['127.0.0.1:9']\n"
        "try:\n"
        "    it.sync()\n"
        "except Exception as error:\n"
        "    print(error)\n"
        "print('failed', it.due(), it.unix_ms() is None)\n"
        "uptime.now += 600000\n"
        "print('after a while', it.due())\n"
    )
    camera.line("set False")
    camera.line("later True")
    camera.line("clock_unset")
    camera.line("failed False False")
    camera.line("after a while True")


def test_firmware_that_says_the_wifi_key(camera: CameraUnderTest, start: Start) -> None:
    # extmod/network_ninaw10.c
    start(
        "import network\n"
        "def connect(self, ssid, key=None):\n"
        "    raise OSError('could not connect to ssid=%s, sec=3, key=31415926' % ssid)\n"
        "network.WLAN.connect = connect\n",
        before_main=True,
    )
    camera.line("link: the Wi-Fi or Ethernet link did not come up (OSError)")
    camera.line("trying again")
    assert "31415926" not in "\n".join(camera.console)


def test_one_record_at_a_time(camera: CameraUnderTest, start: Start, tmp_path: Path) -> None:
    # In lwIP each may wait for memory, where no watchdog is fed and no limit is looked at.
    done = threading.Event()
    with tls_listening(tmp_path, lambda stream: drain(stream, done)) as (port, anchor):
        camera.anchor = anchor
        server = camera.config["clock"]["servers"][0]
        start(
            "from camera import anchors, clock, transport, uptime\n"
            "limits = {'write': 5, 'connack': 5, 'connect': 5}\n"
            "class Here: resolve = staticmethod(lambda host: host)\n"
            f"asked = dict(servers=['{server}'], resync_s=3600, step_s=5)\n"
            "clock.Clock(asked, 1, uptime.Uptime(), Here).sync()\n"
            "anchor = anchors.Anchor('anchors/root.der')\n"
            f"pipe = transport.Transport('localhost', '127.0.0.1', {port}, anchor, limits)\n"
            "pipe.write(b'hello')\n"
            "pipe.handshake(5)\n"
            "sizes = []\n"
            "class Spy:\n"
            "    def __init__(self, tls): self._tls = tls\n"
            "    def write(self, data, at, size):\n"
            "        sizes.append(size)\n"
            "        return self._tls.write(data, at, size)\n"
            "pipe._tls = Spy(pipe._tls)\n"
            "pipe.write(bytes(100000))\n"
            "print('at most', max(sizes))\n"
        )
        camera.line("at most 4096")
        done.set()


def test_nagle_is_off_by_the_firmwares_own_number(camera: CameraUnderTest, start: Start) -> None:
    start(
        "import socket, sys\n"
        "class Socket:\n"
        "    def __init__(self, *args): self._socket = socket.socket(*args)\n"
        "    def setsockopt(self, *args): print('setsockopt', *args)\n"
        "    def settimeout(self, limit): pass\n"
        "    def setblocking(self, flag): pass\n"
        "    def connect(self, address):\n"
        "        print('connect')\n"
        "        raise OSError(1)\n"
        "    def close(self): pass\n"
        "class Firmware:\n"
        "    AF_INET, SOCK_STREAM = socket.AF_INET, socket.SOCK_STREAM\n"
        "    TCP_NODELAY = 0x40\n"
        "    getaddrinfo = staticmethod(socket.getaddrinfo)\n"
        "    socket = Socket\n"
        "sys.modules['socket'] = Firmware\n"
        "from camera import transport\n"
        "try:\n"
        "    transport._connect('127.0.0.1', 1, 1)\n"
        "except Exception:\n"
        "    print('end')\n"
    )
    camera.line("end")
    assert camera.console[:3] == ["setsockopt 6 64 1", "connect", "end"]


def drain(stream: object, done: threading.Event) -> None:
    while not done.is_set() and stream.recv(65536):  # type: ignore[attr-defined]
        pass


def test_the_log_after_the_ticks_have_wrapped(camera: CameraUnderTest, start: Start) -> None:
    start(
        "from camera import log, uptime\n"
        "class Time:\n"
        "    now = 0\n"
        "    ticks_ms = staticmethod(lambda: Time.now & 0x3FFFFFFF)\n"
        "    ticks_diff = staticmethod(\n"
        "        lambda a, b: ((a - b + (1 << 29)) & 0x3FFFFFFF) - (1 << 29)\n"
        "    )\n"
        "uptime.time = Time\n"
        "log.uptime.__init__()\n"
        "for _ in range(4):\n"
        "    Time.now += 5 * 86400 * 1000\n"
        "    log.uptime.ms()\n"
        "log.line('twenty days')\n"
    )
    camera.line("[1728000.000] twenty days")


def test_a_frame_for_which_there_is_no_memory(
    camera: CameraUnderTest, broker: BrokerProcess, start: Start
) -> None:
    with receiving(broker.endpoint()) as receiver:
        start(
            "import csi\n"
            "frames = csi.Image.to_jpeg\n"
            "fails = [1, 1]\n"
            "def to_jpeg(self, quality):\n"
            "    if fails:\n"
            "        fails.pop()\n"
            "        raise MemoryError('Out of memory')\n"
            "    return frames(self, quality)\n"
            "csi.Image.to_jpeg = to_jpeg\n"
            "takes = csi.CSI.snapshot\n"
            "def snapshot(self, *, time=-1):\n"
            "    print('snapshot', time)\n"
            "    return takes(self, time=time)\n"
            "csi.CSI.snapshot = snapshot\n",
            before_main=True,
        )
        receiver.snapshot()
    camera.line("camera: the image sensor gave no frame", "Out of memory")
    assert not [line for line in camera.console if "trying again" in line]
    # Its first frames are not sent: the exposure has not settled.
    snapshots = [line for line in camera.console if line.startswith("snapshot ")]
    assert snapshots[:2] == ["snapshot 2000", "snapshot -1"]


def test_the_code_of_each_way_to_have_no_memory(camera: CameraUnderTest, start: Start) -> None:
    # ENOMEM; an alloc error of mbedTLS's MPI and ASN1, turned positive by MicroPython; of
    # X509 with a detail; of ECP; of SSL.
    start(
        "from camera import anchors\n"
        "for code in (12, -12, 0x10, 0x6A, -0x2880 - 0x6A, -0x4D80, -0x7F00, -0x7280, 5):\n"
        "    print(code, anchors.reason(OSError(code)).code)\n"
        "print('all')\n"
    )
    camera.line("all")
    assert [line.split()[1] for line in camera.console[:9]] == ["memory"] * 7 + ["tls"] * 2


def test_power_cut_in_the_middle_of_a_reset(tmp_path: Path, runtime: MicroPython) -> None:
    restarting = threading.Event()

    class SlowBoard(Board):
        def _start(self, reset_cause: int):  # type: ignore[no-untyped-def]
            if reset_cause != 1:
                restarting.set()
                time.sleep(0.5)
            return super()._start(reset_cause)

    flash = tmp_path / "flash"
    flash.mkdir()
    (flash / "main.py").write_text(
        "import machine, time\n"
        "if machine.reset_cause() == 1:\n"
        "    machine.reset()\n"
        "time.sleep(60)\n"
    )
    board = SlowBoard(runtime, flash, Scene("cam1"), lambda line: None)
    board.power_on()
    assert restarting.wait(DEADLINE_S)
    cut = threading.Thread(target=board.power_cut, daemon=True)
    cut.start()
    wait_for(lambda: not cut.is_alive(), "the power to be off")
