"""Hostile clients over HTTP/2: what each of them may cost, and that everybody else is served meanwhile.

One server for most of them, with short time limits. Each attack is bounded in count and time, from the client's side too: where
a bound does not hold, its test fails rather than going on. Beside every attack an ordinary client (`Bystander`) subscribes,
publishes and loads a page, over connections of its own.
"""

import threading
import time

import pytest

from client import Refused, Stream, connect
from h2frames import (ACK, BIGGEST_WINDOW, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INCREMENTAL, INITIAL_WINDOW_SIZE,
                      HEADER_TABLE_SIZE, PADDED, PREFACE, PRIORITY_UPDATE, Code, Peer, block, data, frame, goaway,
                      head, headers, indexed, literal, padded, ping, priority, publication, rst_stream, settings,
                      size_update, subscription, update, window_update)
from server import PATH, Server, wait_for
from test_holding import sockets_of

LIMIT = 2            # seconds, of the server's Timeout
PATIENT = 15         # seconds within which what is bound by that limit must have ended
SLOWEST = 2          # seconds that a bystander may have to wait
MEMORY = 16 * 1024   # KiB by which an attack may make a child grow
OF_BYSTANDER = 2     # its connections
GET = block(head())
PAGE = "an ordinary page\n"


@pytest.fixture(scope="module")
def server():
    server = Server(http2=True, config=f"Timeout {LIMIT}\nKeepAliveTimeout {LIMIT}\nMercureMaxPending 64K\n"
                                       "MercureDispatchTimeout 1\n")
    try:
        with open(f"{server.htdocs}/big", "wb") as f:
            f.truncate(50_000_000)
        server.start()
        with Bystander(server):
            pass
        yield server
    finally:
        server.close()


class Bystander(threading.Thread):
    """An ordinary client: while the block runs it subscribes, publishes and loads a page, again and again."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.done = server, threading.Event()
        self.rounds, self.slowest, self.fault = 0, 0, None

    def run(self):
        try:
            with Peer(self.server) as reader, Peer(self.server) as writer:
                reader.request(1, subscription("bystander"))
                reader.wait_status(1, 200)
                stream = 1
                while not (self.done.is_set() and self.rounds):
                    begun = time.monotonic()
                    text = f"round {self.rounds} of {id(self)}"
                    writer.request(stream, publication(), body=update("bystander", text))
                    writer.wait_answer(stream, 200, 20)
                    reader.wait_body(1, text, 20)
                    writer.request(stream + 2, head())
                    assert writer.wait_answer(stream + 2, 200, 20).body == PAGE
                    self.slowest = max(self.slowest, time.monotonic() - begun)
                    self.rounds, stream = self.rounds + 1, stream + 4
                    self.done.wait(0.02)
        except Exception as e:
            self.fault = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.done.set()
        self.join(60)
        if kind is None:
            assert self.fault is None, f"a bystander was not served: {self.fault}"
            assert self.rounds > 0 and self.slowest < SLOWEST, f"a bystander waited {self.slowest:.1f} s"


class Attack:
    """What a block costs the server: memory, threads, requests that were run; with a bystander beside it."""

    def __init__(self, server, memory=MEMORY):
        self.server, self.most = server, memory

    def field(self, pid, name):
        with open(f"/proc/{pid}/status") as f:
            return int([line.split()[1] for line in f if line.startswith(name + ":")][0])

    def __enter__(self):
        self.pids = self.server.child_pids()
        for pid in self.pids:
            with open(f"/proc/{pid}/clear_refs", "w") as f:
                f.write("5")  # the peak begins anew
        self.before = {pid: (self.field(pid, "VmHWM"), self.field(pid, "Threads")) for pid in self.pids}
        self.lines = len(self.requests())
        self.bystander = Bystander(self.server).__enter__()
        return self

    def requests(self):
        """Lines of the access log that are not the bystander's."""
        return [line for line in self.server.access().splitlines() if "match=bystander" not in line]

    def run_requests(self):
        """Requests that reached the access log since the beginning; two of each round are the bystander's."""
        return len(self.requests()) - self.lines - 2 * self.bystander.rounds

    def __exit__(self, kind, *_):
        self.bystander.__exit__(kind, *_)
        if kind is None:
            assert self.server.child_pids() == self.pids, "a child was replaced"
            for pid in self.pids:
                memory, threads = self.before[pid]
                assert self.field(pid, "VmHWM") - memory < self.most, f"{self.field(pid, 'VmHWM') - memory} KiB more"
                assert self.field(pid, "Threads") <= threads, "more threads"


# --- floods: frames that cost the server more than the client ---

FLOOD = 300_000


def flood(peer, one, count=FLOOD, batch=200):
    """Send one(0), one(1), ... until the connection is closed, or nothing more is taken for a while. Returns how many were sent."""
    for i in range(0, count, batch):
        if not peer.send(b"".join(one(j) for j in range(i, i + batch))):
            return i + batch
    return count


def opened(peer):
    peer.send(headers(1, publication(), end=False))


def subscribed(peer):
    peer.request(1, subscription())
    peer.wait_status(1, 200)


def reset(peer):
    peer.run(opened, rst_stream(1))


def nothing(peer):
    pass


FILLER = frame(CONTINUATION, 0, 1, block([("x-filler", "x" * 16000)]))
FLOODS = [pytest.param(before, one, options, id=name) for name, before, one, options in (
    ("rapid reset of a page", nothing, lambda i: headers(2 * i + 1, GET) + rst_stream(2 * i + 1), {}),
    ("rapid reset of subscriptions", nothing, lambda i: headers(2 * i + 1, subscription()) + rst_stream(2 * i + 1), {}),
    ("rapid reset of publications", nothing, lambda i: headers(2 * i + 1, publication(), False) + rst_stream(2 * i + 1), {}),
    ("rapid reset of large files", nothing, lambda i: headers(2 * i + 1, head("GET", "/big")) + rst_stream(2 * i + 1), {}),
    ("resets provoked by window updates of zero", nothing, lambda i: headers(2 * i + 1, GET) + window_update(2 * i + 1, 0), {}),
    ("resets provoked by window overflows", nothing,
     lambda i: headers(2 * i + 1, GET) + window_update(2 * i + 1, BIGGEST_WINDOW), {}),
    ("resets provoked by DATA behind the end", nothing, lambda i: headers(2 * i + 1, GET) + data(2 * i + 1, b"x"), {}),
    ("resets provoked by PRIORITY of a wrong size", nothing,
     lambda i: headers(2 * i + 1, publication(), False) + frame(0x2, 0, 2 * i + 1, b"1234"), {}),
    ("malformed requests", nothing, lambda i: headers(2 * i + 1, head("GET", "/", ("X-UPPER", "1"))), {}),
    ("requests refused for their length", nothing, lambda i: headers(2 * i + 1, head("POST", PATH, ("content-length", "5"))), {}),
    ("HEADERS without any field", nothing, lambda i: headers(2 * i + 1, b""), {}),
    ("SETTINGS", nothing, lambda i: settings((INITIAL_WINDOW_SIZE, i)), {}),
    ("SETTINGS with a hundred values", nothing, lambda i: settings(*[(0x4242, n) for n in range(100)]), {}),
    ("SETTINGS of a peer that does not read", nothing, lambda i: settings(), {"reads": False}),
    ("SETTINGS that change the windows of many streams",
     lambda peer: peer.send(*[headers(2 * i + 1, subscription()) for i in range(90)]),
     lambda i: settings((INITIAL_WINDOW_SIZE, i % 2)), {}),
    ("acknowledgements of no SETTINGS", nothing, lambda i: frame(0x4, ACK), {}),
    ("PING", nothing, lambda i: ping(), {}),
    ("PING of a peer that does not read", nothing, lambda i: ping(), {"reads": False}),
    ("answers to no PING", nothing, lambda i: ping(flags=ACK), {}),
    ("empty DATA", opened, lambda i: data(1), {}),
    ("empty DATA with padding", opened, lambda i: frame(DATA, PADDED, 1, padded(b"", 0)), {}),
    ("CONTINUATION without end", lambda peer: peer.send(frame(HEADERS, END_STREAM, 1, GET)), lambda i: FILLER, {"batch": 1}),
    ("CONTINUATION without end and without fields", lambda peer: peer.send(frame(HEADERS, END_STREAM, 1, GET)),
     lambda i: frame(CONTINUATION, 0, 1), {}),
    ("CONTINUATION of one byte", lambda peer: peer.send(frame(HEADERS, END_STREAM, 1, GET + b"\x00\x03x-a\x7f\x80\x7e")),
     lambda i: frame(CONTINUATION, 0, 1, b"x"), {}),
    ("PRIORITY", nothing, lambda i: priority(2 * i + 1, 2 * i + 3, i % 256), {}),
    ("PRIORITY of one stream", opened, lambda i: priority(1, 0, i % 256), {}),
    ("PRIORITY_UPDATE", nothing, lambda i: frame(PRIORITY_UPDATE, 0, 0, (2 * i + 1).to_bytes(4, "big") + b"u=1"), {}),
    ("WINDOW_UPDATE of the connection", nothing, lambda i: window_update(0, 1), {"settings": ()}),
    ("WINDOW_UPDATE of a stream", subscribed, lambda i: window_update(1, 1), {"settings": ()}),
    ("WINDOW_UPDATE of a stream that was reset", reset, lambda i: window_update(1, 1), {"settings": ()}),
    ("RST_STREAM of one stream", reset, lambda i: rst_stream(1), {}),
    ("DATA of a stream that was reset", reset, lambda i: data(1, b"x"), {}),
    ("GOAWAY", nothing, lambda i: goaway(), {}),
    ("unknown frames", subscribed, lambda i: frame(0x42, 0, 0, b"x" * 100), {}),
    ("large unknown frames", subscribed, lambda i: frame(0x42, 0, 0, b"x" * 16384), {"batch": 4}),
)]


@pytest.mark.parametrize("before,one,options", FLOODS)
def test_floods_end_the_connection(server, before, one, options):
    """The connection is closed, as a rule with ENHANCE_YOUR_CALM, long before the client is through; few requests are run."""
    reads = options.get("reads", True)
    with Attack(server) as attack:
        with Peer(server, receive_buffer=None if reads else 4096,
                  settings=options.get("settings", ((INITIAL_WINDOW_SIZE, BIGGEST_WINDOW),))) as peer:
            before(peer)
            peer.reads = reads
            sent = flood(peer, one, FLOOD, options.get("batch", 200))
            peer.reads = True
            peer.wait_closed(PATIENT)
            assert sent < FLOOD, "all of them were taken"
            assert not peer.goaways or peer.goaways[-1] != Code.NO_ERROR, peer.story()
        assert attack.run_requests() < max(500, sent / 10), f"{attack.run_requests()} requests of {sent} were run"


def test_rapid_reset_is_answered_with_enhance_your_calm(server):
    """Few requests of those that were reset at once are run, and the client is told why it is left."""
    with Attack(server) as attack:
        with Peer(server) as peer:
            flood(peer, lambda i: headers(2 * i + 1, GET) + rst_stream(2 * i + 1), 20_000, 50)
            peer.wait_closed()
            assert peer.goaways[-1] == Code.ENHANCE_YOUR_CALM, peer.story()
            assert peer.last_stream < 2 * 1_000
        assert attack.run_requests() < 300


def test_rapid_reset_over_many_connections(server):
    """Twenty connections after each other, as fast as they are closed."""
    with Attack(server) as attack:
        sent = 0
        for _ in range(20):
            with Peer(server) as peer:
                sent += flood(peer, lambda i: headers(2 * i + 1, GET) + rst_stream(2 * i + 1), 20_000, 50)
                peer.wait_closed()
        assert attack.run_requests() < sent / 4


def test_a_busy_client_is_no_attacker(server):
    """What the bounds leave alone: thousands of requests on a connection, many streams left at once."""
    with Peer(server) as peer:
        for first in range(1, 4_001, 100):
            peer.send(*[headers(stream, GET) for stream in range(first, first + 100, 2)])
            for stream in range(first, first + 100, 2):
                assert peer.wait_answer(stream, 200).body == PAGE
            assert peer.settle()
        streams = range(4_001, 4_161, 2)
        peer.send(*[headers(stream, subscription("busy")) for stream in streams])
        for stream in streams:
            peer.wait_status(stream, 200)
        peer.send(*[rst_stream(stream) for stream in streams])
        peer.request(5_001, publication(), body=update("busy"))
        peer.wait_answer(5_001, 200)


# --- heads that are too large, and compression ---

def refused(peer, stream):
    """431 or another refusal, a reset, or the connection's end. Never a page."""
    peer.wait(lambda: peer.status(stream) or peer.over(stream) or peer.goaways, f"a refusal of stream {stream}", PATIENT)
    assert peer.status(stream) in (None, 400, 413, 414, 431), peer.story()


def long_block(fields, stream=1):
    """HEADERS and CONTINUATION of 16 KiB each."""
    payload = block(fields)
    pieces = [payload[i:i + 16384] for i in range(0, len(payload), 16384)]
    frames = [frame(HEADERS, END_STREAM | (END_HEADERS if len(pieces) == 1 else 0), stream, pieces[0])]
    frames += [frame(CONTINUATION, END_HEADERS if i == len(pieces) - 1 else 0, stream, piece)
               for i, piece in enumerate(pieces) if i > 0]
    return b"".join(frames)


@pytest.mark.parametrize("fields", [
    pytest.param(head("GET", "/index.html", ("x-long", "x" * 100_000)), id="a field of 100,000 bytes"),
    pytest.param(head("GET", "/index.html", ("x-long", "x" * 9_000)), id="a field past LimitRequestFieldSize"),
    pytest.param(head("GET", "/index.html", ("x" * 9_000, "x")), id="a name past LimitRequestFieldSize"),
    pytest.param(head("GET", "/" + "x" * 9_000), id="a path past LimitRequestLine"),
    pytest.param(head("GET", "/index.html", authority="x" * 9_000), id="a long authority"),
    pytest.param(head("x" * 9_000), id="a long method"),
    pytest.param(head("GET", "/index.html", *[(f"x-{i}", "1") for i in range(200)]), id="more fields than LimitRequestFields"),
    pytest.param(head("GET", "/index.html", *[("x", "")] * 15_000), id="15,000 fields"),
    pytest.param(head("GET", "/index.html", *[("cookie", "a=" + "x" * 4_000)] * 20), id="crumbs of a cookie of 80,000 bytes"),
    pytest.param(head("GET", "/index.html", *[("cookie", "")] * 15_000), id="15,000 empty crumbs of a cookie"),
    pytest.param(head("GET", "/index.html", *[(f"x-{i}", "x" * 8_000) for i in range(90)]),
                 id="700,000 bytes in fields within their limits"),
])
def test_heads_that_are_too_large_are_refused(server, fields):
    with Attack(server):
        with Peer(server) as peer:
            peer.send(long_block(fields))
            refused(peer, 1)


def test_trailers_that_are_too_large_are_refused(server):
    with Attack(server):
        with Peer(server) as peer:
            peer.send(headers(1, publication(), end=False), data(1, update()),
                      long_block([(f"x-{i}", "x" * 8_000) for i in range(90)]))
            refused(peer, 1)


def test_many_heads_that_are_never_complete(server):
    """Fifty connections, each with 60 KiB of a head whose end does not come: bounded memory, and ended by the time limit."""
    with Attack(server, memory=50 * 150 + MEMORY):
        peers = [Peer(server) for _ in range(50)]
        for peer in peers:
            peer.send(frame(HEADERS, END_STREAM, 1, block(head("GET", "/", *[(f"x-{i}", "x" * 7_000) for i in range(2)]))),
                      *[frame(CONTINUATION, 0, 1, block([(f"y-{i}", "x" * 7_000) for i in range(2)])) for _ in range(3)])
        for peer in peers:
            peer.wait_closed(PATIENT)
            peer.close()


def test_hpack_bomb(server):
    """An entry of 4,000 bytes that is named 16,000 times: 64 MB of fields in 16 KB. A hundred such requests."""
    with Attack(server):
        with Peer(server) as peer:
            peer.send(headers(1, [*head(), literal("x-bomb", "x" * 4_000, INCREMENTAL)]))
            for stream in range(3, 203, 2):
                if not peer.send(headers(stream, GET + indexed(62) * 16_000)):
                    break
            for stream in (3, 201):
                refused(peer, stream)


def test_a_table_of_entries_that_is_filled_and_emptied(server):
    """Blocks that resize the table a thousand times, and fill it again and again."""
    with Attack(server):
        with Peer(server) as peer:
            for stream in range(1, 401, 2):
                if not peer.send(headers(stream, (size_update(0) + size_update(4096)) * 1_000 + GET
                                         + literal("x-a", "x" * 3_000, INCREMENTAL) * 3)):
                    break
                peer.wait_over(stream, PATIENT)


def test_a_client_that_allows_a_huge_table(server):
    """The server's encoder need not use it."""
    with Attack(server):
        with Peer(server, greet=False) as peer:
            peer.decoder.max_allowed_table_size = 2**32 - 1
            peer.send(PREFACE, settings((HEADER_TABLE_SIZE, 2**32 - 1)), window_update(0, 1_000_000))
            for stream in range(1, 1001, 2):
                peer.request(stream, head("GET", f"/missing/{stream}"))
                peer.wait_answer(stream, 404)


# --- streams that stay ---

def test_window_of_zero_for_a_large_file(server):
    """A hundred requests for 50 MB each, and no window to send it in: little waits in memory, and they end after the time limit."""
    with Attack(server, memory=100 * 200 + MEMORY):
        with Peer(server, settings=((INITIAL_WINDOW_SIZE, 0),)) as peer:
            for stream in range(1, 201, 2):
                peer.request(stream, head("GET", "/big"))
            for stream in range(1, 201, 2):
                peer.wait_over(stream, 10 * PATIENT)


def test_windows_that_open_a_byte_at_a_time(server):
    """The same on four connections, with windows that grow by a byte four times a second: that is no progress worth a thread."""
    with Attack(server):
        peers = [Peer(server, settings=((INITIAL_WINDOW_SIZE, 1),)) for _ in range(4)]
        streams = range(1, 21, 2)
        for peer in peers:
            peer.send(*[headers(stream, head("GET", "/big")) for stream in streams])
        deadline = time.monotonic() + 2 * PATIENT
        while not all(peer.over(stream) for peer in peers for stream in streams):
            assert time.monotonic() < deadline, peers[0].story()
            for peer in peers:
                peer.send(*[window_update(stream, 1) for stream in streams if not peer.over(stream)])
                peer.step(0.06)
        for peer in peers:
            peer.close()


def test_requests_that_never_end_their_body(server):
    """A hundred on each of three connections: everybody else is served, and they end after the time limit."""
    with Attack(server):
        peers = [Peer(server) for _ in range(3)]
        for peer in peers:
            for stream in range(1, 201, 2):
                peer.send(headers(stream, publication(("content-length", "100000")), end=False), data(stream, b"topic=a&data="))
        for peer in peers:
            for stream in range(1, 201, 2):
                peer.wait(lambda: peer.over(stream) or peer.status(stream), f"the end of stream {stream}", PATIENT)
                assert peer.status(stream) in (None, 400, 408, 503), peer.story()
            peer.close()


def test_bodies_that_come_a_byte_at_a_time(server):
    """Twenty publications of which a byte comes five times a second: they are not waited for."""
    with Attack(server):
        with Peer(server) as peer:
            streams = range(1, 41, 2)
            for stream in streams:
                peer.send(headers(stream, publication(), end=False))
            deadline = time.monotonic() + PATIENT
            while not all(peer.over(s) for s in streams):
                assert time.monotonic() < deadline, peer.story()
                for stream in streams:
                    if not peer.over(stream):
                        peer.send(data(stream, b"a"))
                peer.step(0.2)


def test_a_peer_that_reads_nothing(server):
    """Its streams get updates, it takes none of them: it is left, and the updates are not kept for it."""
    before = sockets_of(server)
    with Attack(server):
        peer = Peer(server, receive_buffer=4096)
        for stream in range(1, 41, 2):
            peer.request(stream, subscription("unread"))
            peer.wait_status(stream, 200)
        peer.reads = False
        with Peer(server) as writer:
            for stream in range(1, 201, 2):
                writer.request(stream, publication(), body=update("unread", "x" * 50_000))
                writer.wait_answer(stream, 200)
        wait_for(lambda: sockets_of(server) <= before + OF_BYSTANDER, "the connection is closed", PATIENT)
        peer.close()


def test_a_peer_that_reads_nothing_of_a_large_file(server):
    """No stream of events at all: the same time limit."""
    before = sockets_of(server)
    with Attack(server):
        with Peer(server, receive_buffer=4096) as peer:
            peer.reads = False
            for stream in range(1, 41, 2):
                peer.request(stream, head("GET", "/big"))
            wait_for(lambda: sockets_of(server) <= before + OF_BYSTANDER, "the connection is closed", PATIENT)


def test_a_stream_without_window_is_ended_and_the_others_go_on(server):
    """On one connection: past MercureMaxPending, or without progress for MercureDispatchTimeout, one stream ends."""
    with Attack(server):
        with Peer(server, settings=((INITIAL_WINDOW_SIZE, 10),)) as peer:
            peer.request(1, subscription("half"))
            peer.request(3, subscription("half"))
            peer.wait_status(1, 200)
            peer.wait_status(3, 200)
            peer.send(window_update(3, 100_000_000))
            with Peer(server) as writer:
                for i in range(20):
                    writer.request(2 * i + 1, publication(), body=update("half", f"update {i} " + "x" * 20_000))
                    writer.wait_answer(2 * i + 1, 200)
                    peer.wait_body(3, f"update {i} ")
                peer.wait_over(1, PATIENT)
                assert not peer.closed and not peer.over(3), peer.story()
                writer.request(101, publication(), body=update("half", "and on"))
                writer.wait_answer(101, 200)
            peer.wait_body(3, "and on")


def test_streams_over_the_limit(server):
    """Two thousand subscriptions on one connection: no more than SETTINGS_MAX_CONCURRENT_STREAMS are served at a time."""
    with Attack(server) as attack:
        with Peer(server) as peer:
            assert peer.settle()
            limit = peer.settings[3]
            for i in range(2_000):
                if not peer.send(headers(2 * i + 1, subscription("many"))):
                    break
            if not peer.closed:
                peer.settle()
            assert sum(peer.status(2 * i + 1) == 200 for i in range(2_000)) <= limit
        assert attack.run_requests() <= limit


# --- time limits ---

def drip(text):
    """A byte each time, then nothing."""
    left = list(text)
    return lambda peer: left and peer.send(bytes([left.pop(0)]))


def repeat(text):
    return lambda peer: peer.send(text)


def silent(peer):
    pass


GREETING = PREFACE + settings()
SLOW = {
    "nothing at all": (b"", silent),
    "a preface a byte at a time": (b"", drip(PREFACE + settings() + headers(1, GET))),
    "a preface without SETTINGS": (PREFACE, silent),
    "no request": (GREETING, silent),
    "no request, but PING": (GREETING, repeat(ping())),
    "a head a byte at a time": (GREETING, drip(headers(1, head("GET", "/", ("x-long", "x" * 1_000))))),
    "a head without its end": (GREETING + frame(HEADERS, END_STREAM, 1, GET), silent),
    "a head of empty pieces": (GREETING + frame(HEADERS, END_STREAM, 1, GET), repeat(frame(CONTINUATION, 0, 1))),
    "a request, then nothing": (GREETING + headers(1, GET), silent),
    "a request, then PING": (GREETING + headers(1, GET), repeat(ping())),
    "a request, then half a frame": (GREETING + headers(1, GET) + frame(HEADERS, 0, 3, b"", 100), silent),
    "half a frame, and a byte of it at a time": (GREETING + frame(DATA, 0, 1, b"", 100), drip(b"x" * 99)),
}


def test_slow_clients_are_left(server):
    """All of them at once: whatever a client delays, the connection is closed after the time limit."""
    with Attack(server):
        peers = {name: Peer(server, greet=False) for name in SLOW}
        for name, (text, _) in SLOW.items():
            peers[name].send(text)
        deadline = time.monotonic() + PATIENT
        while not all(peer.closed for peer in peers.values()):
            assert time.monotonic() < deadline, f"still there: {[name for name, peer in peers.items() if not peer.closed]}"
            for name, (_, more) in SLOW.items():
                if not peers[name].closed:
                    more(peers[name])
                    peers[name].step(0.02)


def test_a_subscription_is_no_slow_client(server):
    """What the time limits leave alone: a stream that is quiet for longer, and the connection that it is on."""
    with Peer(server) as peer:
        peer.request(1, subscription("quiet"))
        peer.wait_status(1, 200)
        deadline = time.monotonic() + 2 * LIMIT + 1
        while time.monotonic() < deadline:
            peer.step(0.5)
            assert not peer.over(1), peer.story()
        peer.request(3, publication(), body=update("quiet", "still here"))
        peer.wait_answer(3, 200)
        peer.wait_body(1, "still here")


def test_many_connections_without_a_request(server):
    """Three hundred, which only say hello."""
    before = sockets_of(server)
    with Attack(server, memory=300 * 60 + MEMORY):
        peers = [Peer(server) for _ in range(300)]
        for peer in peers:
            peer.wait_closed(PATIENT)
            peer.close()
    wait_for(lambda: sockets_of(server) <= before, "the sockets are closed")


# --- requests that are not what they seem ---

SMUGGLED = "GET /smuggled HTTP/1.1"
LINES = f" HTTP/1.1\r\nHost: localhost\r\n\r\n{SMUGGLED}\r\nX: "
SMUGGLING = {
    "in a value": head("GET", "/index.html", ("x-a", "1\r\n\r\n" + SMUGGLED)),
    "in a value, with LF alone": head("GET", "/index.html", ("x-a", "1\n\n" + SMUGGLED)),
    "in a value, with CR alone": head("GET", "/index.html", ("x-a", "1\r\r" + SMUGGLED)),
    "in a value, with NUL": head("GET", "/index.html", ("x-a", "1\0" + SMUGGLED)),
    "in a name": head("GET", "/index.html", ("x-a: 1\r\n\r\n" + SMUGGLED.lower(), "1")),
    "a name with a colon": head("GET", "/index.html", ("transfer-encoding:chunked", "1")),
    "a name with a space before its end": head("GET", "/index.html", ("transfer-encoding ", "chunked")),
    "a name that begins with a space": head("GET", "/index.html", (" transfer-encoding", "chunked")),
    "in the path": head("GET", "/index.html" + LINES),
    "in the method": head("GET /index.html" + LINES),
    "in the authority": head("GET", "/index.html", authority="localhost\r\n\r\n" + SMUGGLED),
    "in the scheme": head("GET", "/index.html", scheme="https" + LINES),
    "in Host": [f for f in head() if f[0] != ":authority"] + [("host", "localhost\r\n\r\n" + SMUGGLED)],
    "in a crumb of a cookie": head("GET", "/index.html", ("cookie", "a=1"), ("cookie", "b=2\r\n\r\n" + SMUGGLED)),
    "a body that content-length does not own": head("POST", "/index.html", ("content-length", "0")),
    "a body in chunks": head("POST", "/index.html", ("transfer-encoding", "chunked")),
    "a body in chunks, in upper case": head("POST", "/index.html", ("Transfer-Encoding", "chunked")),
    "two lengths": head("POST", "/index.html", ("content-length", "0"), ("content-length", "30")),
}


@pytest.mark.parametrize("fields", SMUGGLING.values(), ids=SMUGGLING)
def test_smuggling(server, fields):
    """Such a request is refused, and what it hides is never run."""
    with Peer(server) as peer:
        if fields[0][1] == "POST":
            peer.request(1, fields, body=f"0\r\n\r\n{SMUGGLED}\r\n\r\n".encode())
        else:
            peer.request(1, fields)
        peer.wait(lambda: peer.status(1) or peer.over(1), "a refusal")
        assert peer.status(1) in (None, 400, 405, 501), peer.story()
        if not peer.closed:
            peer.settle()
            assert not peer.over(3)
    assert '"GET /smuggled' not in server.access()


def test_an_authority_of_another_virtual_host_than_that_of_the_handshake(make_server):
    """RFC 9110 section 7.4: 421, since the connection was not made for it; its own connection is served."""
    server = make_server(http2=True, start=False)
    other = f"""<VirtualHost 127.0.0.1:{server.port}>
ServerName other.example
DocumentRoot {server.htdocs}
{server.tls_lines}SSLVerifyClient optional_no_ca
<Location /private>
Require ssl-verify-client
</Location>
</VirtualHost>
"""
    with open(server.config_file, "a") as f:
        f.write(other)
    server.start()
    with Peer(server) as peer:
        peer.request(1, head(authority="other.example"))
        peer.wait_answer(1, 421)
        peer.request(3, head(authority=f"OTHER.example:{server.port}"))
        peer.wait_answer(3, 421)
        peer.request(5, head(authority="localhost"))
        assert peer.wait_answer(5, 200).body == PAGE
        peer.request(7, subscription())
        peer.wait_status(7, 200)


# --- limits of streams ---

def test_limit_per_client_counts_streams_of_every_connection(make_server):
    """MercureMaxSubscribersPerClient: over HTTP/2 and HTTP/1.1 together; a stream that was reset makes room."""
    server = make_server(http2=True, config="MercureMaxSubscribersPerClient 5\n")
    with Peer(server) as one, Peer(server) as two:
        for stream in (1, 3):
            one.request(stream, subscription())
            one.wait_status(stream, 200)
            two.request(stream, subscription())
            two.wait_status(stream, 200)
        text = Stream(server, "a", sock=connect(server))
        one.request(5, subscription())
        assert int(one.wait_status(5, 429)["retry-after"]) > 0
        two.request(5, subscription())
        two.wait_status(5, 429)
        with pytest.raises(Refused) as refusal:
            Stream(server, "a", sock=connect(server))
        assert refusal.value.answer.status == 429
        one.send(rst_stream(1))
        stream = iter(range(7, 2_000, 2))

        def again():
            mine = next(stream)
            two.request(mine, subscription())
            return two.wait_status(mine)[":status"] == "200"
        wait_for(again, "a place is free again")
        text.close()


def test_limit_of_a_hub_counts_streams(make_server):
    server = make_server(http2=True, config="MercureMaxSubscribers 3\n")
    with Peer(server) as peer:
        for stream in (1, 3, 5):
            peer.request(stream, subscription())
            peer.wait_status(stream, 200)
        peer.request(7, subscription())
        peer.wait_answer(7, 429)
        peer.request(9, publication(), body=update("a", "to three"))
        peer.wait_answer(9, 200)
        for stream in (1, 3, 5):
            peer.wait_body(stream, "to three")


def test_many_connections_with_one_stream_each_over_the_limit(make_server):
    """Sixty connections, of which five get a stream; the others get 429, or are not let in at all."""
    server = make_server(http2=True, config="MercureMaxSubscribersPerClient 5\n")
    peers = [Peer(server) for _ in range(60)]
    for peer in peers:
        peer.request(1, subscription())
    for peer in peers:
        peer.wait(lambda: peer.status(1) or peer.goaways, "an answer")
        assert peer.status(1) in (200, 429) or peer.goaways == [Code.ENHANCE_YOUR_CALM], peer.story()
    assert sum(peer.status(1) == 200 for peer in peers) == 5
    for peer in peers:
        peer.close()
