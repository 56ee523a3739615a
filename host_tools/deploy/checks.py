"""What is checked before a camera is touched: do its anchors anchor its brokers?"""

from datetime import UTC, datetime
from pathlib import Path

from broker.errors import UserError
from host_tools.anchor import check
from host_tools.anchor.check import Verdict
from host_tools.anchor.looking import WARN_DAYS
from host_tools.anchor.published import Published, own


def anchors(config: Path, force: bool) -> None:
    """Say what `anchorcam anchor check` says of each broker and anchor.

    Raises UserError when a camera would refuse one now, unless forced.
    """
    now = datetime.now(UTC)
    verdicts = check.verdicts_of(config, now, Published(own([])))
    for verdict in verdicts:
        print(f"anchor    {verdict.server}, {verdict.anchor}: {_said(verdict, now)}")
    if check.status_of(verdicts, now, WARN_DAYS) == check.REFUSED and not force:
        raise UserError(
            "a camera with these anchors would not connect: `anchorcam anchor check` says more;"
            " --force deploys all the same"
        )


def _said(verdict: Verdict, now: datetime) -> str:
    answer, first = verdict.answer, verdict.expires()
    if answer.is_accepted and first is not None:
        days = verdict.days(now) or 0
        soon = "  SOON" if days < WARN_DAYS else ""
        return f"accepted; its {first[0]} expires first, in {days} days ({first[1]:%Y-%m-%d}){soon}"
    words = f": {answer.words}" if answer.words else ""
    remedy = f"; {verdict.remedy}" if verdict.remedy else ""
    return f"{answer.code}{'' if answer.is_accepted else words + remedy}"
