"""The server of the explorer: on this machine alone, unless another address is given."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nicegui import app, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

from hebae.errors import HebaeError
from hebae.explorer.page import Page
from hebae.explorer.runs import ExploredRun
from hebae.explorer.uploads import MOST_BYTES, Reader
from hebae.explorer.views import has_images

_HEADERS = 2**16
"""Bytes of an upload besides its files."""


class UploadLimit:
    """Refuses a request whose body is larger than an upload may be, before it is read."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it with 411 or 413."""
        if scope["type"] == "http" and "/upload/" in scope["path"] and scope["method"] == "POST":
            headers = dict(scope["headers"])
            length = headers.get(b"content-length", b"")
            if not length.isdigit():
                await PlainTextResponse("no length is given", 411)(scope, receive, send)
                return
            if int(length) > MOST_BYTES + _HEADERS:
                await PlainTextResponse("the upload is too large", 413)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def require_free(host: str, port: int) -> None:
    """Refuse an address that cannot be used."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HebaeError(
                f"port {port} of {host} is in use, perhaps by another hebae explore; give another "
                f"one, such as --port {port + 1 if port < 65535 else port - 1}."
            ) from None
        reason = error.strerror or str(error)
        raise HebaeError(
            f"the page cannot be served at --host {host} --port {port} ({reason}); use --host "
            "127.0.0.1 for this machine alone, 0.0.0.0 for all of its addresses, and a port from "
            "1024."
        ) from None


def serve(
    runs: Sequence[ExploredRun],
    readers: Sequence[Reader],
    *,
    host: str,
    port: int,
    browser: bool,
    folder: Path,
) -> None:
    """Serve the page until the process is interrupted.

    Parameters
    ----------
    runs, readers : as of `Page`
    host, port : where to listen
    browser : bool
        Whether to open a browser.
    folder : Path
        Where selections are saved; only if the page is for this machine alone.
    """
    for run in runs:  # before the first visit
        _ = run.axes, None if has_images(run) else run.scale
    local = is_local(host)
    if local and ":" not in host:  # no page of another site reaches this one by a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", host])
    app.add_middleware(UploadLimit)
    ui.run(
        root=lambda: Page(runs, readers, folder if local else None).build(),
        host=host,
        port=port,
        title="hebae explore",
        favicon="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>",
        show=browser,
        reload=False,
        dark=None,
        show_welcome_message=False,
    )
