"""A headless Chromium, spoken to over two pipes: what a page does, and what it looks like.

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

PATIENCE_S = 60
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
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; events on the way are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, path: Path, *, width: int, scheme: str = "light") -> None:
        """Show a file in a window of this many CSS pixels, light or dark."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while not any(each.get("method") == "Page.loadEventFired" for each in self.events):
            self.events.append(self._next())

    def value_of(self, expression: str) -> Any:
        """Evaluate JavaScript, from outside of the page and its policy."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """The addresses asked for since the page was opened; what it holds itself is none."""
        sent = [each for each in self.events if each.get("method") == "Network.requestWillBeSent"]
        addresses = [each["params"]["request"]["url"] for each in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def complaints(self) -> list[str]:
        """What the console shows: errors, warnings, violations of the policy."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [json.dumps(each["params"]) for each in self.events if each.get("method") in kinds]

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        answer = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.reads], [], [], max(0, end - time.monotonic()))
            assert ready, f"Chromium has said nothing for {PATIENCE_S} s"
            piece = os.read(self.reads, 1 << 20)
            assert piece, "Chromium has ended"
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own; it is gone afterwards."""
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
        process.wait(timeout=PATIENCE_S)
        os.close(our_reads)
        os.close(our_writes)
