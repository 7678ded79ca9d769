"""HTTP/2 as RFC 9113 wants it of a server, frame by frame: sections 3 to 6. Each test's id or text names the section that it holds.

What requests and their compression may look like is in test_http2_messages.py.
"""

import pytest

from h2cases import (PAGE, GET, NAMED, BIG, connection_error, refused_connection, stream_error, malformed, ignored,
                     not_answered_again, served, published, lives_on, both, check_equal, is_open, is_half_closed,
                     was_answered, was_reset_by_us, case, protocol_error, size_error, malformed_frame, closed_error,
                     compression_error, server)
from h2frames import (ACK, ALTSVC, BIGGEST_WINDOW, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, GOAWAY,
                      HEADER_TABLE_SIZE, HEADERS, INCREMENTAL, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, NO_RFC7540_PRIORITIES,
                      ORIGIN, PADDED, PING, PREFACE, PRIORITY, PRIORITY_UPDATE, PUSH_PROMISE, RST_STREAM, SETTINGS,
                      WINDOW_UPDATE, WITH_PRIORITY, Code, Peer, block, data, frame, goaway, head, headers, indexed, literal,
                      padded, ping, priority, publication, rst_stream, settings, subscription, update, window_update)

def window_overflow_by_settings(peer):
    """6.9.2 wants a connection error of type FLOW_CONTROL_ERROR; libnghttp2 1.52 resets the stream with that code instead."""
    peer.wait(lambda: 1 in peer.resets or peer.goaways, "an error")
    assert (peer.resets.get(1) or peer.goaways[-1]) == Code.FLOW_CONTROL_ERROR, peer.story()


FRAMES = [
    # 4.1 Frame Format
    case("4.1", "an unknown type of frame on the connection is ignored", frame(0x42, 0xFF, 0, b"what"), expect=ignored),
    case("4.1", "an unknown type of frame on an open stream is ignored", is_open, frame(0x42, 0xFF, 1, b"what"), expect=ignored),
    case("4.1", "unknown flags are ignored", ping(flags=0xFE), expect=ignored),
    case("4.1", "unknown flags of HEADERS are ignored", frame(HEADERS, END_STREAM | END_HEADERS | 0xD2 & ~PADDED, 1, GET),
         expect=served(1)),
    case("4.1", "the reserved bit is ignored", frame(PING, 0, 0x80000000, b"12345678"), expect=ignored),
    case("4.1", "the reserved bit of a stream is ignored", frame(HEADERS, END_STREAM | END_HEADERS, 0x80000001, GET),
         expect=served(1)),

    # 4.2 Frame Size
    case("4.2", "DATA of 16384 bytes", headers(1, publication(), end=False),
         data(1, update("a", event_id="urn:x:4.2").ljust(16384, b"&"), True), expect=published(1, "urn:x:4.2")),
    case("4.2", "DATA of more than SETTINGS_MAX_FRAME_SIZE", is_open, data(1, bytes(16385)),
         expect=stream_error(1, Code.FRAME_SIZE_ERROR)),
    case("4.2", "HEADERS of more than SETTINGS_MAX_FRAME_SIZE", headers(1, head("GET", "/", ("x-long", "x" * 16384))),
         expect=size_error),
    case("4.2", "an unknown frame of more than SETTINGS_MAX_FRAME_SIZE", frame(0x42, 0, 0, bytes(16385)), expect=size_error),
    case("4.2", "SETTINGS of more than SETTINGS_MAX_FRAME_SIZE", frame(SETTINGS, 0, 0, bytes(6 * 2731)), expect=size_error),

    # 4.3 Field Section Compression and Decompression
    case("4.3", "a field block that cannot be decoded", headers(1, indexed(70)), expect=compression_error),
    case("4.3", "a field block that ends within a field", headers(1, GET + b"\x00\x05ab"), expect=compression_error),
    case("4.3", "trailers that cannot be decoded", is_open, headers(1, indexed(70)), expect=compression_error),
    case("4.3", "the block of a stream that was reset is decoded all the same",
         headers(1, [*head("GET", "/"), literal("x-here", "1", INCREMENTAL)], end=False), rst_stream(1),
         headers(3, [*head(), indexed(62)]), expect=lambda peer: peer.wait_answer(3, 200)),
    case("4.3", "the block of a malformed request is decoded all the same",
         headers(1, [("X-BAD", "1"), literal("x-here", "1", INCREMENTAL)]), headers(3, [*head(), indexed(62)]),
         expect=both(malformed(1), lambda peer: peer.wait_answer(3, 200))),
    case("4.3", "PRIORITY within a field block", frame(HEADERS, END_STREAM, 1, GET), priority(1), expect=protocol_error),
    case("4.3", "PING within a field block", frame(HEADERS, END_STREAM, 1, GET), ping(), expect=protocol_error),
    case("4.3", "HEADERS of another stream within a field block", frame(HEADERS, END_STREAM, 1, GET), headers(3, GET),
         expect=protocol_error),
    case("4.3", "CONTINUATION of another stream within a field block", frame(HEADERS, END_STREAM, 1, GET),
         frame(CONTINUATION, END_HEADERS, 3, b""), expect=protocol_error),

    # 5.1 Stream States
    case("5.1", "idle: DATA", data(1, b"x", True), expect=protocol_error),
    case("5.1", "idle: RST_STREAM", rst_stream(1), expect=protocol_error),
    case("5.1", "idle: WINDOW_UPDATE", window_update(1, 100), expect=protocol_error),
    case("5.1", "idle: CONTINUATION", frame(CONTINUATION, END_HEADERS, 1, GET), expect=protocol_error),
    case("5.1", "idle: PRIORITY is no error", priority(1), headers(1, GET), expect=served(1)),
    case("5.1", "open: PRIORITY", is_open, priority(1),
         data(1, update("a", event_id="urn:x:5.1"), True), expect=published(1, "urn:x:5.1")),
    case("5.1", "open: RST_STREAM", is_open, rst_stream(1), expect=both(ignored, lives_on())),
    case("5.1", "half closed (remote): DATA", is_half_closed, data(1, b"x"), expect=closed_error),
    case("5.1", "half closed (remote): HEADERS", is_half_closed, headers(1, GET), expect=closed_error),
    case("5.1", "half closed (remote): CONTINUATION", is_half_closed, frame(CONTINUATION, END_HEADERS, 1, GET),
         expect=connection_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "half closed (remote): PRIORITY and an unknown frame are no errors", is_half_closed, priority(1),
         frame(0x42, 0, 1, b"x"), expect=ignored),
    case("5.1", "half closed (remote): RST_STREAM", is_half_closed, rst_stream(1), expect=both(ignored, lives_on())),
    case("5.1", "closed: DATA after the answer", was_answered, data(1, b"x"),
         expect=not_answered_again(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "closed: HEADERS after the answer", was_answered, headers(1, GET),
         expect=not_answered_again(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "closed: CONTINUATION after the answer", was_answered, frame(CONTINUATION, END_HEADERS, 1, GET),
         expect=connection_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "closed: WINDOW_UPDATE, RST_STREAM and PRIORITY after the answer are no errors", was_answered,
         window_update(1, 100), priority(1), rst_stream(1), expect=both(ignored, lives_on())),
    case("5.1", "closed: DATA after RST_STREAM", was_reset_by_us, data(1, b"x"), expect=not_answered_again(1, Code.STREAM_CLOSED)),
    case("5.1", "closed: HEADERS after RST_STREAM", was_reset_by_us, headers(1, GET),
         expect=not_answered_again(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "closed: CONTINUATION after RST_STREAM", was_reset_by_us, frame(CONTINUATION, END_HEADERS, 1, GET),
         expect=connection_error(Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
    case("5.1", "closed: PRIORITY after RST_STREAM is no error", was_reset_by_us, priority(1), expect=both(ignored, lives_on())),

    # 5.1.1 Stream Identifiers
    case("5.1.1", "a stream with an even number", headers(2, GET), expect=protocol_error),
    case("5.1.1", "a stream with a smaller number than the last", headers(5, GET), headers(3, GET),
         expect=not_answered_again(3, Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)),
    case("5.1.1", "numbers may be skipped", headers(101, GET), headers(2**31 - 1, GET),
         expect=both(served(101), served(2**31 - 1))),

    # 5.3.2 Priority Signaling in HTTP/2 is deprecated, and must go on to be accepted
    case("5.3.2", "HEADERS with a priority", frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, bytes(5) + GET),
         expect=served(1)),
    case("5.3.2", "HEADERS with an exclusive priority on an idle stream",
         frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, b"\x80\x00\x00\x09\xff" + GET), expect=served(1)),
    case("5.3.2", "PRIORITY frames in a ring", priority(3, 5), priority(5, 7), priority(7, 3), headers(1, GET), expect=served(1)),

    # 5.4 Error Handling
    case("5.4.2", "a stream's error leaves the others", is_half_closed, headers(3, GET), headers(5, publication(), end=False),
         window_update(5, 0), headers(7, publication()), data(7, b""),
         expect=lambda peer: peer.wait(lambda: 5 in peer.resets or peer.goaways, "an error of stream 5")),
    case("5.4.2", "RST_STREAM is not answered by RST_STREAM", is_open, rst_stream(1, Code.PROTOCOL_ERROR), expect=ignored),

    # 5.5 Extending HTTP/2
    case("5.5", "an unknown frame within a field block", frame(HEADERS, END_STREAM, 1, GET), frame(0x42, 0, 1, b"x"),
         expect=protocol_error),
    case("5.5", "ALTSVC, ORIGIN and PRIORITY_UPDATE of a client are ignored", frame(ALTSVC, 0, 0, b"\x00\x01ah2=\":1\""),
         frame(ORIGIN, 0, 0, b"\x00\x09https://a"), frame(PRIORITY_UPDATE, 0, 0, b"\x00\x00\x00\x01u=3"), headers(1, GET),
         expect=served(1)),

    # 6.1 DATA
    case("6.1", "DATA on stream 0", frame(DATA, 0, 0, b"x"), expect=protocol_error),
    case("6.1", "DATA with padding as long as its payload", is_open, frame(DATA, PADDED, 1, b"\x06hello"), expect=protocol_error),
    case("6.1", "DATA with padding longer than its payload", is_open, frame(DATA, PADDED, 1, b"\xff"), expect=protocol_error),
    case("6.1", "DATA too short to tell its padding", is_open, frame(DATA, PADDED, 1, b""), expect=malformed_frame),
    case("6.1", "padding is no part of the body", headers(1, publication(), end=False),
         *[frame(DATA, PADDED, 1, padded(bytes([byte]), 255)) for byte in update("a", event_id="urn:x:6.1")],
         frame(DATA, PADDED | END_STREAM, 1, padded(b"", 9)), expect=published(1, "urn:x:6.1")),
    case("6.1", "empty DATA ends a body", headers(1, publication(), end=False), data(1, update("a", event_id="urn:x:6.1e")),
         data(1, b""), data(1, b"", True), expect=published(1, "urn:x:6.1e")),

    # 6.2 HEADERS
    case("6.2", "HEADERS on stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, GET), expect=protocol_error),
    case("6.2", "HEADERS with padding", frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, padded(GET, 200)), expect=served(1)),
    case("6.2", "HEADERS with padding and priority", frame(HEADERS, END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY, 1,
                                                          padded(bytes(5) + GET, 9)), expect=served(1)),
    case("6.2", "HEADERS with padding longer than its payload", frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\xff" + GET),
         expect=protocol_error),
    case("6.2", "HEADERS too short for its priority", frame(HEADERS, END_STREAM | END_HEADERS | WITH_PRIORITY, 1, b"\x00\x00"),
         expect=malformed_frame),
    case("6.2", "HEADERS without END_HEADERS, then DATA", frame(HEADERS, 0, 1, GET), data(1, b"x", True), expect=protocol_error),

    # 6.3 PRIORITY
    case("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, bytes(5)), expect=protocol_error),
    case("6.3", "PRIORITY of 4 bytes", is_open, frame(PRIORITY, 0, 1, bytes(4)), expect=stream_error(1, Code.FRAME_SIZE_ERROR)),

    # 6.4 RST_STREAM
    case("6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, bytes(4)), expect=protocol_error),
    case("6.4", "RST_STREAM of 3 bytes", is_open, frame(RST_STREAM, 0, 1, bytes(3)), expect=size_error),
    case("6.4", "RST_STREAM of 5 bytes", is_open, frame(RST_STREAM, 0, 1, bytes(5)), expect=size_error),

    # 6.5 SETTINGS
    case("6.5", "an acknowledgement with a payload", frame(SETTINGS, ACK, 0, bytes(6)), expect=size_error),
    case("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), expect=protocol_error),
    case("6.5", "SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, bytes(5)), expect=size_error),
    case("6.5.2", "SETTINGS_ENABLE_PUSH of 2", settings((ENABLE_PUSH, 2)), expect=protocol_error),
    case("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", settings((INITIAL_WINDOW_SIZE, 2**31)),
         expect=connection_error(Code.FLOW_CONTROL_ERROR)),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 16383", settings((MAX_FRAME_SIZE, 16383)), expect=protocol_error),
    case("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", settings((MAX_FRAME_SIZE, 2**24)), expect=protocol_error),
    case("6.5.2", "an unknown setting is ignored", settings((0x4242, 1), (0xFFFF, 2**32 - 1), (0, 0)), expect=ignored),
    case("RFC 9218 2.1", "SETTINGS_NO_RFC7540_PRIORITIES of 2", settings((NO_RFC7540_PRIORITIES, 2)), expect=protocol_error),
    case("6.5.3", "every SETTINGS is acknowledged", settings(), settings((ENABLE_PUSH, 0)), settings((MAX_FRAME_SIZE, 2**24 - 1)),
         expect=lambda peer: peer.wait(lambda: peer.acks == 4, "four acknowledgements")),
    case("6.5.3", "values are taken in order",
         settings((INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 2), (INITIAL_WINDOW_SIZE, 3)), headers(1, GET),
         expect=lambda peer: (peer.wait_body(1, PAGE[:3]), ignored(peer), check_equal(peer.bodies[1], PAGE[:3].encode()))),

    # 6.6 and 8.4 PUSH_PROMISE
    case("6.6", "PUSH_PROMISE of a client", is_open, frame(PUSH_PROMISE, END_HEADERS, 1, b"\x00\x00\x00\x02" + GET),
         expect=protocol_error),

    # 6.7 PING
    case("6.7", "PING comes back as it was", ping(b"\x00\xff\x01\xfe abc"),
         expect=lambda peer: (ignored(peer), check_equal(peer.pongs[0], b"\x00\xff\x01\xfe abc"))),
    case("6.7", "an answer to PING is not answered", ping(b"notasked", ACK),
         expect=lambda peer: (ignored(peer), check_equal(b"notasked" in peer.pongs, False))),
    case("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), expect=protocol_error),
    case("6.7", "PING of 7 bytes", frame(PING, 0, 0, bytes(7)), expect=size_error),
    case("6.7", "PING of 9 bytes", frame(PING, 0, 0, bytes(9)), expect=size_error),

    # 6.8 GOAWAY
    case("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), expect=protocol_error),
    case("6.8", "GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), expect=size_error),
    case("7", "an unknown error code of RST_STREAM", is_open, rst_stream(1, 0xFFFFFFFF), expect=both(ignored, lives_on())),

    # 6.9 WINDOW_UPDATE
    case("6.9", "WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), expect=size_error),
    case("6.9", "WINDOW_UPDATE of 5 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(5)), expect=size_error),
    case("6.9", "a window update of zero on the connection", window_update(0, 0), expect=protocol_error),
    case("6.9", "a window update of zero on a stream", is_open, window_update(1, 0), expect=stream_error(1, Code.PROTOCOL_ERROR)),
    case("6.9", "the reserved bit of a window update is ignored", frame(WINDOW_UPDATE, 0, 0, b"\x80\x00\x00\x01"), expect=ignored,
         settings=()),
    case("6.9.1", "the connection's window grows past 2^31-1", window_update(0, BIGGEST_WINDOW), window_update(0, 1),
         expect=connection_error(Code.FLOW_CONTROL_ERROR)),
    case("6.9.1", "a stream's window grows past 2^31-1", is_open, window_update(1, BIGGEST_WINDOW), window_update(1, 1),
         expect=stream_error(1, Code.FLOW_CONTROL_ERROR)),
    case("6.9.2", "a stream's window grows past 2^31-1 by SETTINGS", is_open, settings((INITIAL_WINDOW_SIZE, 100)),
         window_update(1, BIGGEST_WINDOW - 100), settings((INITIAL_WINDOW_SIZE, 101)), expect=window_overflow_by_settings),

    # 6.10 CONTINUATION
    case("6.10", "a head in five pieces", headers(1, GET, pieces=5), expect=served(1)),
    case("6.10", "an empty CONTINUATION", frame(HEADERS, END_STREAM, 1, GET), frame(CONTINUATION, 0, 1, b""),
         frame(CONTINUATION, END_HEADERS, 1, b""), expect=served(1)),
    case("6.10", "an empty HEADERS before its CONTINUATION", frame(HEADERS, END_STREAM, 1, b""),
         frame(CONTINUATION, END_HEADERS, 1, GET), expect=served(1)),
    case("6.10", "trailers in three pieces", headers(1, publication(), end=False), data(1, update("a", event_id="urn:x:6.10")),
         headers(1, [("x-one", "1"), ("x-two", "2")], pieces=3), expect=published(1, "urn:x:6.10")),
    case("6.10", "CONTINUATION on stream 0", frame(HEADERS, END_STREAM, 1, GET), frame(CONTINUATION, END_HEADERS, 0, b""),
         expect=protocol_error),
    case("6.10", "CONTINUATION after END_HEADERS", frame(HEADERS, END_HEADERS, 1, block(publication())),
         frame(CONTINUATION, END_HEADERS, 1, b""), expect=protocol_error),
    case("6.10", "CONTINUATION after CONTINUATION with END_HEADERS", frame(HEADERS, 0, 1, block(publication())),
         frame(CONTINUATION, END_HEADERS, 1, b""), frame(CONTINUATION, END_HEADERS, 1, b""), expect=protocol_error),
    case("6.10", "CONTINUATION after DATA", is_open, data(1, b"x"), frame(CONTINUATION, END_HEADERS, 1, b""),
         expect=protocol_error),
    case("6.10", "DATA after CONTINUATION without END_HEADERS", frame(HEADERS, 0, 1, block(publication())),
         frame(CONTINUATION, 0, 1, b""), data(1, b"x"), expect=protocol_error),

    # 8.1 HTTP Message Framing
    case("8.1", "trailers end a body", headers(1, publication(), end=False), data(1, update("a", event_id="urn:x:8.1")),
         headers(1, [("x-checksum", "1")]), expect=published(1, "urn:x:8.1")),
    case("8.1", "trailers without END_STREAM", headers(1, publication(), end=False), data(1, update()),
         headers(1, [("x-checksum", "1")], end=False), expect=malformed(1)),
    case("8.1", "trailers with a pseudo field", headers(1, publication(), end=False), data(1, update()),
         headers(1, [(":method", "POST")]), expect=malformed(1)),
    case("8.2.1", "trailers with a name in upper case", headers(1, publication(), end=False), data(1, update()),
         headers(1, [("X-Checksum", "1")]), expect=malformed(1)),
    case("8.1", "DATA after trailers", headers(1, publication(), end=False), headers(1, [("x-checksum", "1")]), data(1, b"x"),
         expect=not_answered_again(1, Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)),
]


@pytest.mark.parametrize("steps,expect,pairs", FRAMES)
def test_frames(server, steps, expect, pairs):
    with Peer(server, settings=pairs) as peer:
        peer.run(*steps)
        expect(peer)


# --- 3.4: how a connection begins ---

BEGINNINGS = [
    case("3.4", "an HTTP/1.1 request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", expect=refused_connection),
    case("3.4", "a preface that is wrong in its last byte", PREFACE[:-1] + b"x" + settings(), expect=refused_connection),
    case("3.4", "a preface of 24 other bytes", b"INVALID CONNECTION PREFACE" + settings(), expect=refused_connection),
    case("3.4", "PING before SETTINGS", PREFACE + ping(), expect=refused_connection),
    case("3.4", "HEADERS before SETTINGS", PREFACE + headers(1, GET), expect=refused_connection),
    case("3.4", "an acknowledgement before SETTINGS", PREFACE + frame(SETTINGS, ACK), expect=refused_connection),
    case("3.4", "a request right behind the preface", PREFACE + settings() + headers(1, GET), expect=served(1)),
    case("3.4", "a preface and a request byte by byte", *[bytes([b]) for b in PREFACE + settings() + headers(1, GET)],
         expect=served(1)),
    case("3.4", "the server's first frame is SETTINGS", PREFACE + settings() + headers(1, GET) + ping(),
         expect=lambda peer: (served(1)(peer), check_equal((peer.frames[0].type, peer.frames[0].flags), (SETTINGS, set())))),
    case("3.4", "the server does not wait for the client's SETTINGS", PREFACE,
         expect=lambda peer: (peer.wait(lambda: peer.frames, "SETTINGS"), check_equal(peer.frames[0].type, SETTINGS))),
    case("3.4", "half a preface, then the end", PREFACE[:10], lambda peer: peer.close_writing(),
         expect=lambda peer: peer.wait_closed()),
    case("4.1", "half a frame, then the end", PREFACE + settings() + headers(1, GET)[:20], lambda peer: peer.close_writing(),
         expect=lambda peer: peer.wait_closed()),
]


@pytest.mark.parametrize("steps,expect,pairs", BEGINNINGS)
def test_beginnings(server, steps, expect, pairs):
    with Peer(server, greet=False) as peer:
        peer.run(*steps)
        expect(peer)


@pytest.mark.parametrize("offered,chosen", [(["h2"], "h2"), (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"),
                                            (["http/1.1"], "http/1.1"), ([], None)],
                         ids=lambda v: " ".join(v) if isinstance(v, list) else str(v))
def test_protocol_is_chosen_by_alpn(server, offered, chosen):
    """3.2: the server's order of preference decides; who does not offer h2 is served over HTTP/1.1."""
    with Peer(server, greet=False, alpn=offered) as peer:
        assert peer.tls.selected_alpn_protocol() == chosen
        if chosen == "h2":
            peer.greet(())
            peer.run(was_answered)
        else:
            peer.send(b"GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
            peer.wait(lambda: PAGE.encode() in peer.unread, "the page")


# --- 5.1.2: stream concurrency ---

def test_streams_over_the_limit_are_refused(server):
    """5.1.2: PROTOCOL_ERROR or REFUSED_STREAM; their header blocks are decoded all the same (4.3); those within the limit live."""
    with Peer(server) as peer:
        assert peer.settle()
        limit = peer.settings[3]
        assert 1 <= limit <= 1000
        for i in range(limit):
            peer.send(headers(2 * i + 1, publication(), end=False))
        assert peer.settle() and not peer.resets, peer.story()
        over = 2 * limit + 1
        peer.send(headers(over, [*head(), NAMED]))
        stream_error(over, Code.PROTOCOL_ERROR, Code.REFUSED_STREAM)(peer)
        if peer.closed:
            return
        peer.send(data(1, update(), True))
        peer.wait_answer(1, 200)
        peer.request(over + 2, [*head(), indexed(62)])
        peer.wait_answer(over + 2, 200)


def test_streams_that_were_reset_count_no_more(server):
    """5.1.2: closed streams are no part of the limit."""
    with Peer(server) as peer:
        assert peer.settle()
        for stream in range(1, 2 * peer.settings[3] + 1, 2):
            peer.send(headers(stream, publication(), end=False))
        assert peer.settle()
        peer.send(*[rst_stream(stream) for stream in range(1, 2 * peer.settings[3] + 1, 2)])
        assert peer.settle()
        over = 2 * peer.settings[3] + 1
        for stream in range(over, over + 40, 2):
            peer.request(stream, head())
            peer.wait_answer(stream, 200)


# --- 5.4.1, 6.8: GOAWAY ---

def test_goaway_names_the_last_stream_that_was_taken(server):
    """5.4.1, 6.8"""
    with Peer(server) as peer:
        peer.run(was_answered, headers(7, GET))
        peer.wait_answer(7, 200)
        peer.send(window_update(0, 0))
        peer.wait_closed()
        assert peer.last_stream >= 7, peer.story()


@pytest.mark.parametrize("farewell", [goaway(), goaway(0, Code.NO_ERROR, b"leaving" * 100)],
                         ids=["6.8 plain", "6.8 with debug data"])
def test_streams_go_on_after_the_client_said_goaway(server, farewell):
    """6.8: the streams that are open when the client says that it will accept no more."""
    with Peer(server) as peer:
        peer.run(is_half_closed, headers(3, publication(), end=False), farewell, data(3, update("a", "after goaway"), True))
        peer.wait_answer(3, 200)
        peer.wait_body(1, "after goaway")


# --- 5.2, 6.9: flow control ---

def body_of(peer, stream, size):
    """Wait for so many bytes, and see that no more come."""
    peer.wait(lambda: len(peer.bodies.get(stream, b"")) >= size, f"{size} bytes of stream {stream}")
    assert peer.settle(), peer.story()
    assert len(peer.bodies[stream]) == size, peer.story()


def test_no_more_than_the_streams_window_is_sent(server):
    """6.9.1: a window of one byte, updates of one, then the rest."""
    with Peer(server, settings=((INITIAL_WINDOW_SIZE, 1),)) as peer:
        peer.request(1, head())
        body_of(peer, 1, 1)
        for size in (2, 3):
            peer.send(window_update(1, 1))
            body_of(peer, 1, size)
        peer.send(window_update(1, 1000))
        assert peer.wait_answer(1, 200).body == PAGE


def test_a_window_of_zero_lets_the_head_through(server):
    """6.9: only DATA is under flow control."""
    with Peer(server, settings=((INITIAL_WINDOW_SIZE, 0),)) as peer:
        peer.request(1, head())
        peer.wait_status(1, 200)
        assert peer.settle() and not peer.bodies.get(1), peer.story()
        peer.request(3, head("HEAD"))
        peer.wait_answer(3, 200)
        peer.send(window_update(1, 1000))
        assert peer.wait_answer(1, 200).body == PAGE


def test_an_event_waits_for_the_window_and_comes_in_pieces(server):
    """6.9.1, on a subscription: nothing is lost, and the other stream goes on."""
    with Peer(server, settings=((INITIAL_WINDOW_SIZE, 5),)) as peer:
        peer.request(1, subscription("in-pieces"))
        peer.request(3, subscription("in-pieces"))
        peer.wait_status(1, 200)
        peer.wait_status(3, 200)
        peer.send(window_update(3, 10_000))
        peer.request(5, publication(), body=update("in-pieces", "one", "urn:x:pieces"))
        peer.wait_body(3, "id: urn:x:pieces\ndata: one\n\n")
        body_of(peer, 1, 5)
        for size in range(6, 20):
            peer.send(window_update(1, 1))
            body_of(peer, 1, size)
        peer.send(window_update(1, 10_000))
        peer.wait_body(1, "id: urn:x:pieces\ndata: one\n\n")
        assert peer.bodies[1] == peer.bodies[3]


def test_no_more_than_the_connections_window_is_sent(server):
    """6.9.1: two large files share 65,535 bytes; an update of the connection's window lets both go on."""
    with Peer(server, greet=False) as peer:
        peer.send(PREFACE, settings((INITIAL_WINDOW_SIZE, BIGGEST_WINDOW)))
        peer.send(*[headers(stream, head("GET", "/big")) for stream in (1, 3)])

        def got():
            return sum(len(b) for b in peer.bodies.values())
        peer.wait(lambda: got() >= 65535, "the connection's window")
        assert peer.settle() and got() == 65535, peer.story()
        peer.send(window_update(0, 10))
        peer.wait(lambda: got() >= 65545, "ten bytes more")
        assert peer.settle() and got() == 65545, peer.story()
        peer.send(window_update(0, 2 * BIG))
        for stream in (1, 3):
            assert peer.wait_answer(stream, 200).body == "b" * BIG


def test_a_change_of_the_initial_window_reaches_open_streams(server):
    """6.9.2: up, down below zero, and up again by an update."""
    with Peer(server, settings=((INITIAL_WINDOW_SIZE, 0),)) as peer:
        peer.request(1, head())
        peer.wait_status(1, 200)
        peer.send(settings((INITIAL_WINDOW_SIZE, 6)))
        body_of(peer, 1, 6)
        peer.send(settings((INITIAL_WINDOW_SIZE, 2)))  # 4 bytes below zero
        peer.send(window_update(1, 4))
        body_of(peer, 1, 6)
        peer.send(window_update(1, 1))
        body_of(peer, 1, 7)
        peer.send(settings((INITIAL_WINDOW_SIZE, 1000)))
        assert peer.wait_answer(1, 200).body == PAGE


def test_a_client_that_overruns_the_servers_window(server):
    """6.9.1: FLOW_CONTROL_ERROR, for the stream or the connection."""
    with Peer(server) as peer:
        peer.send(headers(1, publication(), end=False))
        assert peer.settle()
        allowed = peer.settings.get(INITIAL_WINDOW_SIZE, 65535)
        sent = 0
        while not peer.over(1) and not peer.goaways and sent < 200_000_000:
            peer.send(data(1, bytes(16384)) * 64)
            sent += 64 * 16384
            assert peer.settle() or peer.goaways, peer.story()
            if peer.status(1):
                break
        if not peer.status(1):
            stream_error(1, Code.FLOW_CONTROL_ERROR)(peer)
        else:
            assert sent <= allowed + peer.updates.get(1, 0) or peer.status(1) == 413, peer.story()


def test_padding_gives_the_window_back(server):
    """6.9.1: the whole payload of DATA counts, and its padding too is given back."""
    body = update("a", event_id="urn:x:padding")
    with Peer(server) as peer:
        peer.send(headers(1, publication(), end=False))
        peer.pour(1, data(1, body), len(body))
        for _ in range(800):
            peer.pour(1, frame(DATA, PADDED, 1, padded(b"&", 255)), 257)
        peer.send(data(1, b"", True))
        assert peer.wait_answer(1, 200).body == "urn:x:padding"


def test_what_comes_for_a_stream_that_was_reset_gives_the_connections_window_back(server):
    """6.9, 5.1: DATA of closed streams counts for the connection; else its window would be lost."""
    with Peer(server) as peer:
        for stream in range(1, 41, 2):
            peer.send(headers(stream, publication(), end=False), rst_stream(stream))
            peer.resets[stream] = Code.CANCEL
            for _ in range(4):
                if not peer.pour(stream, data(stream, bytes(16000)), 16000):
                    connection_error(Code.STREAM_CLOSED)(peer)
                    return
        peer.request(41, publication(), body=update("a", "x" * 1000, "urn:x:window"))
        assert peer.wait_answer(41, 200).body == "urn:x:window"


# --- 6.5.2: the client's settings are kept ---

def test_frames_are_no_longer_than_the_client_allows(server):
    """4.2: 16,384 bytes where it said nothing."""
    with Peer(server) as peer:
        peer.request(1, head("GET", "/big"))
        assert peer.wait_answer(1, 200).body == "b" * BIG
        assert max(f.body_len for f in peer.frames) <= 16384


def test_the_clients_table_size_is_kept(server):
    """RFC 7541 4.2: a client that wants no dynamic table gets none."""
    with Peer(server, greet=False) as peer:
        peer.decoder.max_allowed_table_size = 0
        peer.send(PREFACE, settings((HEADER_TABLE_SIZE, 0)))
        for stream in (1, 3, 5):
            peer.request(stream, head())
            assert peer.wait_answer(stream, 200).headers["content-type"] == "text/html"
        assert peer.decoder.header_table_size == 0
