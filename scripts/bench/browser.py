"""A headless Chromium for pages of this project, over the pipe of its own debugging protocol.

Only what tests and measurements of a page need: open it, click and type as a person does, ask the
page, take a picture. The usual libraries bring 130 MB and a Node for it. Chromium comes from the
system; `install` asks Debian's package manager for it.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Seconds until a page is given up, and the codes of the keys that tests press
PATIENCE = 30
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37,
        "ArrowRight": 39}  # fmt: skip
FLAGS = ("--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe")  # fmt: skip


class Unavailable(Exception):
    """There is no Chromium here; the message says why."""


def find() -> str:
    """The program, installed if it is not there and this is root's machine."""
    if program := next(filter(None, map(shutil.which, PROGRAMS)), None):
        return program
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"none of {', '.join(PROGRAMS)} is installed, and only root can do that")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", "chromium"]):
        done = subprocess.run(["apt-get", *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"apt-get {words[0]} failed: {done.stderr.strip()[-300:]}")
    return find()


class Page:
    """One tab. What the page throws, refuses or asks of the network is in `said` and `asked`."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = os.fdopen(reading, "rb"), writing
        self.number, self.session, self.rest = 0, "", b""
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Performance.enable", timeDomain="threadTicks")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come before it are noted."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.note(answer)

    def receive(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self.rest:
            more = self.reading.read1(1 << 20)
            if not more:
                raise RuntimeError("Chromium ended")
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def note(self, event: dict[str, Any]) -> None:
        """Keep what a page should not do."""
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"].get("exception", params)))
        elif method == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.asked += [url for url in [params["request"]["url"]] if not url.startswith("data:")]

    def look(self, width: int, height: int, dark: bool = False, mobile: bool = False) -> None:
        """Set the size of the window, whether it is a phone's, and what the user likes to see."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path, ready: str) -> None:
        """Open a file and wait until it is loaded and a selector is there."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.ask(
            f"new Promise((done, late) => {{ const end = Date.now() + {PATIENCE * 1000};"
            "const look = () => document.readyState === 'complete'"
            f" && document.querySelector({json.dumps(ready)}) ? done()"
            " : Date.now() > end ? late('not ready') : setTimeout(look, 5); look(); })"
        )

    def ask(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page, promises awaited."""
        options = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        found = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression[:80]}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press the mouse on the first element of a selector, where a person would."""
        x, y = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left + Math.min(b.width / 2, 40), b.top + Math.min(b.height / 2, 12)]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def press(self, key: str) -> None:
        """Press a key of KEYS."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)
        self.settle()

    def settle(self) -> None:
        """Wait until what was clicked is drawn."""
        self.ask("new Promise(d => setTimeout(() => requestAnimationFrame(() => d()), 30))")

    def cpu_ms(self) -> float:
        """Milliseconds of CPU that the page's main thread has used so far."""
        metrics = self.call("Performance.getMetrics")["metrics"]
        return 1000 * next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    def download(self, expression: str, folder: Path) -> Path:
        """The one file that the page gives when an expression is run, saved to an empty folder."""
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.ask(expression)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = [path for path in folder.iterdir() if path.suffix != ".crdownload"]
            if found and found[0].stat().st_size:
                return found[0]
            time.sleep(0.05)
        raise RuntimeError(f"nothing was saved to {folder} in {PATIENCE} s")

    def picture(self, path: Path) -> None:
        """Write a PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def opened(profile: Path | None = None) -> Iterator[Page]:
    """A tab of a browser that ends with the block; without a profile's folder it keeps nothing."""
    program = find()
    to_read, to_write = os.pipe(), os.pipe()
    # away from 3 and 4, which the browser reads and writes
    inside = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read[0], to_write[1])]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as passing:
        words = [program, *FLAGS, f"--user-data-dir={profile or passing}"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        wrapped = ["bash", "-c", f'exec "$@" 3<&{inside[0]} 4>&{inside[1]}', "browser", *words]
        process = subprocess.Popen(
            wrapped, pass_fds=inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for fd in (to_read[0], to_write[1], *inside):
            os.close(fd)
        try:
            page = Page(to_write[0], to_read[1])
            yield page
            page.session = ""
            page.call("Browser.close")  # what pages stored is written before it ends
            process.wait(PATIENCE)
        finally:
            process.terminate()
            process.wait(PATIENCE)
            os.close(to_read[1])
