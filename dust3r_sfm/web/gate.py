"""Who may talk to the server: the right Host, no posts from other sites, and the token where it listens to others."""

import ipaddress
import secrets
import socket
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READS = ("GET", "HEAD")
"""Methods that change nothing."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of the page: nothing from outside, no script but its own."""

DOCUMENT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src data: blob:; worker-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of reports and 3-D views: they hold all they need, and are strangers to the page that shows them."""


class Gate:
    """Passes on what may pass.

    Args:
        app: behind the gate.
        host: that the server listens on.
        token: asked of everybody, once, in the address; then a cookie has it. None: the machine's users may all in.
        cookie: its name.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, cookie: str) -> None:
        self._app, self._host, self._token, self._cookie = app, host, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = self._answer(scope)
            await (answer or self._app)(scope, receive, _with_headers(send))

    def _answer(self, scope: Scope) -> Response | None:
        """What is said instead of passing on."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_known_host(host, self._host):
            return _no("This server does not answer to that name; use the address that it printed.", 421)
        if scope["method"] not in _READS and not _is_own_site(headers, host):
            return _no("Another site may not do that.", 403)
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] == "GET" and scope["path"] == "/" and self._is_token(given):
            entry = RedirectResponse("/", 303)
            entry.set_cookie(self._cookie, given, httponly=True, samesite="strict")
            return entry
        kept = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        if kept is None or not self._is_token(kept.value):
            return _no("Open the whole address that the server printed, with its token.", 403)
        return None

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), (self._token or "").encode())


def is_known_host(header: str, bound: str) -> bool:
    """Whether a Host header names this machine as those who may come here do.

    A page of another site reaches this machine only under a name of its own (DNS rebinding), never under an IP address
    or this machine's name.

    Args:
        header: the Host header.
        bound: the address that the server listens on.
    """
    try:
        name = (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return False
    if name == "localhost":
        return True
    if is_loopback(bound):
        return is_loopback(name)
    return _is_address(name) or name in {bound.lower(), *_own_names()}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name.split('.')[0]}.local"}


def _is_own_site(headers: Headers, host: str) -> bool:
    """Browsers say which site a request is from; other programs need not."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _no(sentence: str, status: int) -> Response:
    return JSONResponse({"sentence": sentence}, status)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in (_HEADERS | {"Content-Security-Policy": PAGE_POLICY}).items():
                headers.setdefault(name, value)
        await send(message)

    return sending
