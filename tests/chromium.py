"""A real browser for tests: Debian's Chromium without a window, spoken to over a pair of pipes, by the standard library."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0


def find() -> str:
    """Give the path of Chromium, or skip, aloud."""
    named = os.environ.get("PRESTOW_TEST_CHROMIUM") or shutil.which("chromium")
    if not named or not Path(named).exists():
        pytest.skip("no browser: set PRESTOW_TEST_CHROMIUM, or apt-get install chromium")
    return named


class Browser:
    """One page of a browser, over the DevTools protocol: messages of JSON that end with a zero."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self.process, self.to, self.back = process, to, back
        self.events: list[dict[str, Any]] = []
        self._rest, self._number, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something, and give the answer; what else is told meanwhile goes to ``events``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.back], [], [], max(until - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            data = os.read(self.back, 1 << 20)
            assert data, "the browser went away"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path) -> None:
        """Open a file, and wait until it is there."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while self.js("document.readyState") != "complete" or self.js("location.href") == "about:blank":
            time.sleep(0.02)

    def js(self, expression: str) -> Any:
        """Give what an expression comes to, as plain values."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def key(self, key: str, text: str = "", code: int = 0) -> None:
        """Press a key, as a keyboard does."""
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.call("Input.dispatchKeyEvent", type="keyDown", **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a mouse does."""
        x, y = self.js(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def media(self, **features: str) -> None:
        """Pretend media features, such as a dark screen."""
        given = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media="", features=given)

    def pdf(self) -> bytes:
        """Print."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])

    def fetched(self) -> list[str]:
        """Give what was asked of any network or file since the page was opened."""
        return [
            e["params"]["request"]["url"]
            for e in self.events
            if e.get("method") == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """Give what the page's script threw, and what the browser refused it."""
        thrown = [
            json.dumps(e["params"]) for e in self.events if e.get("method") == "Runtime.exceptionThrown"
        ]
        return thrown + [
            e["params"]["entry"]["text"] for e in self.events if e.get("method") == "Log.entryAdded"
        ]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, until the end of the block; skip, aloud, where there is none."""
    program = find()
    ours, theirs = os.pipe(), os.pipe()  # it reads 3 and writes 4

    def place() -> None:
        low, high = os.dup(ours[0]), os.dup(theirs[1])
        os.dup2(low, 3)
        os.dup2(high, 4)

    with tempfile.TemporaryDirectory(prefix="prestow-browser-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            close_fds=False, preexec_fn=place, start_new_session=True,
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        try:
            found = Browser(process, ours[1], theirs[0])
            yield found
            found._session = ""
            os.write(found.to, json.dumps({"id": 10**9, "method": "Browser.close"}).encode() + b"\0")
            process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(ours[1])
            os.close(theirs[0])
