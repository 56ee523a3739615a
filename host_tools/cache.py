"""Where what was downloaded is kept for the next run."""

import os
from pathlib import Path

import platformdirs


def cache_folder(name: str) -> Path:
    """The folder of that name in the user's cache directory ($XDG_CACHE_HOME).

    It need not exist yet.
    """
    root = os.environ.get("ANCHORCAM_CACHE") or platformdirs.user_cache_dir("anchorcam")
    return Path(root) / name
