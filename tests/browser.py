"""A headless Chromium, driven over its debugging pipe: the pages are opened in it as a reader would."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Page", "browse", "executable"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def executable() -> str | None:
    """Where a Chromium is, None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page. ``errors`` are what its console complained of, ``requests`` the addresses that it asked for."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back, self.unread, self.number, self.session = to, back, b"", 0, None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            message = self.read()
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]

    def read(self, seconds: float = 60.0) -> dict[str, Any]:
        """The next message; what the page complains of or asks for is kept."""
        end = time.monotonic() + seconds
        while b"\0" not in self.unread:
            if not select.select([self.back], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            self.unread += os.read(self.back, 1 << 20)
        text, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(text)
        method, about = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(about["exceptionDetails"].get("exception", {}).get("description", str(about)))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        return message

    def open(self, path: Path, width: int = 1280, scheme: str = "light", scripts: bool = True) -> None:
        """Open a file at a width, in a colour scheme, with or without scripts."""
        self.errors.clear()
        self.requests.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self.read().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression: str) -> Any:
        """The value of an expression in the page; a promise's is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key, such as Tab (9)."""
        extra = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        extra |= {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **extra)

    def picture(self, path: Path, full: bool = True) -> None:
        """The page as a PNG, all of it or what is in view."""
        screenshot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full, **self.clip(full))
        path.write_bytes(base64.b64decode(screenshot["data"]))

    def clip(self, full: bool) -> dict[str, Any]:
        if not full:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000), "scale": 1}}


@contextmanager
def browse(profile: Path) -> Iterator[Page]:
    """A page in a browser of its own, with its profile in a folder."""
    inside, to = os.pipe()
    back, outside = os.pipe()
    # Chromium reads its commands from 3 and answers on 4; high numbers in between, lest one be overwritten.
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (inside, outside)]
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    pipes = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in zip(high, (3, 4), strict=True)]
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    line = [executable(), *options, "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    process = os.posix_spawn(line[0], line, os.environ, file_actions=[*silence, *pipes])
    for end in (inside, outside, *high):
        os.close(end)
    try:
        yield Page(to, back)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(to)
        os.close(back)
