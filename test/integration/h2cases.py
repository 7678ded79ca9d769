"""What the conformance tests of HTTP/2 share: their one server, the states of a stream, and what may come of a case.

A case is what a peer does on a connection of its own, and what must come of it. Where an RFC leaves a choice, every choice that
it leaves is accepted: a stream error may be a connection error (5.4), a malformed request may be answered 400 (8.1.1). The
numbers are RFC 9113's sections.
"""

import pytest

from h2frames import (BIGGEST_WINDOW, INCREMENTAL, INITIAL_WINDOW_SIZE, Code, Peer, block, head, headers, literal,
                      publication, rst_stream, subscription, update)
from server import Server

PAGE = "an ordinary page\n"
GET = block(head())
NAMED = literal("x-a", "1", INCREMENTAL)
BIG = 300_000


@pytest.fixture(scope="module")
def server():
    """One server for all cases. Whatever they did to it, at the end it serves a subscription, and no child was replaced."""
    server = Server(http2=True, main='Header always set x-cookie "expr=%{HTTP_COOKIE}"\n')
    try:
        with open(f"{server.htdocs}/big", "w") as f:
            f.write("b" * BIG)
        server.start()
        children = server.child_pids()
        yield server
        with Peer(server) as peer:
            peer.request(1, subscription("at-the-end"))
            peer.wait_status(1, 200)
            peer.request(3, publication(), body=update("at-the-end", "still here"))
            peer.wait_answer(3, 200)
            peer.wait_body(1, "data: still here")
        assert server.child_pids() == children
    finally:
        server.close()


# --- what must come of it ---

def connection_error(*codes):
    """5.4.1: GOAWAY with one of these codes, and the connection is closed."""
    def check(peer):
        peer.wait_closed()
        assert peer.goaways and peer.goaways[-1] in codes, peer.story()
    return check


def refused_connection(peer):
    """3.4: the connection is closed; GOAWAY may be left out where the peer does not speak HTTP/2."""
    peer.wait_closed()
    assert all(code == Code.PROTOCOL_ERROR for code in peer.goaways), peer.story()
    assert not peer.fields, peer.story()


def stream_error(stream, *codes):
    """5.4.2: RST_STREAM with one of these codes, and the connection lives on; or a connection error instead (5.4)."""
    def check(peer):
        peer.wait(lambda: stream in peer.resets or peer.goaways or peer.closed, f"an error of stream {stream}")
        if peer.goaways or peer.closed:
            return connection_error(*codes)(peer)
        assert peer.resets[stream] in codes, peer.story()
        assert peer.settle(), peer.story()
    return check


def malformed(stream, *statuses):
    """8.1.1: a stream error of type PROTOCOL_ERROR, or an answer that says that the request is bad."""
    statuses = statuses or (400,)

    def check(peer):
        peer.wait(lambda: peer.status(stream) or stream in peer.resets or peer.closed, f"an answer on stream {stream}")
        if peer.status(stream):
            assert peer.status(stream) in statuses, peer.story()
            assert peer.settle(), peer.story()
        else:
            stream_error(stream, Code.PROTOCOL_ERROR)(peer)
    return check


def ignored(peer):
    """Nothing comes of it, and the connection lives on."""
    assert peer.settle(), peer.story()
    assert not peer.resets and not peer.goaways, peer.story()


def not_answered_again(stream, *codes):
    """Ignored, or an error with one of these codes: but the stream is not answered a second time."""
    def check(peer):
        before = len(peer.fields.get(stream, []))
        if peer.settle():
            assert set(peer.resets.values()) <= set(codes), peer.story()
        else:
            assert set(peer.goaways) <= set(codes), peer.story()
        assert len(peer.fields.get(stream, [])) == before, peer.story()
    return check


def served(stream, status=200):
    """An ordinary answer, and the connection lives on."""
    def check(peer):
        peer.wait_answer(stream, status)
        ignored(peer)
    return check


def published(stream, event_id):
    def check(peer):
        assert peer.wait_answer(stream, 200).body == event_id
        ignored(peer)
    return check


def lives_on(stream=3):
    """After an error of another stream, or none at all: the connection serves requests."""
    def check(peer):
        peer.request(stream, head())
        assert peer.wait_answer(stream, 200).body == PAGE
    return check


def both(*checks):
    def check(peer):
        for each in checks:
            each(peer)
    return check


# --- the states of stream 1 (5.1) ---

def is_open(peer):
    peer.send(headers(1, publication(), end=False))
    assert peer.settle()


def is_half_closed(peer):
    """The client has ended it, the server has not: a subscription."""
    peer.request(1, subscription())
    peer.wait_status(1, 200)


def was_answered(peer):
    peer.request(1, head())
    peer.wait_answer(1, 200)


def was_reset_by_us(peer):
    peer.run(is_open, rst_stream(1))
    assert peer.settle()


def check_equal(one, other):
    assert one == other


def case(section, what, *steps, expect, settings=((INITIAL_WINDOW_SIZE, BIGGEST_WINDOW),)):
    return pytest.param(steps, expect, settings, id=f"{section} {what}")


protocol_error = connection_error(Code.PROTOCOL_ERROR)
size_error = connection_error(Code.FRAME_SIZE_ERROR)
# Where a frame is too short for its own padding or priority, both are to the point.
malformed_frame = connection_error(Code.PROTOCOL_ERROR, Code.FRAME_SIZE_ERROR)
closed_error = stream_error(1, Code.STREAM_CLOSED)
compression_error = connection_error(Code.COMPRESSION_ERROR)
