"""What a user did or met that a command cannot go on from: shown as one line, no traceback."""


class UserError(Exception):
    """What happened, why, and what to do, as one sentence or two.

    exit_code: the command's exit status; README.md lists them (2: usage or settings,
    1: the thing asked for did not succeed, 3: something it needs could not be had).
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
