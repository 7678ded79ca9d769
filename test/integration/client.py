"""Clients of a hub: a stream of events, publications, and tokens. Over HTTP/1.1, or, where the server has `http2`, over HTTP/2
with the same interface.
"""

import base64
import functools
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
import urllib.parse

import h2client
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


@functools.lru_cache
def tls_context(protocol):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


def connect(server, timeout=10, source="", host=None, protocol=None):
    """A socket for HTTP/1.1, or what ALPN is to agree on. From an address of this machine (127.0.0.n); for a virtual host."""
    s = socket.create_connection(("127.0.0.1", server.port), timeout, (source, 0))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if server.tls:
        name = urllib.parse.urlsplit(f"//{host}").hostname if host else "localhost"
        s = tls_context(protocol).wrap_socket(s, server_hostname=name)
        assert s.selected_alpn_protocol() == protocol, s.selected_alpn_protocol()
    return s


def connect_h2(server, source="", host=None, **more):
    """A connection of HTTP/2, for several streams."""
    host = host or f"localhost:{server.port}"
    return h2client.Connection(connect(server, source=source, host=host, protocol="h2"), host, **more)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


def pairs(headers):
    return headers.items() if isinstance(headers, dict) else headers or ()


def request(server, method="GET", path="/", headers=None, body=None, host=None, source="", http1=False):
    """One request over a connection of its own; over HTTP/1.1 in any case with `http1`. Headers are a dictionary or pairs."""
    if server.http2 and not http1:
        return request_h2(server, method, path, headers, body, host, source)
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    conn.sock = connect(server, source=source, host=host)
    try:
        conn.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        conn.putheader("Host", host or f"localhost:{server.port}")
        for name, value in pairs(headers):
            conn.putheader(name, value)
        if body is not None:
            conn.putheader("Content-Length", str(len(body)))
        conn.endheaders(body)
        response = conn.getresponse()
        return Answer(response.status, response.headers, response.read().decode("utf-8", "replace"))
    finally:
        conn.close()


def request_h2(server, method, path, headers, body, host, source):
    conn = connect_h2(server, source, host)
    try:
        fields = [(name, value.encode("latin-1") if isinstance(value, str) else value) for name, value in pairs(headers)]
        if body is not None:
            fields.append(("content-length", str(len(body))))
        exchange = conn.open(method, path, fields, body)
        text = exchange.whole().decode("utf-8", "replace")
        return Answer(exchange.status, exchange.message(), text)
    finally:
        conn.close()


def form(fields):
    return urllib.parse.urlencode(fields, quote_via=urllib.parse.quote_plus).encode()


def publish(server, topic, data="", bearer=None, headers=None, fields=(), body=None, host=None, path=PATH,
            http1=False):
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
    return request(server, "POST", path, head, body, host, http1=http1)


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
    """A subscriber. Reads only when asked to, so a test can also be one that does not read.

    Over HTTP/2 it has a connection of its own, unless one is given (`connection`); `exchange` is its stream of that. `sock`
    makes it one of HTTP/1.1.
    """

    def __init__(self, server, topics, bearer=None, last_event_id=None, headers=None, query="", host=None, path=PATH,
                 sock=None, wait=True, connection=None, source="", method="GET", body=None):
        topics = [topics] if isinstance(topics, str) else topics
        args = urllib.parse.urlencode([("match", t) for t in topics])
        fields = {"Accept": "text/event-stream"}
        if bearer:
            fields["Authorization"] = f"Bearer {bearer}"
        if last_event_id is not None:
            fields["Last-Event-ID"] = last_event_id
        if body is not None:
            fields.update({"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))})
        fields = [(k, v) for k, v in fields.items() if k not in dict(headers or ())] + list(pairs(headers))
        self.raw = b""
        self.events = []
        self.comments = 0
        self.ended = False
        self.status = None
        self.exchange, self.shares = None, connection is not None
        if connection is not None or (server.http2 and sock is None):
            connection = connection or connect_h2(server, source, host)
            self.sock = connection.sock
            self.exchange = connection.open(method, f"{path}?{args}{query}", fields, body, host)
        else:
            self.sock = sock or connect(server, source=source, host=host)
            lines = [f"{method} {path}?{args}{query} HTTP/1.1", f"Host: {host or f'localhost:{server.port}'}"]
            lines += [f"{k}: {v}" for k, v in fields]
            self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        if wait:
            self.begin()

    def begin(self, seconds=20):
        """Read the response's head and the first comment."""
        if self.exchange is not None:
            self.begin_h2(seconds)
        else:
            self.begin_http1(seconds)
        self.parse()
        while self.comments == 0:
            if not self.read(seconds):
                raise AssertionError("no first comment")
        return self

    def begin_h2(self, seconds):
        self.exchange.begun(seconds)
        self.status = self.exchange.status
        self.headers = {n.decode(): v.decode("utf-8", "replace") for n, v in self.exchange.headers}
        self.chunked = False
        if self.status != 200:
            self.refuse(self.exchange.whole(seconds))

    def begin_http1(self, seconds):
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
            self.refuse(self.raw)

    def refuse(self, body):
        self.close()
        raise Refused(Answer(self.status, self.headers, body.decode("utf-8", "replace")))

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
        more = self.exchange.read(seconds) if self.exchange is not None else self.receive(seconds)
        if more is None:
            return False
        if not more:
            self.ended = True
            return False
        self.add(more)
        self.parse()
        return True

    def receive(self, seconds):
        """What comes over the socket; b"": it has ended, None: nothing."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            return self.sock.recv(262144)
        except (TimeoutError, ssl.SSLWantReadError):
            return None
        except (ConnectionResetError, ssl.SSLError):
            return b""

    @property
    def cut(self):
        """Has it ended otherwise than a response should? Over HTTP/1.1 nobody can tell."""
        return self.exchange is not None and self.exchange.end not in (None, "end")

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
        """Leave, as a client that vanishes; on a shared connection with RST_STREAM."""
        if self.shares:
            self.exchange.reset()
        else:
            self.sock.close()
