"""How far a transfer is: bars on a terminal, a line per file elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

_NAME_COLUMNS = 24


class Bars:
    """Progress of a transfer of `total` bytes, for the length of a with block."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bars = Progress(
            TextColumn(f"    {{task.description:<{_NAME_COLUMNS}}}"),
            BarColumn(),
            DownloadColumn(),
            console=Console(),
            transient=True,
            disable=not sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        self._all = self._bars.add_task("all files", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def file(self, name: str, size: int) -> Iterator["FileBar"]:
        """The bar of one file."""
        task = self._bars.add_task(name, total=size)
        yield FileBar(self._bars, (task, self._all))
        self._bars.remove_task(task)
        if self._bars.disable:
            print(f"    {name:<{_NAME_COLUMNS}} {size:>9,} bytes", flush=True)


class FileBar:
    """Of one file, and of all together."""

    def __init__(self, bars: Progress, tasks: tuple[TaskID, TaskID]) -> None:
        self._bars = bars
        self._tasks = tasks

    def advance(self, size: int) -> None:
        """So many bytes more."""
        for task in self._tasks:
            self._bars.advance(task, size)
