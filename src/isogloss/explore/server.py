"""A page on this machine alone: loopback, a secret address, questions and no orders.

What could go wrong, and what stands against it: another machine (the socket is bound to 127.0.0.1), another user or a
web page of this machine (a random token begins every address), a name that was made to point here (``Host`` must be
ours), writing (GET and HEAD alone, and no code here writes), paths (files come from a fixed table of names, never from
the address), scripts in the data (answers are JSON with ``nosniff``; the page sets text, never markup, and its policy
allows no script but its own).
"""

from __future__ import annotations

import inspect
import json
import logging
import secrets
import sys
import webbrowser
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from isogloss.arguments import Port, checked
from isogloss.errors import IsoglossError, UsageError, unknown
from isogloss.explore.views import Views
from isogloss.plots import chart_config, concept_map, depth_curves
from isogloss.report.page import FONT, bare, bundle

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
QUESTIONS = (
    *("overview", "aligned", "shared", "map", "concept", "occurrences", "search", "word", "follow", "trace"),
    *("score", "depth"),
)
_FILES = {
    "": ("isogloss.explore", "page.html", "text/html"),
    "explore.css": ("isogloss.explore", "explore.css", "text/css"),
    "explore.js": ("isogloss.explore", "explore.js", "text/javascript"),
    "panels.js": ("isogloss.explore", "panels.js", "text/javascript"),
    "common.css": ("isogloss.report", "common.css", "text/css"),
    "common.js": ("isogloss.report", "common.js", "text/javascript"),
    "figures.js": ("isogloss.report", "figures.js", "text/javascript"),
}
_MAX_ADDRESS = 4096
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Explorer:
    """The server of one study; `address`, which holds the token, is what to open in a browser."""

    def __init__(self, views: Views, *, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        self._server = _Server((HOST, port), partial(_Handler, views, self.token))
        self.port = int(self._server.server_address[1])
        self.address = f"http://{HOST}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer until interrupted."""
        try:
            self._server.serve_forever(poll_interval=0.2)
        finally:
            self._server.server_close()

    def stop(self) -> None:
        """End `serve` in another thread."""
        self._server.shutdown()


@checked
def explore_study(folder: str | Path, *, port: Port = 0, browser: bool = True) -> None:
    """Show a finished study as a local page until interrupted.

    Parameters
    ----------
    folder : str or Path
        A study folder with results.  Nothing is written to it.
    port : int
        0: any free one.
    browser : bool
        Open the page.

    Raises
    ------
    InputError
        If the folder has no finished study.
    UsageError
        If the port is taken.
    """
    explorer = open_explorer(folder, port=port)
    log.info("Exploring %s at %s (Ctrl-C ends it)", folder, explorer.address)
    if browser:
        webbrowser.open(explorer.address)
    explorer.serve()


@checked
def open_explorer(folder: str | Path, *, port: Port = 0) -> Explorer:
    """Return the server of a study, listening and not yet answering."""
    from isogloss.study import open_study

    views = Views(open_study(folder))
    try:
        return Explorer(views, port=port)
    except OSError as error:
        raise UsageError(
            f"Port {port} of {HOST} cannot be used: {error.strerror}. Give another with --port, or none."
        ) from None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # a page that no longer waits for its answer is no error
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "isogloss", ""
    timeout = 60

    def __init__(self, views: Views, token: str, *args: Any) -> None:
        self.views, self.token = views, token
        super().__init__(*args)

    def do_GET(self) -> None:
        if len(self.path) > _MAX_ADDRESS:
            self._send(HTTPStatus.REQUEST_URI_TOO_LONG, "The address is too long.")
            return
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._send(HTTPStatus.FORBIDDEN, "This page is for this machine alone.")
            return
        address = urlsplit(self.path)
        _, token, *rest = [*address.path.split("/", 2), ""]
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            self._send(HTTPStatus.NOT_FOUND, "There is nothing here. Open the address that isogloss explore printed.")
            return
        name = rest[0]
        if name.startswith("api/"):
            self._question(name.removeprefix("api/"), address.query)
        elif name == "vega.js":
            self._send(HTTPStatus.OK, bundle(), kind="text/javascript")
        elif name in _FILES:
            package, file, kind = _FILES[name]
            self._send(HTTPStatus.OK, (files(package) / file).read_text(encoding="utf-8"), kind=kind)
        else:
            self._send(HTTPStatus.NOT_FOUND, "There is no such page.")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _question(self, name: str, query: str) -> None:
        try:
            answer = _asked(self.views, name, query)
        except IsoglossError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except Exception:
            log.exception("the question %s failed", name)
            self._json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "This could not be answered; see the terminal."})
        else:
            self._json(HTTPStatus.OK, answer)

    def _json(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        self._send(status, text, kind="application/json")

    def _send(self, status: HTTPStatus, text: str, *, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # the token stays out of logs
        log.debug("%s answered", self.client_address[0])


def _asked(views: Views, name: str, query: str) -> Mapping[str, Any]:
    """Call the view of that name with the parameters of a query, turned into what it takes."""
    if name == "charts":
        config = chart_config(ink="currentColor", font=FONT)
        return {"map": bare(concept_map()), "depth": bare(depth_curves()), "config": config}
    if name not in QUESTIONS:
        raise unknown("question", name, QUESTIONS)
    view: Callable[..., dict[str, Any]] = getattr(views, name)
    takes = inspect.signature(view, eval_str=True).parameters
    values: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in takes:
            raise unknown("parameter", key, takes)
        try:
            values[key] = takes[key].annotation(value)
        except ValueError:
            raise UsageError(f"{key} must be a whole number; got '{value}'.") from None
        if key == "offset" and values[key] < 0:
            raise UsageError(f"offset must be 0 or more; got {value}.")
    missing = [key for key, p in takes.items() if p.default is inspect.Parameter.empty and key not in values]
    if missing:
        raise UsageError(f"The question {name} lacks {', '.join(missing)}.")
    return view(**values)
