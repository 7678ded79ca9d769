"""A hub and pages of other origins, for tests of what a browser lets such a page do."""

import contextlib
import http.server
import os
import ssl
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from server import ISSUER, SECRET, Server, certificate, free_port  # noqa: E402

COOKIE = "__Secure-mercure_access_token"


class Pages(http.server.BaseHTTPRequestHandler):
    """The same empty page at every path."""

    def do_GET(self):
        body = b"<!doctype html><title>a page</title><link rel=icon href=data:,>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def page_origin(host, tls=None):
    """Serve pages on a port of its own; yields their origin. `tls`: (certificate, key)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Pages)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def hub(cors, anonymous=True, **options):
    """A hub over TLS whose MercureCORSOrigins are `cors`."""
    server = Server(tls=True, hub=f"MercureHub On\nMercureAnonymous {'On' if anonymous else 'Off'}\n"
                                  f"MercureIssuer {ISSUER} both HS256 {SECRET}\nMercureCORSOrigins {cors}\n", **options)
    try:
        yield server.start()
    finally:
        server.close()


__all__ = ["COOKIE", "certificate", "hub", "page_origin"]
