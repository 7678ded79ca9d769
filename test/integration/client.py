"""Clients of a hub: a stream of events over a bare socket, publications, and tokens."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
import urllib.parse

from server import ISSUER, PATH, SECRET

DETAIL = "https://mercure.rocks/authorization-detail"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def audience(server, path=PATH):
    return f"{'https' if server.tls else 'http'}://localhost:{server.port}{path}"


def claims(server, publish=(), subscribe=(), seconds=600, **more):
    details = []
    for action, topics in (("publish", publish), ("subscribe", subscribe)):
        if topics:
            details.append({"type": DETAIL, "actions": [action], "topics": [{"match": t} for t in topics]})
    return {"iss": ISSUER, "aud": audience(server), "exp": int(time.time()) + seconds, "sub": "a-test",
            "authorization_details": details, **more}


def sign(payload, secret=SECRET, header=None):
    """A token signed with HS256; payload may be raw bytes."""
    head = {"alg": "HS256", "typ": "at+jwt"} if header is None else header
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = b64(json.dumps(head).encode()) + "." + b64(raw)
    return text + "." + b64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def token(server, publish=(), subscribe=(), **more):
    return sign(claims(server, publish, subscribe, **more))


def connect(server, timeout=10):
    s = socket.create_connection(("127.0.0.1", server.port), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        s = context.wrap_socket(s, server_hostname="localhost")
    return s


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def request(server, method="GET", path="/", headers=None, body=None, host=None):
    """One request over a connection of its own."""
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    conn.sock = connect(server)
    try:
        conn.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        conn.putheader("Host", host or f"localhost:{server.port}")
        for name, value in (headers or {}).items():
            conn.putheader(name, value)
        if body is not None:
            conn.putheader("Content-Length", str(len(body)))
        conn.endheaders(body)
        response = conn.getresponse()
        return Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))
    finally:
        conn.close()


def form(fields):
    return urllib.parse.urlencode(fields, quote_via=urllib.parse.quote_plus).encode()


def publish(server, topic, data="", bearer=None, headers=None, fields=(), body=None, host=None, path=PATH):
    """POST an update; returns the Answer."""
    topics = [topic] if isinstance(topic, str) else list(topic)
    if body is None:
        body = form([("topic", t) for t in topics] + [("data", data)] + list(fields))
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    if bearer is None:
        bearer = token(server, publish=["*"])
    if bearer:
        head["Authorization"] = f"Bearer {bearer}"
    head.update(headers or {})
    return request(server, "POST", path, head, body, host)


def published(server, topic, data="", **more):
    """Publish and expect success; returns the id."""
    answer = publish(server, topic, data, **more)
    assert answer.status == 200, (answer.status, answer.body, server.log()[-2000:])
    return answer.body


class Refused(Exception):
    def __init__(self, answer):
        super().__init__(f"{answer.status} {answer.body!r}")
        self.answer = answer


class Stream:
    """A subscriber. Reads only when asked to, so a test can also be one that does not read."""

    def __init__(self, server, topics, bearer=None, last_event_id=None, headers=None, query="", host=None, path=PATH,
                 sock=None, wait=True):
        self.sock = sock or connect(server)
        topics = [topics] if isinstance(topics, str) else topics
        args = urllib.parse.urlencode([("match", t) for t in topics])
        lines = [f"GET {path}?{args}{query} HTTP/1.1", f"Host: {host or f'localhost:{server.port}'}",
                 "Accept: text/event-stream"]
        if bearer:
            lines.append(f"Authorization: Bearer {bearer}")
        if last_event_id is not None:
            lines.append(f"Last-Event-ID: {last_event_id}")
        lines += [f"{k}: {v}" for k, v in (headers or {}).items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.raw = b""
        self.events = []
        self.comments = 0
        self.ended = False
        self.status = None
        if wait:
            self.begin()

    def begin(self, seconds=20):
        """Read the response's head and the first comment."""
        self.sock.settimeout(seconds)
        while b"\r\n\r\n" not in self.raw:
            more = self.sock.recv(65536)
            if not more:
                raise AssertionError(f"the connection ended before the headers: {self.raw!r}")
            self.raw += more
        head, rest = self.raw.split(b"\r\n\r\n", 1)
        self.raw, self.chunks = b"", b""
        lines = head.decode("utf-8", "replace").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            self.headers[name.strip().lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        self.add(rest)
        if self.status != 200:
            length = int(self.headers.get("content-length", "0"))
            while len(self.raw) < length:
                self.add(self.sock.recv(65536))
            answer = Answer(self.status, self.headers, self.raw.decode("utf-8", "replace"))
            self.sock.close()
            raise Refused(answer)
        self.parse()
        while self.comments == 0:
            if not self.read(seconds):
                raise AssertionError("no first comment")
        return self

    def add(self, received):
        """Take bytes off the wire; chunks are undone."""
        if not self.chunked:
            self.raw += received
            return
        self.chunks += received
        while b"\r\n" in self.chunks:
            size, rest = self.chunks.split(b"\r\n", 1)
            size = int(size, 16)
            if len(rest) < size + 2:
                return
            self.raw += rest[:size]
            self.chunks = rest[size + 2:]

    def parse(self):
        while b"\n" in self.raw:
            if self.raw.startswith(b":"):
                _, self.raw = self.raw.split(b"\n", 1)
                self.comments += 1
                continue
            if b"\n\n" not in self.raw:
                return
            block, self.raw = self.raw.split(b"\n\n", 1)
            event = {"data": []}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if name == "data":
                    event["data"].append(value)
                elif name:
                    event[name] = value
            event["data"] = "\n".join(event["data"])
            self.events.append(event)

    def read(self, seconds):
        """Read once; False when nothing came or the stream has ended."""
        if self.ended:
            return False
        self.sock.settimeout(max(seconds, 0.001))
        try:
            more = self.sock.recv(262144)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except (ConnectionResetError, ssl.SSLError):
            more = b""
        if not more:
            self.ended = True
            return False
        self.add(more)
        self.parse()
        return True

    def _until(self, condition, what, seconds):
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or (self.ended and not condition()):
                raise AssertionError(f"{what}: got {len(self.events)} events, ended={self.ended}, last="
                                     f"{self.events[-3:]}")
            self.read(left)

    def take(self, count=1, seconds=10):
        """The next `count` events."""
        self._until(lambda: len(self.events) >= count, f"wanted {count} events", seconds)
        taken, self.events = self.events[:count], self.events[count:]
        return taken

    def data(self, count=1, seconds=10):
        return [e["data"] for e in self.take(count, seconds)]

    def wait_comments(self, count, seconds=10):
        self._until(lambda: self.comments >= count, f"wanted {count} comments", seconds)

    def wait_end(self, seconds=10):
        self._until(lambda: self.ended, "wanted the end of the stream", seconds)

    def close(self):
        self.sock.close()
