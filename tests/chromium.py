"""A headless Chromium, driven over its DevTools protocol: what a page looks like to it, and what it complains about."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
)  # fmt: skip
STARTS_WITHIN_S = 30
FIGURES = """
[...document.querySelectorAll("figure")].map(figure => {
  const drawn = figure.querySelector("svg").getBoundingClientRect()
  return {width: drawn.width, height: drawn.height, title: figure.querySelector("title").textContent,
          caption: figure.querySelector("figcaption").textContent, left: drawn.left, right: drawn.right}
})"""
COLORS = "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"


@dataclass(frozen=True)
class Seen:
    """A page in a window of some width.

    Args:
        complaints: of the console, and exceptions.
        requests: addresses it asked for, the page itself left out.
        figures: width, height, left and right in pixels, title and caption of each.
        width: of all there is, in pixels.
        colors: of text and of what is behind it.
    """

    complaints: list[str]
    requests: list[str]
    figures: list[dict[str, Any]]
    width: int
    colors: list[str]


class Chromium:
    """A browser with one window."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number, self._events = socket, 0, []  # type: ignore[var-annotated]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to one call; what happens meanwhile is kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._events.append(message)

    def look(self, page: Path, width: int, dark: bool) -> Seen:
        """Open a page in a window so wide, in light or dark, and return what is there when it has loaded."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 500
        )
        self._events = []
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self._value("document.readyState") != "complete":
            time.sleep(0.05)
        figures, shown = self._value(FIGURES), self._value("document.documentElement.scrollWidth")
        colors = self._value(COLORS)
        requests = [m["params"]["request"]["url"] for m in self._events if m["method"] == "Network.requestWillBeSent"]
        return Seen(
            [json.dumps(m["params"]) for m in self._events if m["method"] in COMPLAINTS],
            [address for address in requests if address != page.resolve().as_uri() and not address.startswith("data:")],
            figures,
            shown,
            colors,
        )

    def _value(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]


COMPLAINTS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Give a browser, or skip the test with the reason."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no Chromium here: install one of {', '.join(NAMES)}")
    websocket = pytest.importorskip("websocket")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [program, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(folder) / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=STARTS_WITHIN_S) as answer:
                (window, *_) = [target for target in json.load(answer) if target["type"] == "page"]
            socket = websocket.create_connection(
                window["webSocketDebuggerUrl"], timeout=STARTS_WITHIN_S, suppress_origin=True
            )
            yield Chromium(socket)
            socket.close()
        finally:
            running.terminate()
            running.wait(STARTS_WITHIN_S)


def _port(file: Path) -> int:
    """Return the port that a browser writes down when it listens."""
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        if file.is_file() and (lines := file.read_text().split(os.linesep)) and lines[0]:
            return int(lines[0])
        time.sleep(0.05)
    pytest.fail("Chromium did not start")
