"""A web server on 127.0.0.1 that misbehaves as told."""

import hashlib
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from medseg.datasets.specs import FileSpec
from medseg.datasets.transfer import Rules


@dataclass
class Site:
    """Files by path, and a list of moods for each: one for each request, the last for all that follow."""

    port: int = 0
    files: dict = field(default_factory=dict)
    moods: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path, content, *moods):
        self.files[path] = content
        self.moods[path] = list(moods) or ["ok"]
        return self.url(path)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def mood(self, path):
        with self.lock:
            moods = self.moods.get(path, ["404"])
            return moods.pop(0) if len(moods) > 1 else moods[0]

    def bodies(self, path):
        return [(asked, status) for place, asked, status in self.asked if place == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, path = self.site, self.path
        name, _, value = site.mood(path).partition(":")
        asked = self.headers.get("Range")
        site.asked.append((path, asked, name))
        self.close_connection = True
        getattr(self, f"_{name}", self._status)(site.files.get(path, b""), value or name)

    def _answer(self, status, headers, body):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _part(self, content):
        """Status, headers and body for the range asked for."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        asked = self.headers.get("Range")
        if not asked or self.headers.get("If-Range", tag) != tag:
            return 200, {"Content-Length": len(content), "ETag": tag}, content
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0}, b""
        body = content[start:]
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, {"Content-Length": len(body), "Content-Range": span, "ETag": tag}, body

    def _ok(self, content, _):
        self._answer(*self._part(content))

    def _norange(self, content, _):
        self._answer(200, {"Content-Length": len(content)}, content)

    def _cut(self, content, value):
        status, headers, body = self._part(content)
        self._answer(status, headers, body[: int(value) % (len(body) + 1)])

    def _corrupt(self, content, value):
        broken = bytearray(content)
        if broken:
            broken[int(value) % len(broken)] ^= 0x40
        self._answer(*self._part(bytes(broken)))

    def _longer(self, content, value):
        self._answer(*self._part(content + b"x" * (1 + int(value) % 50)))

    def _shorter(self, content, value):
        self._answer(*self._part(content[: int(value) % max(1, len(content))]))

    def _lying(self, content, value):
        """Another body than the announced length and range say."""
        status, headers, body = self._part(content)
        self._answer(status, headers, body + b"more than was announced")

    def _wrongpart(self, content, value):
        """The bytes after another one than was asked for."""
        status, headers, body = self._part(content)
        if status == 206 and len(body) > 1:
            body = body[1:]
            span = f"bytes {len(content) - len(body)}-{len(content) - 1}/{len(content)}"
            headers |= {"Content-Range": span, "Content-Length": len(body)}
        self._answer(status, headers, body)

    def _endless(self, content, _):
        """Neither a length nor chunks: only the end of the connection tells the end."""
        self._answer(200, {}, content)

    def _star(self, content, value):
        """A part that does not tell how long the whole is, cut; the whole where no part is asked for."""
        status, headers, body = self._part(content)
        headers["Content-Range"] = headers.get("Content-Range", "").rpartition("/")[0] + "/*"
        self._answer(status, headers, body[: int(value)])

    def _page(self, content, _):
        self._answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": 5}, b"login")

    def _chunked(self, content, value):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content) if content else b"")
        if value != "cut":
            self.wfile.write(b"0\r\n\r\n")

    def _gzip(self, content, _):
        self._answer(200, {"Content-Length": len(content), "Content-Encoding": "gzip"}, content)

    def _busy(self, content, value):
        self._answer(429, {"Retry-After": value, "Content-Length": 0}, b"")

    def _redirect(self, content, value):
        self._answer(302, {"Location": value, "Content-Length": 0}, b"")

    def _drip(self, content, _):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for index in range(40):
            try:
                self.wfile.write(content[index : index + 1])
                self.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    def _silent(self, content, _):
        time.sleep(0.35)

    def _status(self, content, value):
        self._answer(int(value), {"Content-Length": 0}, b"")


@contextmanager
def serving():
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # clients hang up on purpose
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def site_of_the_session():
    with serving() as site:
        yield site


@pytest.fixture
def site(site_of_the_session):
    site_of_the_session.asked.clear()
    return site_of_the_session


@pytest.fixture
def waits():
    return []


@pytest.fixture
def rules(waits):
    """Impatient, and with 127.0.0.1 allowed without TLS."""
    return Rules(
        attempts=4,
        timeout_s=0.25,
        slow_window_s=0.1,
        slowest_bytes_per_s=5000,
        progress_bytes=5000,
        spare_bytes=0,
        plain_http_hosts=frozenset({"127.0.0.1"}),
        wait=waits.append,
    )


@pytest.fixture
def spec_of():
    """The FileSpec of a content at some addresses."""

    def make(content, *urls, name="scan.bin", checksum="md5", length=True, **facts):
        digest = f"{checksum}:{hashlib.new(checksum, content).hexdigest()}" if checksum else None
        return FileSpec(name=name, urls=urls, n_bytes=len(content) if length else None, checksum=digest, **facts)

    return make
