"""One HTTPS request for the rest of a file, and what its answer means: wait and ask again, or give this address up."""

from __future__ import annotations

import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

from medseg import __version__

_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Failure(Exception):
    """An attempt that did not give the file."""


class Broken(Failure):
    """This address will not give it: go to the next."""


class Passing(Failure):
    """It may, later. `wait_s` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An open answer.

    Attributes:
        offset: Byte of the file that its body begins with.
        total: Length of the whole file, None where the server does not tell.
        end: Byte of the file after the last that its body has, None where the server does not tell.
        validator: What names this version of the file (a strong ETag); empty where the server has none.
        chunked: Whether the body itself tells where it ends.
        finished: Whether the server says that nothing lies beyond the byte asked for.
    """

    response: http.client.HTTPResponse | None
    offset: int
    total: int | None
    validator: str
    end: int | None = None
    chunked: bool = False
    finished: bool = False

    def read(self, n_bytes: int) -> bytes:
        """What has come, at most so much; empty at the end.

        Raises:
            Passing: When the connection breaks.
        """
        try:
            return self.response.read1(n_bytes) if self.response else b""
        except (OSError, http.client.HTTPException) as error:
            raise Passing(_reason(error)) from error


@contextmanager
def open_url(url: str, *, offset: int, validator: str, timeout_s: float, hosts: frozenset[str]) -> Iterator[Answer]:
    """Ask for a file from a byte on.

    Args:
        url: An https address.
        offset: First byte wanted.
        validator: Version of the file that the bytes before it are of; empty to take any.
        timeout_s: Longest silence.
        hosts: Hosts that may be asked, or redirected to, without TLS.

    Raises:
        Passing: When asking again may help.
        Broken: When it will not.
    """
    _check(url, hosts)
    headers = {"User-Agent": f"medseg/{__version__}", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    opener = urllib.request.build_opener(_CheckedRedirects(hosts))
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and offset:
                yield Answer(response=None, offset=offset, total=_length(error.headers), validator="", finished=True)
                return
        raise _refusal(error) from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            msg = f"its certificate is not trusted ({cause.verify_message})"
            raise Broken(msg) from error
        raise Passing(_reason(error)) from error
    with response:
        yield _answer(response)


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, to https only."""

    def __init__(self, hosts: frozenset[str]) -> None:
        self.hosts = hosts

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        """The request for the new address."""
        _check(newurl, self.hosts, redirected=True)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _check(url: str, hosts: frozenset[str], *, redirected: bool = False) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in hosts):
        return
    how = "redirects to" if redirected else "is"
    msg = f"it {how} {parts.scheme or 'no'}://{parts.hostname or ''}, only https is taken"
    raise Broken(msg)


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers = response.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() not in ("", "identity"):
        msg = f"the file comes encoded as {encoding}, which was not asked for"
        raise Broken(msg)
    if headers.get_content_type() == "text/html" and "Content-Type" in headers:
        msg = "it sent a web page in place of the file"
        raise Broken(msg)
    etag = headers.get("ETag", "")
    validator = "" if etag.startswith("W/") else etag
    chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
        if match is None:
            msg = f"a part came without saying which ({headers.get('Content-Range')!r})"
            raise Broken(msg)
        total = None if match[3] == "*" else int(match[3])
        start, end = int(match[1]), int(match[2]) + 1
        return Answer(response=response, offset=start, total=total, validator=validator, end=end, chunked=chunked)
    if response.status != 200:
        msg = f"it answered {response.status} {response.reason}"
        raise Broken(msg)
    length = headers.get("Content-Length", "")
    total = int(length) if length.isdigit() and not chunked else None
    return Answer(response=response, offset=0, total=total, validator=validator, chunked=chunked)


def _length(headers: Message) -> int | None:
    """The whole length that a 416 tells."""
    match = re.fullmatch(r"bytes \*/(\d+)", str(headers.get("Content-Range", "")).strip())
    return int(match[1]) if match else None


def _refusal(error: urllib.error.HTTPError) -> Failure:
    reason = f"it answered {error.code} {str(error.reason).partition(chr(10))[0]}"
    if error.code in _AGAIN:
        return Passing(reason, _retry_after(error.headers.get("Retry-After")))
    return Broken(reason)


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from seconds or a date (RFC 9110, 10.2.3).

    >>> _retry_after("120"), _retry_after("soon")
    (120.0, None)
    """
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it fell silent"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended early"
    return str(error) or type(error).__name__
