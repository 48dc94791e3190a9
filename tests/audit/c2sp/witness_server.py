"""A witness over HTTP for tests: it follows c2sp.org/tlog-witness, or misbehaves on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.audit.chains import OTHER_KEY
from ttplan.audit.c2sp.checkpoint import TreeHead
from ttplan.audit.c2sp.note import COSIGNATURE, VerifierKey, make_vkey
from ttplan.audit.c2sp.tlog import format_cosignatures, parse_request, witness
from ttplan.model.errors import ProofError

NAME = "witness.example/w1"
VKEY = make_vkey(NAME, OTHER_KEY.public_key, COSIGNATURE)


class Witness:
    """A witness of one log. `seen` is what it cosigned last; `response`, if set, is always sent."""

    def __init__(self, log: VerifierKey) -> None:
        self.log = log
        self.seen: TreeHead | None = None
        self.response: tuple[int, str, bytes] | None = None
        self.requests: list[bytes] = []
        self.url = ""

    def respond(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        self.requests.append(body)
        if self.response is not None:
            return self.response
        if path != "/prefix/add-checkpoint":
            return 404, "text/plain", b""
        request = parse_request(body, "the request")
        size = 0 if self.seen is None else self.seen.size
        if request.checkpoint.head.origin != self.log.name:
            return 404, "text/plain", b""
        if request.old_size != size:
            return 409, "text/x.tlog.size", f"{size}\n".encode()
        if (
            self.seen is not None
            and size == request.checkpoint.head.size
            and self.seen.root != request.checkpoint.head.root
        ):
            return 409, "text/plain", b""
        try:
            signature = witness(request, self.seen, self.log, NAME, OTHER_KEY, 1777636800)
        except ProofError as error:
            return (403 if "known keys" in str(error) else 422), "text/plain", b""
        self.seen = request.checkpoint.head
        return 200, "text/plain", format_cosignatures([signature])


@contextmanager
def serve_witness(log: VerifierKey) -> Iterator[Witness]:
    """Run a witness of this log on a local port; `url` is its submission prefix."""
    state = Witness(log)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, kind, response = state.respond(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(response)))
            self.send_header("Location", "/elsewhere")  # only a 3xx status gives it a meaning
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, format: str, *args: object) -> None:
            """Write no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/prefix"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
