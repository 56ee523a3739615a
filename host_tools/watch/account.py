"""Where a watcher listens, and as whom."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Account:
    """One account at one broker. anchor: DER; prefix: of the topics."""

    host: str
    port: int
    anchor: bytes
    anchor_name: str
    user: str
    password: str = field(repr=False)
    prefix: str
