"""Headless Chromium, driven over a pipe by its own protocol (DevTools): no port, no package.

https://chromedevtools.github.io/devtools-protocol/ ; messages are JSON, ended by a zero byte.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
FLAGS = ("--headless", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")
LONGEST_S = 60


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One page. `log` has what it wrote to its console, `requests` the addresses it asked for."""

    def __init__(self, writing: int, reading: int) -> None:
        self.writing, self.reading = writing, reading
        self.buffer, self.count, self.session = b"", 0, None
        self.log: list[str] = []
        self.requests: list[str] = []

    def message(self) -> dict[str, Any]:
        """The next message of the browser; events are noted."""
        while b"\0" not in self.buffer:
            part = os.read(self.reading, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        found = json.loads(text)
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(found["params"]["request"]["url"])
        if found.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
            self.log.append(json.dumps(found["params"], ensure_ascii=False))
        return found

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command and its result."""
        self.count += 1
        sent = {"id": self.count, "method": method, "params": params}
        if self.session:
            sent["sessionId"] = self.session
        os.write(self.writing, json.dumps(sent).encode() + b"\0")
        while (found := self.message()).get("id") != self.count:
            pass
        if "error" in found:
            raise RuntimeError(f"{method}: {found['error']}")
        return found["result"]

    def open(self, address: str, width: int, height: int = 900) -> None:
        """Load an address into a window of this width, in CSS pixels."""
        if self.session is None:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            found = self.call("Target.attachToTarget", targetId=target, flatten=True)
            self.session = found["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=address)
        while self.message().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"], ensure_ascii=False))
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The page as a PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def downloads_to(self, folder: Path) -> None:
        """Save what the page gives for download into a folder."""
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))


def downloaded(folder: Path) -> Path:
    """The one file of a folder, when it is whole."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        found = [path for path in folder.iterdir() if path.suffix == ".csv"]
        if found and found[0].stat().st_size:
            return found[0]
        time.sleep(0.05)
    raise RuntimeError(f"nothing was saved to {folder} in {LONGEST_S} s")


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own; it is gone when the block is left."""
    to_child, writing = os.pipe()
    reading, from_child = os.pipe()

    def as_3_and_4() -> None:
        # first out of the way: 3 and 4 may be among these two
        first, second = os.dup(to_child), os.dup(from_child)
        high = [os.dup2(first, 100), os.dup2(second, 101)]
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    command = [chromium(), *FLAGS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium's sandbox does not start as root
    process = subprocess.Popen(
        [*command, "about:blank"], preexec_fn=as_3_and_4, close_fds=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_child)
    os.close(from_child)
    try:
        page = Page(writing, reading)
        yield page
        page.session = None
        page.call("Browser.close")  # what pages stored is written before it ends
        process.wait(LONGEST_S)
    finally:
        process.kill()
        process.wait()
        os.close(writing)
        os.close(reading)
