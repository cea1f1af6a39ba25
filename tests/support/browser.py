"""A headless Chromium driven over its DevTools pipe: no driver, no package, no network."""

from __future__ import annotations

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

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {"ArrowDown": 40, "ArrowUp": 38, "ArrowRight": 39, "End": 35, "Enter": 13, "Tab": 9}


class Browser:
    """One tab: sends commands of the DevTools protocol and keeps the events that come meanwhile."""

    def __init__(self, reader: int, writer: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._reader, self._writer = reader, writer
        self._buffer, self._last, self._session = b"", 0, ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends one command and gives its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, width: int, *, scripts: bool = True, height: int = 900) -> None:
        """Shows a file in a window of this many CSS pixels and waits until it is loaded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self("Page.navigate", url=page.resolve().as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._read())

    def js(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name: str) -> None:
        """Presses a key."""
        pressed = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS[name]}
        text = {"text": "\r"} if name == "Enter" else {}
        self("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        self("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def point(self, selector: str) -> dict[str, float]:
        """Where the middle of an element is, after scrolling it into view."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{element}.scrollIntoView({{block: 'center'}})")
        box = self.js(f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
                      f"({element}.getBoundingClientRect())")  # fmt: skip
        return {"x": box[0], "y": box[1]}

    def click(self, selector: str) -> None:
        """Clicks into the middle of an element."""
        place = self.point(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def wheel(self, selector: str, pixels: int) -> None:
        """Turns the wheel over an element; positive is downwards."""
        place = self.point(selector)
        self("Input.dispatchMouseEvent", type="mouseWheel", deltaX=0, deltaY=pixels, **place)

    def faults(self) -> list[str]:
        """Console errors and warnings, exceptions, and requests for anything but the page."""
        self.js("1")
        found = []
        for event in self.events:
            method, parameters = event.get("method", ""), event.get("params", {})
            if method == "Network.requestWillBeSent":
                url = parameters["request"]["url"]
                if not url.startswith(("file:", "data:")) or parameters["type"] == "Script":
                    found.append(f"request for {url}")
            elif method in ("Runtime.exceptionThrown", "Log.entryAdded") or (
                method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning")
            ):
                found.append(json.dumps(parameters)[:500])
        return found

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Writes what the window shows, or the whole page, as PNG."""
        picture = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._reader, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(folder: Path) -> Iterator[Browser | None]:
    """A browser with its profile in `folder`; None where the machine has none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        yield None
        return
    to_child, writer = os.pipe()
    reader, from_child = os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4.
    wrapper = f'exec "$@" 3<&{to_child} 4>&{from_child}'
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", "--disable-extensions",
             f"--user-data-dir={folder}", "--remote-debugging-pipe"]  # fmt: skip
    process = subprocess.Popen(
        ["bash", "-c", wrapper, "bash", program, *flags], pass_fds=(to_child, from_child),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(to_child)
    os.close(from_child)
    try:
        yield Browser(reader, writer)
    finally:
        os.close(writer)
        os.close(reader)
        process.terminate()
        process.wait(timeout=20)
        time.sleep(0.1)
