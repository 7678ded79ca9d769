"""An identity provider: a real HTTPS server whose key set changes, goes away and misbehaves as a test wants it to."""

import http.server
import json
import os
import ssl
import subprocess
import threading

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from client import b64
from server import free_port

CURVES = {"ES256": ("P-256", ec.SECP256R1, 32), "ES384": ("P-384", ec.SECP384R1, 48), "ES512": ("P-521", ec.SECP521R1, 66)}


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Key:
    """A signing key of the provider's."""

    def __init__(self, kid, algorithm="ES256", **members):
        self.kid, self.algorithm, self.members = kid, algorithm, members
        if algorithm in CURVES:
            self.private = ec.generate_private_key(CURVES[algorithm][1]())
        elif algorithm == "EdDSA":
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = rsa.generate_private_key(65537, 2048)

    def jwk(self):
        if self.algorithm == "EdDSA":
            from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
            raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
        elif self.algorithm in CURVES:
            crv, _, size = CURVES[self.algorithm]
            point = self.private.public_key().public_numbers()
            jwk = {"kty": "EC", "crv": crv, "x": number(point.x, size), "y": number(point.y, size)}
        else:
            public = self.private.public_key().public_numbers()
            jwk = {"kty": "RSA", "n": number(public.n), "e": number(public.e)}
        return {**jwk, "kid": self.kid, "use": "sig", **self.members}

    def sign(self, payload, **header):
        return jwt.encode(payload, self.private, algorithm=self.algorithm,
                          headers={"typ": "at+jwt", "kid": self.kid, **header})


def key_set(*keys):
    return json.dumps({"keys": [k.jwk() if isinstance(k, Key) else k for k in keys]}).encode()


class Provider:
    """`answers` maps a path to (status, headers, body), or to a function that is given the request's handler."""

    def __init__(self, directory, tls=True, address="127.0.0.1"):
        self.tls, self.address, self.port = tls, address, free_port()
        self.ca = os.path.join(directory, "provider.pem")
        self.private = os.path.join(directory, "provider.key")
        if tls:
            self.make_certificate()
        self.answers = {}
        self.requests = []
        self.released = threading.Event()
        self.server = None
        self.start()

    def make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", self.private, "-out", self.ca, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,DNS:idp.localhost,IP:127.0.0.1"], check=True, capture_output=True)
        os.chmod(self.ca, 0o644)

    def url(self, path="/jwks", host="localhost"):
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    def serve(self, *keys, path="/jwks", **headers):
        self.answers[path] = (200, {name.replace("_", "-"): value for name, value in headers.items()}, key_set(*keys))

    def count(self, path="/jwks"):
        return self.requests.count(path)

    def start(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                provider.requests.append(path)
                answer = provider.answers.get(path, (404, {}, b"nothing here"))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Quiet((self.address, self.port), Handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.ca, self.private)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def hang(self, handler):
        """An answer that never comes, until the test ends."""
        self.released.wait(60)

    def close(self):
        self.released.set()
        self.stop()
