"""A headless Chromium, controlled over two pipes.

The protocol is JSON with a zero byte after each message, https://chromedevtools.github.io.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 60
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """The program that CHROMIUM names, or one on the path."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class Page:
    """One tab."""

    def __init__(self, reads: int, writes: int) -> None:
        self.reads, self.writes, self.rest = reads, writes, b""
        self.session, self.number = "", 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that arrive before it are stored."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            response = self._next()
            if response.get("id") == self.number:
                assert "error" not in response, response
                result: dict[str, Any] = response["result"]
                return result
            self.events.append(response)

    def open(self, path: Path, *, width: int, scheme: str = "light") -> None:
        """Show a file in a window of this many CSS pixels, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value_of(self, expression: str) -> Any:
        """Evaluate JavaScript, not restricted by the content policy of the page."""
        response = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return response["result"].get("value")

    def requests(self) -> list[str]:
        """The addresses requested since the page was opened, without embedded data."""
        sent = [
            event for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def console_messages(self) -> list[str]:
        """What the console shows: errors, warnings, violations of the content policy."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [
            json.dumps(event["params"]) for event in self.events if event.get("method") in kinds
        ]

    def screenshot(self, path: Path) -> None:
        """Save the whole page as PNG."""
        response = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(response["data"]))

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium did not respond for {TIMEOUT_S} s"
            chunk = os.read(self.reads, 1 << 20)
            assert chunk, "Chromium has ended"
            self.rest += chunk
        message, _, self.rest = self.rest.partition(b"\0")
        response: dict[str, Any] = json.loads(message)
        return response


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with its own profile, and stop it afterwards."""
    (its_reads, our_writes), (our_reads, its_writes) = os.pipe(), os.pipe()
    flags = [*_FLAGS, f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")  # the sandbox refuses to be run by root
    script = f'exec "$@" 3<&{its_reads} 4>&{its_writes}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", program, *flags],
        pass_fds=(its_reads, its_writes),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(its_reads)
    os.close(its_writes)
    try:
        yield Page(our_reads, our_writes)
    finally:
        process.terminate()
        process.wait(timeout=TIMEOUT_S)
        os.close(our_reads)
        os.close(our_writes)
