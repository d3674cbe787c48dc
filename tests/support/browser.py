"""Headless Chromium as a user has it, driven over two pipes (the DevTools protocol).

`Chromium` is one browser with its profile; `Chromium.tab` opens a page. What a tab does is
typed and clicked as by hand: scripts of pages can be turned off (`Tab.without_scripts`).

Messages are JSON with a NUL byte after each, over `--remote-debugging-pipe`: see
https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

from tests.support.certs import pki
from tests.support.child import PATIENCE_SECONDS, Child, NotInTime, program, temporary

#: Waits while Chromium starts or shows a page on a busy machine.
PAGE_SECONDS = 2 * PATIENCE_SECONDS

_SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--remote-debugging-pipe"),
    "--window-size=900,1000",
)

#: Puts two pipes where Chromium looks for them.
_PIPES = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)


class Chromium:
    """One browser.

    Args:
        hosts: name to the port of 127.0.0.1 where it is, or "*.name"; every other name leads
            nowhere.
        trust: whose certificates it believes, PEM; None: it takes any, and then it never uses a
            connection for a second name, as it does where it believes one.
        own: certificate and key of its user, PEM, which it shows wherever it is asked for one
            and that takes it; only with *trust*.
    """

    def __init__(
        self,
        hosts: Mapping[str, int],
        trust: Path | None = None,
        own: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder = temporary("chromium")
        if trust is not None:
            self._believe(trust)
        if own is not None:
            self._be(*own)
        careless = () if trust is not None else ("--ignore-certificate-errors",)
        rules = [f"MAP {name} 127.0.0.1:{port}" for name, port in hosts.items()]
        rules.append("MAP * ~NOTFOUND")
        ours, theirs = _pair(), _pair()
        self._out, self._in = ours[1], theirs[0]
        self._buffer = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []
        self.child = Child(
            [
                *(sys.executable, "-c", _PIPES, str(ours[0]), str(theirs[1])),
                program("chromium", "chromium"),
                *_SWITCHES,
                *careless,
                f"--user-data-dir={self.folder / 'profile'}",
                f"--host-resolver-rules={','.join(rules)}",
            ],
            self.folder / "log",
            env={"HOME": str(self.folder)},
            inherit=(ours[0], theirs[1]),
        )
        os.close(ours[0])
        os.close(theirs[1])

    def _believe(self, trust: Path) -> None:
        """Put a CA where Chromium looks for those of its user."""
        store = self.folder / ".pki" / "nssdb"
        store.mkdir(parents=True)
        for words in (("-N", "--empty-password"), ("-A", "-t", "C,,", "-n", "ca", "-i", trust)):
            run = (program("certutil", "libnss3-tools"), "-d", f"sql:{store}", *words)
            subprocess.run(run, check=True, timeout=PATIENCE_SECONDS)

    def _be(self, certificate: Path, key: Path) -> None:
        """Put the user's own certificate beside it, and choose it as a person would click."""
        both = self.folder / "own.p12"
        words = ("-export", "-in", certificate, "-inkey", key, "-out", both, "-passout", "pass:x")
        made = (program("openssl", "openssl"), "pkcs12", *words)
        subprocess.run(made, check=True, timeout=PATIENCE_SECONDS)
        store = f"sql:{self.folder / '.pki' / 'nssdb'}"
        run = (program("pk12util", "libnss3-tools"), "-i", both, "-W", "x", "-K", "", "-d", store)
        subprocess.run(run, check=True, timeout=PATIENCE_SECONDS, stdout=subprocess.DEVNULL)
        chosen: dict[str, Any] = {"https://*,*": {"setting": {"filters": [{}]}}}
        exceptions = {"auto_select_certificate": chosen}
        preferences = self.folder / "profile" / "Default" / "Preferences"
        preferences.parent.mkdir(parents=True)
        preferences.write_text(
            json.dumps({"profile": {"content_settings": {"exceptions": exceptions}}})
        )

    def stop(self) -> None:
        """End it and remove its profile."""
        self.child.stop(seconds=5)
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tab(self) -> Tab:
        """Open an empty page."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        made = Tab(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            made.ask(f"{domain}.enable")
        return made

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Give the result of one command."""
        self._last += 1
        number = self._last
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PAGE_SECONDS
        while True:
            said = self._next(end, method)
            if said.get("id") == number:
                assert "error" not in said, f"{method}: {said['error']}"
                found: dict[str, Any] = said["result"]
                return found
            self.events.append(said)

    def until(self, there: Callable[[], object], what: str) -> None:
        """Take events until *there()* is true."""
        end = time.monotonic() + PAGE_SECONDS
        while not there():
            self.events.append(self._next(end, what))

    def _next(self, end: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise NotInTime(f"Chromium: {what}\n{self.child.tail()}")
            data = os.read(self._in, 1 << 16)
            assert data, f"Chromium has ended: {what}\n{self.child.tail()}"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Tab:
    """One page of a browser."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give the result of one command to this page."""
        return self._browser.ask(method, self._session, **parameters)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What this page has told of, so far."""
        return [
            event["params"]
            for event in self._browser.events
            if event.get("method") == method and event.get("sessionId") == self._session
        ]

    def without_scripts(self) -> None:
        """From now on pages run nothing."""
        self.ask("Emulation.setScriptExecutionDisabled", value=True)

    def go(self, url: str) -> None:
        """Type an address."""
        self._loading(lambda: self.ask("Page.navigate", url=url))

    def js(self, expression: str) -> Any:
        """What *expression* gives in the page, after waiting for a promise."""
        said = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    @property
    def text(self) -> str:
        """What is read on the page."""
        return " ".join(str(self.js("document.body.innerText")).split())

    @property
    def path(self) -> str:
        """Where it is."""
        return str(self.js("location.pathname + location.search"))

    def shot(self, file: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Keep a picture of the page as a screen of that size shows it."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        taken = self.ask("Page.captureScreenshot", format="png")["data"]
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(base64.b64decode(taken))

    def key(self, key: str) -> None:
        """Press a key, as on a keyboard."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode=code,
            )

    def loading(self, act: Callable[[], object]) -> None:
        """Do what loads a page, and wait until it is there."""
        self._loading(act)

    def type(self, selector: str, text: str) -> None:
        """Fill in a field."""
        self._await(selector)
        self.js(f"document.querySelector({selector!r}).focus()")
        self.ask("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click on something that leads to another page."""
        self._await(selector)
        box = self.js(
            f"(() => {{const e = document.querySelector({selector!r}); e.scrollIntoView();"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]})()"
        )
        self._loading(partial(self._press, *box))

    def _press(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _await(self, selector: str) -> None:
        """Wait until it is there: a load that is heard of may be the page's before."""
        self._browser.until(
            lambda: bool(self.js(f"!!document.querySelector({selector!r})")), f"there is {selector}"
        )

    def _loading(self, act: Callable[[], object]) -> None:
        """Do what loads a page, and wait until it is there."""
        before = len(self.events("Page.loadEventFired"))
        act()
        self._browser.until(
            lambda: len(self.events("Page.loadEventFired")) > before, "a page is loaded"
        )


def _pair() -> tuple[int, int]:
    """A pipe whose ends are not where Chromium expects its own."""
    found = []
    for end in os.pipe():
        found.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return found[0], found[1]


class ForeignSite:
    """Somebody else's web server, over TLS: one page at every address."""

    def __init__(self, page: str) -> None:
        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = page.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        pair = pki().keypair("server")
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert_file, pair.key_file)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_SECONDS)
