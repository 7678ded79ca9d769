"""Bounds of our HTTP/2, and what must not be bound: threads, time limits, memory, limits per client.

Clients here keep to the protocol, but are slow, or stop in the middle. What they hold must be given up in a bounded time, and must
not keep others from the hub or from pages. On the other side stand clients that are merely busy, or pause for a while: they get
all of what they asked for. One server with httpd's usual time limits serves most of the tests, another one has short ones.
"""

import socket
import time

import pytest

from h2frames import (INITIAL_WINDOW_SIZE, Code, Peer, block, data, head, headers, publication, subscription,
                      update, window_update)
from server import PATH, Server

SOON = 3             # seconds within which a client gets its answer that does not depend on others
GIVEN_UP = 5         # seconds without progress after which a slow reader is given up while others wait
LIMIT = 1            # Timeout of the server with short limits
PATIENT = 10         # seconds within which what is bound by that limit must have ended
BIG, DOWNLOAD = 50_000_000, 10_000_000  # bytes: the latter is more than sockets hold
PAGE = "an ordinary page\n"
WINDOW_OF_ZERO = ((INITIAL_WINDOW_SIZE, 0),)
FORM = ("content-type", "application/x-www-form-urlencoded")
EXPECT = ("expect", "100-continue")
LARGE_HEAD = "".join(f"Header add X-Large-{i} \"{'y' * 7_900}\" \"expr=%{{REQUEST_URI}} == '/large-head'\"\n" for i in range(10))


def files(server):
    """What the tests load: /big and /download of zeroes, /page with its 60 KB, and /large-head."""
    for name, size in (("big", BIG), ("download", DOWNLOAD)):
        with open(f"{server.htdocs}/{name}", "wb") as f:
            f.truncate(size)
    for name, text in (("page", "x" * 60_000), ("large-head", "x")):
        with open(f"{server.htdocs}/{name}", "w") as f:
            f.write(text)
    return server


def running(**options):
    server = Server(http2=True, **options)
    try:
        yield files(server).start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def usual():
    """Timeout is httpd's 60 s: what is given up earlier has another bound. So few threads that two connections can hold them."""
    yield from running(config="MercureDispatchTimeout 1\nMercureMaxBody 2M\n", main="MercureHTTP2Threads 4\n" + LARGE_HEAD)


@pytest.fixture(scope="module")
def short():
    yield from running(config=f"Timeout {LIMIT}\nMercureDispatchTimeout 2\nMercureMaxLifetime 3\nMercureHeartbeat 0\n")


def hub_serves(server, text):
    """Somebody else subscribes, publishes and gets the update."""
    with Peer(server) as reader, Peer(server) as writer:
        reader.request(1, subscription("others"))
        reader.wait_status(1, 200, SOON)
        writer.request(1, publication(), body=update("others", text))
        writer.wait_answer(1, 200, SOON)
        reader.wait_body(1, text, SOON)


def statuses(peer, stream):
    return [dict(fields).get(":status") for fields in peer.fields.get(stream, [])]


# --- the handshake ---

@pytest.mark.parametrize("options", [{"tls": True}, {"http2": True}], ids=["MercureHTTP2 Off", "MercureHTTP2 On"])
def test_the_time_limit_of_the_handshake_holds(make_server, options):
    """mod_reqtimeout's, with the module loaded; Timeout, which would end it else, is longer."""
    server = make_server(config="RequestReadTimeout handshake=1\n", **options)
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(5)
        sock.sendall(b"\x16\x03\x01")
        try:
            while sock.recv(100):
                pass
        except ConnectionResetError:
            pass


# --- who may hold the hub's threads ---

def large_file_by_another_way(peer, stream):
    """A path that begins with the hub's, and ends somewhere else."""
    peer.send(headers(stream, head("GET", f"{PATH}/../../big")))


def expecting(fields):
    return lambda peer, stream: peer.send(headers(stream, fields, end=False))


def half_a_body(fields):
    """As much as the server's window takes at first."""
    def ask(peer, stream):
        room = peer.settings.get(INITIAL_WINDOW_SIZE, 65_535)
        text = b"topic=a&data=" + b"x" * (room - 13)
        peer.send(headers(stream, fields, end=False), *[data(stream, text[i:i + 16_384]) for i in range(0, room, 16_384)])
    return ask


@pytest.mark.parametrize("ask", [
    pytest.param(large_file_by_another_way, id="a large file, through dots behind the hub's path"),
    pytest.param(expecting(head("QUERY", PATH, FORM, EXPECT)), id="QUERY that expects 100"),
    pytest.param(expecting(publication(EXPECT)), id="publication that expects 100"),
    pytest.param(half_a_body(head("QUERY", PATH, FORM)), id="QUERY that stops in its body"),
    pytest.param(half_a_body(publication()), id="publication that stops in its body"),
])
def test_the_hub_serves_others_beside(usual, ask):
    """Requests that make no progress, on four connections with window of zero."""
    peers = [Peer(usual, settings=WINDOW_OF_ZERO) for _ in range(4)]
    try:
        for peer in peers:
            ask(peer, 1)
            peer.settle()  # so that each of them comes to have its turn
            ask(peer, 3)
            peer.settle()
        hub_serves(usual, "beside slow ones")
        assert not any(peer.closed for peer in peers)
    finally:
        for peer in peers:
            peer.close()


def test_a_publication_that_expects_100_continue(usual):
    with Peer(usual) as peer:
        peer.send(headers(1, publication(EXPECT), end=False))
        peer.wait(lambda: "100" in statuses(peer, 1), "100 Continue", SOON)
        assert peer.status(1) is None
        peer.send(data(1, update("expected", "text"), end=True))
        peer.wait_answer(1, 200, SOON)
        assert statuses(peer, 1) == ["100", "200"]


def test_a_query_that_expects_100_continue(usual):
    with Peer(usual) as peer:
        peer.send(headers(1, head("QUERY", PATH, FORM, EXPECT), end=False))
        peer.wait(lambda: "100" in statuses(peer, 1), "100 Continue", SOON)
        peer.send(data(1, b"match=expected", end=True))
        peer.wait_status(1, 200, SOON)
        assert statuses(peer, 1) == ["100", "200"]


# --- slow readers ---

@pytest.mark.parametrize("step", [0, 1], ids=["nothing", "a byte at a time"])
def test_a_page_comes_soon_beside_slow_readers(usual, step):
    """Two connections that read a large file so slowly hold all threads; somebody waits, so they are given up."""
    slow = [Peer(usual, settings=((INITIAL_WINDOW_SIZE, step),)) for _ in range(2)]
    streams = (1, 3, 5, 7)
    try:
        for peer in slow:
            peer.send(*[headers(stream, head("GET", "/big")) for stream in streams])
            peer.settle()
        with Peer(usual) as other:
            begun = time.monotonic()
            other.request(1, head())
            while not other.over(1):
                assert time.monotonic() - begun < GIVEN_UP + SOON, "a page had to wait for slow readers"
                for peer in slow:
                    if step:
                        peer.send(*[window_update(stream, step) for stream in streams if not peer.over(stream)])
                    peer.step(0.02)
                other.step(0.05)
            assert other.wait_answer(1, 200).body == PAGE
    finally:
        for peer in slow:
            peer.close()


def test_a_reader_that_pauses_gets_all(usual):
    """Longer than MercureDispatchTimeout, which is for events; shorter than Timeout."""
    with Peer(usual, receive_buffer=65_536) as peer:
        peer.request(1, head("GET", "/download"))
        peer.wait_status(1, 200)
        peer.reads = False
        over = time.monotonic() + 2.5  # MercureDispatchTimeout is 1 s
        with Peer(usual) as other:
            other.request(1, subscription("quiet"))
            while time.monotonic() < over:
                other.step(over - time.monotonic())
        peer.reads = True
        peer.wait_over(1, 30)
        assert 1 in peer.ended and len(peer.bodies[1]) == DOWNLOAD, f"{len(peer.bodies[1])} bytes; {peer.story()[-200:]}"


# --- streams that end in time, whatever their windows ---

def test_a_finished_response_whose_window_stays_closed_is_reset(short):
    """Small enough to be ready as a whole: no thread waits for it, nor may anything else for ever."""
    with Peer(short, settings=WINDOW_OF_ZERO) as peer:
        peer.send(*[headers(stream, head("GET", "/page")) for stream in (1, 3, 5)], headers(7, head()))
        for stream in (1, 3, 5, 7):
            peer.wait_status(stream, 200, PATIENT)
        for stream in (1, 3, 5, 7):
            peer.wait_over(stream, PATIENT)
            assert stream not in peer.ended and not peer.bodies.get(stream), peer.story()


def test_a_stream_of_events_that_has_ended_is_reset_when_its_window_stays_closed(short):
    """MercureMaxLifetime ends it while an update waits to be sent."""
    with Peer(short, settings=((INITIAL_WINDOW_SIZE, 100),)) as peer:
        peer.request(1, subscription("ended"))
        peer.wait_status(1, 200)
        late = time.monotonic() + 1.5  # so that its lifetime, 3 s less a fifth at most, is over before MercureDispatchTimeout
        while time.monotonic() < late:
            peer.step(late - time.monotonic())
        with Peer(short) as writer:
            writer.request(1, publication(), body=update("ended", "x" * 5_000))
            writer.wait_answer(1, 200)
        peer.wait_over(1, PATIENT)
        assert 1 not in peer.ended and len(peer.bodies.get(1, b"")) <= 100, peer.story()


@pytest.mark.parametrize("body", [b"", b"topic=a&data=x"], ids=["no byte", "a piece"])
def test_a_body_of_a_silent_client_is_not_waited_for_longer_than_timeout(short, body):
    with Peer(short) as peer:
        peer.send(headers(1, publication(), end=False), data(1, body) if body else b"")
        peer.wait_over(1, PATIENT)
        assert peer.status(1) in (None, 400, 408), peer.story()


def test_a_response_head_that_is_too_large_does_not_hang(usual):
    """79 KB of fields: more than is kept for a head."""
    with Peer(usual) as peer:
        peer.request(1, head("GET", "/large-head"))
        peer.wait_over(1, SOON)
        assert peer.status(1) in (None, 200, 500), peer.story()
        peer.request(3, head())
        assert peer.wait_answer(3, 200).body == PAGE


# --- memory, and its bound ---

def test_heads_of_open_subscriptions_leave_room_for_others(usual):
    """Ninety megabytes in heads, and smaller ones to fill what is left: the child goes on to take requests of others."""
    large = block(subscription("heads", *[(f"x-{i}", "v" * 7_000) for i in range(8)]))
    peers = []
    try:
        for payload, streams in [(large, range(1, 125, 2))] * 26 + \
                [(block(subscription("heads", ("x", "v" * size))), range(1, 199, 2)) for size in (3_000, 3_000, 300, 300, 1, 1)]:
            peer = Peer(usual)
            peers.append(peer)
            for stream in streams:
                peer.send(headers(stream, payload, pieces=-(-len(payload) // 16_000)))
            peer.wait(lambda: all(peer.status(s) or peer.over(s) for s in streams) or peer.goaways, "answers", PATIENT)
        with Peer(usual) as other:
            other.request(1, head("GET", "/index.html", ("user-agent", "x" * 200), ("cookie", "a=" + "x" * 700)))
            assert other.wait_answer(1, 200, SOON).body == PAGE
        hub_serves(usual, "beside large heads")
    finally:
        for peer in peers:
            peer.close()


# --- clients that are merely busy ---

def test_large_publications_at_once_on_one_connection(usual):
    """Six of a megabyte each, sent in turns as the server's windows allow: all of them are taken."""
    size, streams = 1_000_000, (1, 3, 5, 7, 9, 11)
    with Peer(usual) as peer:
        text = {stream: b"topic=large&data=" + b"x" * (size - 17) for stream in streams}
        for stream in streams:
            peer.send(headers(stream, publication(), end=False))
        deadline = time.monotonic() + 30
        while any(text[stream] and not peer.over(stream) for stream in streams):
            assert time.monotonic() < deadline, peer.story()
            for stream in streams:
                if peer.over(stream):
                    continue
                room = min([peer.settings.get(INITIAL_WINDOW_SIZE, 65_535) + peer.updates.get(stream, 0) - peer.spent.get(stream, 0),
                            65_535 + peer.updates.get(0, 0) - peer.spent.get(0, 0), 16_384])
                piece, text[stream] = text[stream][:max(room, 0)], text[stream][max(room, 0):]
                if piece:
                    peer.pour(stream, data(stream, piece, end=not text[stream]), len(piece))
            peer.step(0.01)
        for stream in streams:
            peer.wait_over(stream, PATIENT)
        assert [peer.status(stream) for stream in streams] == [200] * 6, peer.resets


def test_many_pages_at_once_on_one_connection_come_whole(usual):
    """Twenty of 60 KB; so much waits at once, and is sent in one go."""
    streams = range(1, 41, 2)
    for _ in range(5):
        with Peer(usual) as peer:
            peer.settle()
            peer.send(*[headers(stream, head("GET", "/page")) for stream in streams])
            for stream in streams:
                assert peer.wait_answer(stream, 200).body == "x" * 60_000


def test_pages_whose_windows_open_at_once_come_whole(usual):
    """The same, when all of it has waited in the server before."""
    streams = range(1, 41, 2)
    with Peer(usual, settings=WINDOW_OF_ZERO) as peer:
        peer.send(*[headers(stream, head("GET", "/page")) for stream in streams])
        for stream in streams:
            peer.wait_status(stream, 200)
        peer.send(*[window_update(stream, 60_000) for stream in streams])
        for stream in streams:
            assert peer.wait_answer(stream, 200).body == "x" * 60_000


def test_a_cookie_in_many_fields(usual):
    """RFC 9113 section 8.2.3: they are one field, so no matter of LimitRequestFields."""
    with Peer(usual) as peer:
        peer.request(1, head("GET", "/index.html", *[("cookie", f"crumb-{i}={i}") for i in range(150)]))
        assert peer.wait_answer(1, 200).body == PAGE
        peer.request(3, subscription("crumbs", *[("cookie", f"crumb-{i}={i}") for i in range(150)]))
        peer.wait_status(3, 200)


# --- connections of a client ---

def connections(server, count):
    """So many, each with a subscription of another client behind a proxy. How many of them got an answer."""
    peers, served = [], 0
    try:
        for i in range(count):
            try:
                peers.append(Peer(server))
            except OSError:
                continue
            peers[-1].request(1, subscription("a", ("x-forwarded-for", f"10.0.0.{i}")))
        for peer in peers:
            peer.wait(lambda: peer.status(1) or peer.over(1) or peer.goaways, "an answer")
            assert peer.status(1) in (200, 429) or peer.closed or peer.goaways == [Code.ENHANCE_YOUR_CALM], peer.story()
            served += peer.status(1) is not None
        return served
    finally:
        for peer in peers:
            peer.close()


def test_connections_of_a_client_are_limited(make_server):
    """Eight more than MercureMaxSubscribersPerClient."""
    server = make_server(http2=True, config="MercureMaxSubscribersPerClient 2\n")
    assert connections(server, 14) == 10


def test_connections_of_a_proxy_are_not(make_server):
    """With mod_remoteip a connection may be one that many clients share: their subscriptions are counted, each by its own address."""
    server = make_server(http2=True, modules=["remoteip"], config="MercureMaxSubscribersPerClient 2\nRemoteIPHeader X-Forwarded-For\n"
                                                                  "RemoteIPInternalProxy 127.0.0.1\n")
    assert connections(server, 14) == 14
