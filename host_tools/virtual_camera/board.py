"""The virtual camera's board: power, resets, watchdog, clock and console of one camera."""

import codecs
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from host_tools.virtual_camera.micropython import MicroPython
from host_tools.virtual_camera.resolver import Resolver
from host_tools.virtual_camera.sensor import Frames, Sensor
from host_tools.virtual_camera.serial import SerialPort

FIRMWARE = Path(__file__).parent / "firmware"

# Until NTP sets it the clock of a camera without a battery stands here.
POWER_UP_TIME = datetime(2000, 1, 1, tzinfo=UTC)

# As firmware/machine.py has them.
_POWER_ON, _HARD_RESET, _WATCHDOG = 1, 2, 3
_HARD_RESET_STATUS = 75
# firmware/flash.py.
_POWER_CUT_STATUS = 76
# 64 bit words: about what 256 KiB are on a camera. (The least that it runs in: `make bench`.)
_HEAP = "512k"


class Board:
    """One virtual camera.

    flash: a folder with the files of host_tools.deploy.flash, kept over resets and power
    cuts; log: called with each line of its console. A board is on between power_on() and
    power_cut(); resets and watchdog bites start main.py again as on the real one.
    sensor_works, dns_works: asked for each frame and each look-up.
    sd_bytes: of the SD card that is in, 0 for none.
    ntp: "host:port" that the firmware's ntptime asks instead of its own host and port 123.
    serial: its serial port, at which it stays when main.py ends, and through which it is reset.
    sd_boots: the firmware starts from the card that is in and not from the flash, as a real
    one does; otherwise the card is as `anchorcam deploy` leaves it, and hands on to the flash.
    flash_bytes: how much the flash holds, 0: as much as the folder; release: of the firmware;
    rom: the image of its read-only file system (ROMFS);
    watchdog_most_ms: a watchdog bites after this time at the latest, as none can be waited for
    in a test.
    """

    def __init__(
        self,
        micropython: MicroPython,
        flash: Path,
        frames: Frames,
        log: Callable[[str], None],
        sensor_works: Callable[[], bool] = lambda: True,
        ntp: str = "",
        dns_works: Callable[[], bool] = lambda: True,
        sd_bytes: int = 0,
        serial: SerialPort | None = None,
        sd_boots: bool = False,
        flash_bytes: int = 0,
        release: str = "4.8.1",
        watchdog_most_ms: int = 0,
        rom: Path | None = None,
    ) -> None:
        self._micropython = micropython
        self._flash = flash
        self._frames = frames
        self._sensor_works = sensor_works
        self._log = log
        self._ntp = ntp
        self._dns_works = dns_works
        self._resolver: Resolver | None = None
        self._sd_bytes = sd_bytes
        self._serial = serial
        self._firmware = {
            "VIRTUAL_CAMERA_FLASH": str(flash.resolve()),
            "VIRTUAL_CAMERA_FLASH_BYTES": str(flash_bytes or ""),
            "VIRTUAL_CAMERA_SERIAL": "1" if serial else "",
            "VIRTUAL_CAMERA_SD_BOOTS": "1" if sd_boots else "",
            "VIRTUAL_CAMERA_RELEASE": release,
            "VIRTUAL_CAMERA_ROM": str(rom.resolve()) if rom else "",
            "VIRTUAL_CAMERA_WATCHDOG_MOST_MS": str(watchdog_most_ms or ""),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._on = False
        # Held while a process is started or the power is cut: never one behind the other's back.
        self._power = threading.Lock()
        # Beside the flash and not in it: it does not survive a power cut.
        self._clock_file = flash.with_name(flash.name + ".clock")
        # The SD card: it keeps what is on it.
        self._card_file = flash.with_name(flash.name + ".sd")
        # As long as it is there, there is no network.
        self._no_link_file = flash.with_name(flash.name + ".no-link")
        # After how many more operations on the flash the power goes.
        self._cut_file = flash.with_name(flash.name + ".cut")

    def power_on(self) -> None:
        """Start main.py as a power-up does: RAM empty, the clock at 2000-01-01."""
        offset = math.ceil(POWER_UP_TIME.timestamp() - time.time())
        self._clock_file.write_text(f"{offset:+d}")
        if self._sd_bytes and not self._card_file.exists():
            with self._card_file.open("wb") as card:
                card.truncate(self._sd_bytes)
        self._on = True
        self._resolver = Resolver(self._dns_works)
        self._process = self._start(_POWER_ON)
        self._thread = threading.Thread(target=self._supervise, name="board", daemon=True)
        self._thread.start()

    def power_cut(self) -> None:
        """Pull the plug: the camera stops between two instructions."""
        with self._power:
            self._on = False
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
        if self._thread is not None:
            self._thread.join()
        if self._resolver is not None:
            self._resolver.close()
            self._resolver = None
        self._clock_file.unlink(missing_ok=True)

    def set_link(self, up: bool) -> None:
        """The camera's Wi-Fi or Ethernet has a network, or none."""
        if up:
            self._no_link_file.unlink(missing_ok=True)
        else:
            self._no_link_file.touch()

    def cut_power_after(self, operations: int) -> None:
        """The power goes by itself after so many operations on the flash (with flash_bytes)."""
        self._cut_file.write_text(str(operations))

    def is_running(self) -> bool:
        """False without power, and once main.py has ended where there is no serial port."""
        return self._thread is not None and self._thread.is_alive()

    def pid(self) -> int:
        """The process of the running main.py."""
        assert self._process is not None
        return self._process.pid

    def _supervise(self) -> None:
        while True:
            process = self._process
            assert process is not None
            self._pass_on(process)
            status = process.wait()
            if self._serial:
                self._serial.detach()
            if process.stdin:
                process.stdin.close()
            self._sensor.close()
            with self._power:
                if not self._on:
                    return
                if status == _HARD_RESET_STATUS:
                    self._process = self._start(_HARD_RESET)
                elif status == -signal.SIGALRM:
                    self._log("the watchdog has bitten")
                    self._process = self._start(_WATCHDOG)
                elif status == _POWER_CUT_STATUS:
                    self._log("the power was cut")
                    return
                else:
                    self._log(f"main.py has ended (status {status}): the camera is at its prompt")
                    return

    def _pass_on(self, process: subprocess.Popen[bytes]) -> None:
        """What the process prints, to the console's log and the serial port, until it ends."""
        assert process.stdout is not None
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        line = ""
        with process.stdout as stdout:
            while data := os.read(stdout.fileno(), 65536):
                if self._serial:
                    data = self._serial.from_camera(data)
                *lines, line = (line + decode(data)).split("\n")
                for each in lines:
                    self._log(each.rstrip())
        if line.strip():
            self._log(line.rstrip())

    def _start(self, reset_cause: int) -> subprocess.Popen[bytes]:
        self._sensor = Sensor(self._frames, self._sensor_works)
        handle = self._sensor.theirs.fileno()
        environment = {
            "PATH": os.defpath,
            "MICROPYPATH": f"{FIRMWARE}:.frozen:lib",
            "VIRTUAL_CAMERA_RESET_CAUSE": str(reset_cause),
            "VIRTUAL_CAMERA_UNIQUE_ID": self._flash.name,
            "VIRTUAL_CAMERA_SENSOR_FD": str(handle),
            "VIRTUAL_CAMERA_NTP": self._ntp,
            "VIRTUAL_CAMERA_NO_LINK": str(self._no_link_file.resolve()),
            "VIRTUAL_CAMERA_SD": str(self._card_file.resolve()) if self._sd_bytes else "",
            "VIRTUAL_CAMERA_CUT": str(self._cut_file.resolve()),
            "VIRTUAL_CAMERA_DNS": self._resolver.address if self._resolver else "",
            **self._firmware,
            **clock_environment(self._micropython, self._clock_file),
        }
        process = subprocess.Popen(
            [*self._micropython.command, "-X", f"heapsize={_HEAP}", str(FIRMWARE / "start.py")],
            cwd=self._flash,
            env=environment,
            pass_fds=(handle,),
            stdin=subprocess.PIPE if self._serial else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the host's program, which cuts the power.
            start_new_session=True,
        )
        if self._serial:
            self._serial.attach(process)
        return process


def clock_environment(micropython: MicroPython, clock_file: Path) -> dict[str, str]:
    """The variables that give a process the clock of clock_file (an offset in s)."""
    return {
        "LD_PRELOAD": str(micropython.faketime),
        "FAKETIME_TIMESTAMP_FILE": str(clock_file.resolve()),
        # The file is read at each look at the clock: a set clock is seen at once.
        "FAKETIME_NO_CACHE": "1",
        # Ticks and time-outs are not to jump with it.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        # A killed process would leave its piece of shared memory behind.
        "FAKETIME_DISABLE_SHM": "1",
    }
