"""Debian's Chromium, fetched without root, for tests that look at the page."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from broker.errors import UserError
from host_tools.cache import cache_folder
from host_tools.virtual_camera.debian import fetch_packages

# The page asks for the system's own font; the machine of a test may have none.
_PACKAGES = ("chromium-headless-shell", "fonts-inter", "fonts-dejavu-core")
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{root}/usr/share/fonts</dir>
  <cachedir>{cache}</cachedir>
  <alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A running browser; folder: for what it needs while it runs.

    Skips the test when there is none to be had; on CI it fails instead.
    """
    try:
        root = fetch_packages(_PACKAGES, None, cache_folder("chromium"), with_dependencies=True)
    except (UserError, OSError) as error:
        message = f"no Chromium to look with: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    fonts = folder / "fonts.conf"
    fonts.write_text(_FONTS.format(root=root, cache=folder / "fonts"))
    libraries = {str(file.parent) for file in root.rglob("*.so*") if "lib" in file.parts}
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(sorted(libraries)),
        "FONTCONFIG_FILE": str(fonts),
        "HOME": str(folder),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=root / "usr/lib/chromium/chromium-headless-shell",
            # Its sandbox needs rights that root in a container has not.
            args=["--no-sandbox"],
            env=environment,
        )
        try:
            yield browser
        finally:
            browser.close()
