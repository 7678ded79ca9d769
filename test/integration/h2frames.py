"""A raw HTTP/2 peer (RFC 9113): it sends whatever bytes it is given, well formed or not, and waits for what comes back.

Nothing here keeps a rule of the protocol unless it is asked to. Header blocks are made by hand (`block()`, `literal()`, ...) and
have no state, so that a frame can be written down in a table of cases; what the server sends is read with hyperframe and hpack.
TLS is on memory BIOs: reading and writing are apart, so a peer can be one that sends and never reads, and after a connection
was reset what had arrived before can still be read.
"""

import enum
import select
import socket
import ssl
import struct
import time
import types

import hpack
import hyperframe.frame
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from client import Answer, claims, form, sign
from server import PATH

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames (RFC 9113 section 6, RFC 7838, RFC 8336, RFC 9218), and flags.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC, ORIGIN, PRIORITY_UPDATE = 0xA, 0xC, 0x10
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

# Settings (section 6.5.2, RFC 8441, RFC 9218).
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

BIGGEST_WINDOW = 2**31 - 1


class Code(enum.IntEnum):
    """Error codes (section 7)."""
    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def name_of(code):
    return Code(code).name if code in iter(Code) else f"code {code:#x}"


# --- frames, as bytes ---

def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame; `length` if its header is to lie about it."""
    size = len(payload) if length is None else length
    return struct.pack(">HBBBL", size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HL", key, value) for key, value in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


def rst_stream(stream, code=Code.CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">L", code))


def goaway(last=0, code=Code.NO_ERROR, debug=b""):
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last, code) + debug)


def ping(payload=b"12345678", flags=0):
    return frame(PING, flags, 0, payload)


def priority(stream, depends_on=0, weight=15):
    return frame(PRIORITY, 0, stream, struct.pack(">LB", depends_on, weight))


def padded(payload, padding):
    """The payload of a frame with the PADDED flag."""
    return bytes([padding]) + payload + bytes(padding)


def data(stream, payload=b"", end=False):
    return frame(DATA, END_STREAM if end else 0, stream, payload)


def headers(stream, fields, end=True, pieces=1):
    """A request, or trailers: HEADERS, and CONTINUATION when it is to come in several pieces. `fields` may be a block."""
    payload = fields if isinstance(fields, bytes) else block(fields)
    flags = END_STREAM if end else 0
    if pieces == 1:
        return frame(HEADERS, flags | END_HEADERS, stream, payload)
    size = -(-len(payload) // pieces)
    parts = [payload[i * size:(i + 1) * size] for i in range(pieces)]
    frames = [frame(HEADERS, flags, stream, parts[0])]
    frames += [frame(CONTINUATION, 0, stream, part) for part in parts[1:-1]]
    return b"".join(frames) + frame(CONTINUATION, END_HEADERS, stream, parts[-1])


# --- header blocks by hand (RFC 7541) ---

def integer(value, prefix, first=0):
    """Section 5.1: an integer with a prefix of so many bits; `first` holds the bits before it."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def octets(text):
    return text if isinstance(text, bytes) else text.encode("latin-1")


def string(text, huffman=False):
    """Section 5.2."""
    text = octets(text)
    if huffman:
        text = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    return integer(len(text), 7, 0x80 if huffman else 0) + text


WITHOUT_INDEXING, NEVER_INDEXED, INCREMENTAL = (4, 0x00), (4, 0x10), (6, 0x40)


def literal(name, value, how=WITHOUT_INDEXING, huffman=False):
    """Section 6.2: a literal field; `name` may be an index."""
    if isinstance(name, int):
        return integer(name, *how) + string(value, huffman)
    return bytes([how[1]]) + string(name, huffman) + string(value, huffman)


def indexed(index):
    """Section 6.1."""
    return integer(index, 7, 0x80)


def size_update(size):
    """Section 6.3."""
    return integer(size, 5, 0x20)


def block(fields):
    """A header block of literals, or of pieces that are bytes already."""
    return b"".join(f if isinstance(f, bytes) else literal(*f) for f in fields)


# --- requests, as lists of fields ---

def head(method="GET", path="/index.html", *more, authority="localhost", scheme="https"):
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more]


def subscription(topic="a", *more):
    return head("GET", f"{PATH}?match={topic}", *more)


# Requests here name the authority without a port, so that they can be written down before there is a server.
BEARER = sign(claims(types.SimpleNamespace(tls=True, port=443), publish=["*"], subscribe=["*"], seconds=7200,
                     aud=f"https://localhost{PATH}"))


def publication(*more):
    """The head of a POST to the hub; its body is update()."""
    return head("POST", PATH, ("content-type", "application/x-www-form-urlencoded"), ("authorization", f"Bearer {BEARER}"), *more)


def update(topic="a", text="", event_id=None):
    return form([("topic", topic), ("data", text)] + ([("id", event_id)] if event_id else []))


# --- the peer ---

def context_for(alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Peer:
    """A connection to a server, and everything that came over it.

    greet         send the preface and SETTINGS, with these `settings`, widen the connection's window to its most, and wait for the
                  server's SETTINGS and acknowledge them; so nothing is sent later between the pieces of a frame
    answers       acknowledge SETTINGS and answer PING; by default a peer that has greeted does
    reads         False: read nothing, until it is set
    receive_buffer  bytes of the socket's receive buffer, for a peer that does not read
    """

    def __init__(self, server, greet=True, settings=((INITIAL_WINDOW_SIZE, BIGGEST_WINDOW),), answers=None, reads=True,
                 receive_buffer=None, sni="localhost", alpn=("h2",), seconds=10):
        self.frames = []        # hyperframe's, in order
        self.fields = {}        # stream: list of header blocks, each a list of (name, value)
        self.bodies = {}        # stream: bytes
        self.ended = set()      # streams that the server has ended
        self.resets = {}        # stream: code of RST_STREAM
        self.goaways = []       # codes
        self.last_stream = None  # of the last GOAWAY
        self.updates = {}       # stream, or 0: what WINDOW_UPDATE frames added
        self.spent = {}         # the same: what request() and pour() took
        self.settings = {}      # the server's
        self.acks = 0           # of our SETTINGS
        self.pongs = []         # what came back of our PINGs
        self.closed = False
        self.answers, self.reads = greet if answers is None else answers, reads
        self.decoder = hpack.Decoder()
        self.unread, self.unsent, self.collected = b"", bytearray(), b""
        self.pings = 0
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(seconds)
        self.sock.connect(("127.0.0.1", server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context_for(alpn).wrap_bio(self.incoming, self.outgoing, server_hostname=sni)
        self.shake_hands()
        self.sock.setblocking(False)
        if greet:
            self.greet(settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def close_writing(self):
        """Say that nothing more will come, on the socket alone."""
        self.sock.shutdown(socket.SHUT_WR)

    def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                self.sock.sendall(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                more = self.sock.recv(65536)
                if not more:
                    raise ConnectionResetError("the connection ended in the handshake") from None
                self.incoming.write(more)

    def greet(self, pairs):
        more = window_update(0, BIGGEST_WINDOW - 65535) if pairs else b""
        self.answers = True
        self.send(PREFACE, settings(*pairs), more)
        while self.reads and not self.settings and not self.goaways and not self.closed:
            self.step(5)
        self.send()

    # --- sending ---

    def run(self, *steps):
        """Send bytes, and call what is a function with this peer."""
        for step in steps:
            if callable(step):
                step(self)
            else:
                self.send(step)

    def send(self, *pieces, seconds=10):
        """Send, reading meanwhile what comes. False when the connection was closed, or nothing more went out in that time."""
        self.write(*pieces)
        deadline = time.monotonic() + seconds
        while self.unsent and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            before = len(self.unsent)
            self.step(left)
            if len(self.unsent) < before:
                deadline = time.monotonic() + seconds
        return not self.closed

    def write(self, *pieces):
        """Leave bytes to be sent by the next step()."""
        for piece in pieces:
            if piece:
                self.tls.write(piece)
        self.unsent += self.outgoing.read()

    def request(self, stream, fields, end=True, body=None):
        """Send a request; its body in frames of 16 KiB, as the server's windows allow. False as in send()."""
        sent = self.send(headers(stream, fields, end and body is None))
        pieces = [] if body is None else [body[i:i + 16384] for i in range(0, len(body), 16384)] or [b""]
        for i, piece in enumerate(pieces):
            sent = self.pour(stream, data(stream, piece, i == len(pieces) - 1), len(piece))
        return sent

    def pour(self, stream, piece, cost):
        """Send DATA that takes so many bytes of the windows, when they have them. For a stream that was reset: the connection's."""
        def room():
            here = self.settings.get(INITIAL_WINDOW_SIZE, 65535) + self.updates.get(stream, 0) - self.spent.get(stream, 0)
            everywhere = 65535 + self.updates.get(0, 0) - self.spent.get(0, 0)
            return everywhere if stream in self.resets else min(here, everywhere)
        self.wait(lambda: room() >= cost or self.goaways or self.closed, "room in the server's windows")
        for each in (0, stream):
            self.spent[each] = self.spent.get(each, 0) + cost
        return self.send(piece)

    # --- reading ---

    def step(self, seconds):
        """Wait for the socket, once; send and read what goes without waiting."""
        if self.closed:
            return
        readable, writable, _ = select.select([self.sock] if self.reads else [], [self.sock] if self.unsent else [], [],
                                              max(seconds, 0))
        if writable:
            try:
                del self.unsent[:self.sock.send(self.unsent[:262144])]
            except BlockingIOError:
                pass
            except OSError:
                # What came before the reset is still there.
                self.unsent.clear()
                self.reads = True
                while not self.closed:
                    self.receive()
                return
        if readable:
            self.receive()

    def receive(self):
        try:
            more = self.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            self.closed = True
            return
        self.incoming.write(more)
        while True:
            try:
                plain = self.tls.read(262144)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLError, OSError):
                plain = b""
            if not plain:
                self.closed = True
                break
            self.unread += plain
        self.parse()

    def parse(self):
        if self.tls.selected_alpn_protocol() != "h2":
            return
        at = 0
        while len(self.unread) - at >= 9:
            found, length = hyperframe.frame.Frame.parse_frame_header(memoryview(self.unread)[at:at + 9])
            if len(self.unread) - at - 9 < length:
                break
            found.parse_body(memoryview(self.unread)[at + 9:at + 9 + length])
            found.body_len = length
            at += 9 + length
            self.take(found)
        self.unread = self.unread[at:]

    def take(self, f):
        self.frames.append(f)
        stream = f.stream_id
        if f.type == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + bytes(f.data)
        elif f.type in (HEADERS, CONTINUATION):
            self.collected += bytes(f.data)
            if "END_HEADERS" in f.flags:
                self.fields.setdefault(stream, []).append(self.decoder.decode(self.collected))
                self.collected = b""
        elif f.type == RST_STREAM:
            self.resets[stream] = f.error_code
        elif f.type == GOAWAY:
            self.goaways.append(f.error_code)
            self.last_stream = f.last_stream_id
        elif f.type == WINDOW_UPDATE:
            self.updates[stream] = self.updates.get(stream, 0) + f.window_increment
        elif f.type == SETTINGS and "ACK" in f.flags:
            self.acks += 1
        elif f.type == SETTINGS:
            self.settings.update(f.settings)
            if self.answers:
                self.write(frame(SETTINGS, ACK))
        elif f.type == PING and "ACK" in f.flags:
            self.pongs.append(bytes(f.opaque_data))
        elif f.type == PING and self.answers:
            self.write(ping(bytes(f.opaque_data), ACK))
        if f.type in (DATA, HEADERS) and "END_STREAM" in f.flags:
            self.ended.add(stream)

    def story(self):
        """What came, in short, for a test that fails."""
        said = []
        for f in self.frames[-40:]:
            more = {HEADERS: lambda: f"{self.status(f.stream_id)}", DATA: lambda: f"{len(f.data)} bytes",
                    RST_STREAM: lambda: name_of(f.error_code), GOAWAY: lambda: name_of(f.error_code),
                    SETTINGS: lambda: "ACK" if "ACK" in f.flags else str(f.settings),
                    WINDOW_UPDATE: lambda: f"+{f.window_increment}"}.get(f.type, lambda: "")()
            end = " END_STREAM" if "END_STREAM" in f.flags else ""
            said.append(f"{type(f).__name__}({f.stream_id}{', ' + more if more else ''}{end})")
        return f"{len(self.frames)} frames: {' '.join(said)}{' closed' if self.closed else ''}"

    # --- waiting ---

    def wait(self, condition, what, seconds=5):
        """Read until condition() holds, or fail. The connection's end is the end of waiting too."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or self.closed:
                raise AssertionError(f"{what}: {'the connection was closed' if self.closed else f'not within {seconds} s'}; "
                                     f"{self.story()}")
            self.step(left)

    def wait_closed(self, seconds=5):
        self.wait(lambda: self.closed, "the connection is closed", seconds)

    def wait_goaway(self, *codes, seconds=5):
        self.wait(lambda: self.goaways, "GOAWAY", seconds)
        assert not codes or self.goaways[-1] in codes, (codes, self.story())

    def wait_reset(self, stream, *codes, seconds=5):
        self.wait(lambda: stream in self.resets, f"RST_STREAM of stream {stream}", seconds)
        assert not codes or self.resets[stream] in codes, (codes, self.story())

    def over(self, stream):
        """Has the stream ended in one way or another, be it with the connection?"""
        return stream in self.ended or stream in self.resets or self.closed

    def wait_over(self, stream, seconds=5):
        self.wait(lambda: self.over(stream), f"the end of stream {stream}", seconds)

    def settle(self):
        """Wait until the server has read all that was sent before: a PING comes back. False when the connection ended."""
        self.pings += 1
        payload = struct.pack(">4sL", b"ping", self.pings)
        if self.send(ping(payload)):
            self.wait(lambda: payload in self.pongs or self.closed, "PING is answered")
        return not self.closed

    def status(self, stream):
        """The final status of a stream, None when none has come."""
        for fields in self.fields.get(stream, []):
            for name, value in fields:
                if name == ":status" and not value.startswith("1"):
                    return int(value)
        return None

    def wait_status(self, stream, status=None, seconds=5):
        """The final status and its fields, as a dictionary."""
        self.wait(lambda: self.status(stream) is not None or stream in self.resets, f"HEADERS of stream {stream}", seconds)
        assert status is None or self.status(stream) == status, (status, self.story())
        for fields in self.fields.get(stream, []):
            if dict(fields).get(":status") == str(self.status(stream)):
                return dict(fields)
        raise AssertionError(f"stream {stream} has no final status: {self.story()}")

    def wait_answer(self, stream, status=None, seconds=5):
        """The whole response, up to END_STREAM."""
        fields = self.wait_status(stream, status, seconds)
        self.wait(lambda: stream in self.ended, f"END_STREAM of stream {stream}", seconds)
        return Answer(int(fields[":status"]), fields, self.bodies.get(stream, b"").decode("utf-8", "replace"))

    def wait_body(self, stream, text, seconds=5):
        text = octets(text)
        self.wait(lambda: text in self.bodies.get(stream, b""), f"{text[:60]!r} in stream {stream}", seconds)
