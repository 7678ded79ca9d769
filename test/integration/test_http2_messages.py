"""Requests over HTTP/2: RFC 9113 section 8, and their compression, RFC 7541. Each test's id or text names the section that it
holds.
"""

import pytest

from client import Stream
from h2cases import (GET, NAMED, malformed, ignored, served, published, check_equal, compression_error, server)
from h2frames import (INCREMENTAL, NEVER_INDEXED, WITHOUT_INDEXING, Peer, block, data, head, headers, indexed, integer,
                      literal, publication, size_update, string, update)

# --- 8.2, 8.3: what a request may look like ---

def field(section, what, *more, fields=None, expect=malformed(1)):
    return pytest.param(head("GET", "/index.html", *more) if fields is None else fields, expect, id=f"{section} {what}")


def without(name):
    return [f for f in head() if f[0] != name]


def replaced(name, value):
    return [(n, value if n == name else v) for n, v in head()]


page = served(1)

REQUESTS = [
    # 8.2.1 Field Validity
    *[field("8.2.1", f"a name with the byte {byte:#04x}", (b"x-a" + bytes([byte]) + b"b", "1"))
      for byte in (0x00, 0x0A, 0x0D, 0x20, ord("A"), ord("Z"), 0x7F, 0x80, 0xFF)],
    field("8.2.1", "a name in upper case", ("X-A", "1")),
    field("8.2.1", "a name with a colon", ("x:a", "1")),
    field("8.2.1", "an empty name", ("", "1")),
    *[field("8.2.1", f"a value with the byte {byte:#04x}", ("x-a", b"one" + bytes([byte]) + b"two"))
      for byte in (0x00, 0x0A, 0x0D)],
    *[field("8.2.1", f"a value that {where} with {name}", ("x-a", value))
      for where, name, value in (("begins", "a space", " v"), ("ends", "a space", "v "), ("begins", "a tab", "\tv"),
                                 ("ends", "a tab", "v\t"))],
    field("8.2.1", "an empty value", ("x-a", ""), expect=page),
    field("8.2.1", "a value with bytes from 0x80", ("x-a", b"gr\xc3\xbc\xdfe \xff"), expect=page),
    field("8.2.1", "a value with a tab inside", ("x-a", "one\ttwo"), expect=page),

    # 8.2.2 Connection-Specific Header Fields
    field("8.2.2", "connection", ("connection", "close")),
    field("8.2.2", "keep-alive", ("keep-alive", "timeout=5")),
    field("8.2.2", "proxy-connection", ("proxy-connection", "keep-alive")),
    field("8.2.2", "transfer-encoding", ("transfer-encoding", "chunked")),
    field("8.2.2", "upgrade", ("upgrade", "websocket")),
    field("8.2.2", "te other than trailers", ("te", "gzip")),
    field("8.2.2", "te with trailers and more", ("te", "trailers, deflate;q=0.5")),
    field("8.2.2", "te: trailers", ("te", "trailers"), expect=page),

    # 8.2.3 Compressing the Cookie Header Field
    field("8.2.3", "crumbs of a cookie are joined", ("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2; c=3"),
          ("cookie", "d=4"),
          expect=lambda peer: check_equal(peer.wait_answer(1, 200).headers["x-cookie"], "a=1; b=2; c=3; d=4")),

    # 8.3 HTTP Control Data
    field("8.3", "a pseudo field after an ordinary one", fields=[head()[0], ("x-a", "1"), *head()[1:]]),
    field("8.3", "an unknown pseudo field", (":what", "1"), fields=[*head(), (":what", "1")]),
    field("8.3", "a pseudo field of responses", fields=[*head(), (":status", "200")]),
    field("8.3", ":protocol without extended CONNECT", fields=[*head(), (":protocol", "websocket")]),
    *[field("8.3", f"{name} twice", fields=[*head(), (name, value)]) for name, value in head()],

    # 8.3.1 Request Pseudo-Header Fields
    *[field("8.3.1", f"no {name}", fields=without(name)) for name in (":method", ":scheme", ":path")],
    field("8.3.1", "no field at all", fields=[]),
    field("8.3.1", "neither :authority nor Host", fields=without(":authority")),
    field("8.3.1", "an empty :path", fields=replaced(":path", "")),
    field("8.3.1", "a :path without a slash", fields=replaced(":path", "index.html")),
    field("8.3.1", "a :path of * with GET", fields=replaced(":path", "*")),
    field("8.3.1", "a :path with a space", fields=replaced(":path", "/index.html HTTP/1.1")),
    field("8.3.1", "a :path with a line break", fields=replaced(":path", "/ HTTP/1.1\r\nX-A: 1")),
    field("8.3.1", "a :path with NUL", fields=replaced(":path", b"/index\0.html")),
    field("8.3.1", "an empty :method", fields=replaced(":method", "")),
    field("8.3.1", "a :method with a space", fields=replaced(":method", "GET /other")),
    field("8.3.1", "a :method with a line break", fields=replaced(":method", "GET\r\nX-A: 1")),
    field("8.3.1", "an :authority with user information", fields=replaced(":authority", "user@localhost")),
    field("8.3.1", "an :authority with a space", fields=replaced(":authority", "localhost evil")),
    field("8.3.1", "an :authority with a line break", fields=replaced(":authority", "localhost\r\nX-A: 1")),
    field("8.3.1", "an :authority with a slash", fields=replaced(":authority", "localhost/x")),
    field("8.3.1", "a :scheme with a line break", fields=replaced(":scheme", "https\r\nX-A: 1")),
    field("8.3.1", "Host other than :authority", ("host", "other.example")),
    field("8.3.1", "Host twice", ("host", "localhost"), ("host", "other.example")),
    field("8.3.1", "Host as :authority", ("host", "localhost"), expect=page),
    field("8.3.1", "Host instead of :authority", fields=without(":authority") + [("host", "localhost")], expect=page),
    field("8.3.1", "OPTIONS *", fields=head("OPTIONS", "*"), expect=page),
    field("8.3.1", "HEAD has no body", fields=head("HEAD"),
          expect=lambda peer: check_equal(peer.wait_answer(1, 200).body, "")),

    # 8.5 The CONNECT Method
    field("8.5", "CONNECT with :scheme and :path", fields=head("CONNECT", "/"), expect=malformed(1, 400, 405)),
    field("8.5", "CONNECT without :authority", fields=[(":method", "CONNECT")], expect=malformed(1, 400, 405)),
    field("8.5", "CONNECT to somewhere is refused", fields=[(":method", "CONNECT"), (":authority", "localhost:22")],
          expect=malformed(1, 400, 403, 404, 405, 501)),
]


@pytest.mark.parametrize("fields,expect", REQUESTS)
def test_requests(server, fields, expect):
    with Peer(server) as peer:
        peer.request(1, fields)
        expect(peer)


# --- 8.1.1: what content-length says of a body ---

LENGTHS = [pytest.param(length, pieces, id=f"8.1.1 {what}") for what, length, pieces in (
    ("a byte too few", 1, [0]), ("a byte too many", -1, [0]), ("too few in two pieces", 1, [5]),
    ("too many in two pieces", -1, [5]),
    ("no number", "x", [0]), ("a negative number", "-1", [0]), ("a signed number", "+%d", [0]), ("a list", "%d, %d", [0]),
    ("hexadecimal", "0x20", [0]), ("more than 64 bits", "184467440737095516%d", [0]), ("empty", "", [0]))]


@pytest.mark.parametrize("length,pieces", LENGTHS)
def test_content_length(server, request, length, pieces):
    """Such a publication is refused as a whole: nobody gets it."""
    topic = f"length-{request.node.callspec.indices['length']}"
    stream = Stream(server, topic)
    body = update(topic, "a lie")
    if isinstance(length, int):
        text = str(len(body) + length)
    else:
        text = length.replace("%d", str(len(body)))
    with Peer(server) as peer:
        peer.send(headers(1, publication(("content-length", text)), end=False))
        if pieces[0]:
            peer.send(data(1, body[:5]))
        peer.send(data(1, body[pieces[0]:], True))
        malformed(1)(peer)
    with Peer(server) as peer:
        peer.request(1, publication(), body=update(topic, "the truth"))
        peer.wait_answer(1, 200)
    assert stream.data() == ["the truth"]
    stream.close()


@pytest.mark.parametrize("fields,end", [
    pytest.param([("content-length", "5")], True, id="8.1.1 a length, but the request ends with its head"),
    pytest.param([("content-length", "3"), ("content-length", "4")], False, id="8.1.1 two lengths that differ"),
    pytest.param([("content-length", "4"), ("content-length", "3")], False,
                 id="8.1.1 two lengths that differ, the other way round"),
])
def test_content_length_of_the_head(server, fields, end):
    with Peer(server) as peer:
        peer.send(headers(1, publication(*fields), end), b"" if end else data(1, b"a=b", True))
        malformed(1)(peer)


def test_content_length_that_is_right(server):
    """8.1.1"""
    body = update("a", event_id="urn:x:8.1.1")
    with Peer(server) as peer:
        peer.send(headers(1, publication(("content-length", str(len(body)))), end=False))
        peer.send(data(1, body[:3]), data(1, body[3:], True))
        published(1, "urn:x:8.1.1")(peer)


def test_informational_answer_before_the_final_one(server):
    """8.1, and RFC 9110 section 10.1.1: who waits for 100 Continue gets it, or a final answer."""
    body = update("a", event_id="urn:x:expect")
    with Peer(server) as peer:
        peer.send(headers(1, publication(("expect", "100-continue")), end=False))
        peer.wait(lambda: 1 in peer.fields, "100 Continue")
        assert peer.fields[1][0][0] == (":status", "100")
        peer.send(data(1, body, True))
        published(1, "urn:x:expect")(peer)


# --- RFC 7541 ---

def hpack_case(section, what, fields, expect=compression_error):
    """`fields`: a block, or several, for streams 1, 3, 5, ..."""
    blocks = fields if isinstance(fields, list) else [fields]
    return pytest.param(blocks, expect, id=f"RFC 7541 {section} {what}")


def all_served(peer):
    for stream in (1, 3, 5):
        if stream == 1 or stream <= peer.newest:
            peer.wait_answer(stream, 200)
    ignored(peer)


# The Huffman code of EOS, 30 bits of 1, padded with 1.
EOS = b"\xff\xff\xff\xff"
COMPRESSION = [
    hpack_case("2.3.3", "an index past both tables", GET + indexed(62)),
    hpack_case("2.3.3", "an index past both tables, of a name", GET + literal(62, "x")),
    hpack_case("2.3.3", "a huge index", GET + indexed(2**28)),
    hpack_case("2.3.2", "an entry serves later requests", [GET + NAMED, GET + indexed(62), GET + literal(62, "2")], all_served),
    hpack_case("3.2", "entries from the static table",
               indexed(2) + indexed(7) + literal(1, "localhost") + literal(4, "/index.html"), all_served),
    hpack_case("4.2", "a table larger than was allowed", size_update(4097) + GET),
    hpack_case("4.2", "a huge table", size_update(2**31) + GET),
    hpack_case("4.2", "a table of the size that was allowed", size_update(4096) + GET, all_served),
    hpack_case("4.2", "the table shrinks and grows at the start of a block", size_update(0) + size_update(4096) + GET, all_served),
    hpack_case("4.2", "the table changes after a field", GET + size_update(100)),
    hpack_case("4.2", "the table changes between fields", GET[:4] + size_update(100) + GET[4:]),
    hpack_case("4.3", "an entry that a smaller table has lost", [GET + NAMED, size_update(0) + GET + indexed(62)]),
    hpack_case("4.4", "an entry larger than the table empties it", [GET + NAMED + literal("x-b", "2" * 5000, INCREMENTAL),
                                                                     GET + indexed(62)]),
    hpack_case("4.4", "an entry that others have driven out",
               [GET + NAMED + literal("x-b", "2" * 2000, INCREMENTAL) + literal("x-c", "3" * 2000, INCREMENTAL),
                GET + indexed(64)]),
    hpack_case("5.1", "an integer of more than 32 bits", GET + b"\xff\xff\xff\xff\xff\xff\x0f"),
    hpack_case("5.1", "an integer of 100 bytes", GET + b"\xff" + b"\x80" * 98 + b"\x01"),
    hpack_case("5.1", "a block ends within an integer", GET + b"\xff\x80"),
    hpack_case("5.2", "a string longer than the block", GET + b"\x00" + integer(3, 7) + b"x-a" + integer(50, 7) + b"1"),
    hpack_case("5.2", "strings in Huffman's code", block([literal(n, v, WITHOUT_INDEXING, True) for n, v in head()]), all_served),
    hpack_case("5.2", "Huffman's code with EOS", GET + b"\x00" + string("x-a") + integer(4, 7, 0x80) + EOS),
    hpack_case("5.2", "Huffman's code padded with eight bits", GET + b"\x00" + string("x-a") + integer(2, 7, 0x80) + b"\x1f\xff"),
    hpack_case("5.2", "Huffman's code padded with zeros", GET + b"\x00" + string("x-a") + integer(1, 7, 0x80) + b"\x18"),
    hpack_case("6.1", "index 0", GET + indexed(0)),
    hpack_case("6.2.1", "a literal without a value", GET + b"\x40" + string("x-a")),
    hpack_case("6.2.2", "a literal without indexing leaves the table", [GET + literal("x-a", "1"), GET + indexed(62)]),
    hpack_case("6.2.3", "a literal never indexed leaves the table", [GET + literal("x-a", "1", NEVER_INDEXED), GET + indexed(62)]),
]


@pytest.mark.parametrize("blocks,expect", COMPRESSION)
def test_compression(server, blocks, expect):
    with Peer(server) as peer:
        for i, payload in enumerate(blocks):
            peer.newest = 2 * i + 1
            peer.request(peer.newest, payload)
        expect(peer)
