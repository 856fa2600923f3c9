"""A headless Chromium driven over its debugging pipe, with the standard library alone: what a page looks like, asked of a real browser."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
]  # fmt: skip


class Chromium:
    """`with Chromium() as browser: browser.open(path, width=360)`; console holds what the page complained of."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp()
        (theirs, self.send), (self.receive, back) = os.pipe(), os.pipe()

        def wire():  # Chromium reads commands from descriptor 3 and answers on 4; both may be in use, so by way of high numbers
            os.dup2(theirs, 103)
            os.dup2(back, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        command = [PROGRAM, *OPTIONS, f"--user-data-dir={self.folder}", "about:blank"]
        self.process = subprocess.Popen(
            command, preexec_fn=wire, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(back)
        self.stream, self.count, self.console, self.requests, self.loaded = b"", 0, [], [], False
        self.session = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *failure):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.send)
        os.close(self.receive)
        shutil.rmtree(self.folder, ignore_errors=True)

    def message(self):
        """The next message from the browser."""
        while b"\0" not in self.stream:
            more = os.read(self.receive, 1 << 16)
            if not more:
                raise ConnectionError("Chromium has gone")
            self.stream += more
        text, _, self.stream = self.stream.partition(b"\0")
        return json.loads(text)

    def call(self, method, **params):
        """One command, and its result; events that arrive in between are looked at."""
        self.count += 1
        command = {"id": self.count, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.send, json.dumps(command).encode() + b"\0")
        while (answer := self.message()).get("id") != self.count:
            self.event(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def event(self, message):
        """Complaints and requests are kept."""
        method, params = message.get("method"), message.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.console.append(json.dumps(params))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, path, *, width=1400, height=900, dark=False, phone=False):
        """Load a file in a window of this width, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", media="", features=scheme)
        self.loaded = False
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        while not self.loaded:
            self.event(self.message())

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, path, top=0, height=None, width=None):
        """A picture of the page from `top` on, in CSS pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": top, "width": width or size["width"], "height": height or size["height"] - top, "scale": 1}
        found = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path):
        """The page as it is printed, on A4."""
        found = self.call("Page.printToPDF", preferCSSPageSize=False, paperWidth=8.27, paperHeight=11.69)
        Path(path).write_bytes(base64.b64decode(found["data"]))
