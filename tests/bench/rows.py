"""What a benchmark says: one row for each figure, with its target where it has one."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure. what: of what; how: the numbers behind it; least, most: the target."""

    bench: str
    what: str
    value: float
    unit: str
    how: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the target holds; None where there is none."""
        if self.least is None and self.most is None:
            return None
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)

    @property
    def target(self) -> str:
        """The target in words."""
        words = [
            f"{word} {number(limit)}"
            for word, limit in (("at least", self.least), ("at most", self.most))
            if limit is not None
        ]
        return ", ".join(words)

    @property
    def figure(self) -> str:
        """The value with its unit."""
        return f"{number(self.value)} {self.unit}".strip()

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {**asdict(self), "holds": self.holds}


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def medians(measured: Sequence[dict[str, Any]], *names: str) -> list[float]:
    """The median of each named column, where it has a value."""
    return [
        statistics.median(row[name] for row in measured if row.get(name) is not None)
        for name in names
    ]
