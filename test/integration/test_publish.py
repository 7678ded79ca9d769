"""Publishing: every rule about an update's fields, and that a refused one leaves nothing behind. PROTOCOL 4 and 9."""

import re

import pytest

from client import PATH, Stream, connect, connect_h2, form, publish, published, request, token
from matrix import http1_only, protocols
from server import ISSUER, SECRET, Server

SMALL = "small.example"  # a virtual host with MercureMaxBody 100
UUID_V4 = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


pytestmark = protocols("plain", "h2")


@pytest.fixture(scope="module")
def hub(protocol):
    server = Server(**protocol)
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {SMALL}\n{server.tls_lines}MercureHub On\nMercureMaxBody 100\n"
                f"MercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n</VirtualHost>\n")
    server.start()
    yield server
    server.close()


class Wire(Stream):
    """A subscriber that keeps the stream's bytes as they came."""

    def __init__(self, *arguments, **options):
        self.seen = b""
        super().__init__(*arguments, **options)

    def parse(self):
        self.seen += self.raw
        self.raw = b""
        self.comments = 1 if self.seen.startswith(b":\n") else 0

    def next(self):
        """The bytes of the first event, up to and without the blank line that ends it."""
        self._until(lambda: b"\n\n" in self.seen, "wanted an event", 10)
        return self.seen[len(b":\n"):].split(b"\n\n")[0].decode()


def sent_as(hub, fields):
    """Publish the fields; the event's bytes as a subscriber gets them."""
    stream = Wire(hub, "*", bearer=token(hub, subscribe=["*"]))
    answer = publish(hub, "", body=form(fields))
    assert answer.status == 200, answer.body
    event = stream.next()
    stream.close()
    return event


def refused(hub, status, body, **more):
    """POST a body that is to be refused, and see that the good update after it is the next event."""
    watcher = Stream(hub, "*", bearer=token(hub, subscribe=["*"]))
    answer = publish(hub, "", body=body, **more)
    assert answer.status == status, (answer.status, answer.body, body[:200])
    sent = published(hub, "after", "the next")
    assert watcher.take() == [{"id": sent, "data": "the next"}]
    watcher.close()
    return answer


def raw_post(hub, head, parts, bearer=None, host=None):
    """A POST of bytes as they are; returns the status and all that came, until the connection's end."""
    with connect(hub) as s:
        lines = [f"POST {PATH} HTTP/1.1", f"Host: {host or f'localhost:{hub.port}'}", "Connection: close",
                 f"Authorization: Bearer {bearer or token(hub, publish=['*'])}", *head]
        s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        for part in parts:
            s.sendall(part)
        answer = b""
        while more := s.recv(65536):
            answer += more
    return int(answer.split()[1]), answer


def post_in_parts(hub, parts, host=None):
    """A POST whose length is not said before its end: in chunks, or in as many DATA frames. Returns the status."""
    host = host or f"localhost:{hub.port}"
    bearer = token(hub, publish=["*"], aud=f"{hub.scheme}://{host}{PATH}")
    if not hub.http2:
        return raw_post(hub, [FORM, CHUNKED], [chunk(p) for p in parts] + [b"0\r\n\r\n"], bearer, host)[0]
    conn = connect_h2(hub, host=host)
    headers = {"content-type": "application/x-www-form-urlencoded", "authorization": f"Bearer {bearer}"}
    exchange = conn.open("POST", PATH, headers, end=False)
    for part in parts:
        exchange.send(part)
    exchange.send(b"", end=True)
    exchange.whole()
    conn.close()
    return exchange.status


FORM = "Content-Type: application/x-www-form-urlencoded"
CHUNKED = "Transfer-Encoding: chunked"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- the answer ---

def test_answers_with_the_id_as_plain_text(hub):
    answer = publish(hub, "a", "x", fields=[("id", "urn:example:é 1")])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Length"] == "16"
    assert answer.body == "urn:example:é 1"


def test_makes_a_random_uuid_when_no_id_is_given(hub):
    first, second, empty = published(hub, "a"), published(hub, "a"), published(hub, "a", fields=[("id", "")])
    assert re.fullmatch(UUID_V4, first)
    assert re.fullmatch(UUID_V4, second)
    assert re.fullmatch(UUID_V4, empty)
    assert len({first, second, empty}) == 3


def test_no_broker_is_503_with_retry_after(make_server):
    server = make_server(broker="MercureBroker ipc:nobody-here")
    answer = publish(server, "a", "x")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


# --- what is delivered ---

def test_only_an_id_and_data_when_nothing_else_is_given(hub):
    assert sent_as(hub, [("topic", "a"), ("data", "hello"), ("id", "1")]) == "id: 1\ndata: hello"


def test_type_and_retry_come_before_the_id(hub):
    fields = [("topic", "a"), ("data", "hello"), ("id", "1"), ("type", "greeting"), ("retry", "1500")]
    assert sent_as(hub, fields) == "event: greeting\nretry: 1500\nid: 1\ndata: hello"


@pytest.mark.parametrize("data,lines", [
    ("", ["data: "]),
    (None, ["data: "]),
    ("a\nb", ["data: a", "data: b"]),
    ("a\rb", ["data: a", "data: b"]),
    ("a\r\nb", ["data: a", "data: b"]),
    ("a\n\rb", ["data: a", "data: ", "data: b"]),
    ("a\n", ["data: a", "data: "]),
    ("\n", ["data: ", "data: "]),
    ("\n\n", ["data: ", "data: ", "data: "]),
    (" a", ["data:  a"]),
    (":a", ["data: :a"]),
    ("a\n\nid: 2\ndata: forged", ["data: a", "data: ", "data: id: 2", "data: data: forged"]),
    ("a\r\rid: 2\rdata: forged\r\r", ["data: a", "data: ", "data: id: 2", "data: data: forged", "data: ", "data: "]),
    ("a\r\n\r\nevent: forged", ["data: a", "data: ", "data: event: forged"]),
    ("a\u2028b\u0085c\x0bd\x0ce", ["data: a\u2028b\u0085c\x0bd\x0ce"]),
    ("nul \0 and \x7f", ["data: nul \0 and \x7f"]),
    ("a+b %41 &=", ["data: a+b %41 &="]),
    ("😀 é \ufeff", ["data: 😀 é \ufeff"]),
])
def test_data_is_split_on_line_ends_and_nothing_else(hub, data, lines):
    fields = [("topic", "a"), ("id", "1")] + ([("data", data)] if data is not None else [])
    assert sent_as(hub, fields).split("\n") == ["id: 1", *lines]


@pytest.mark.parametrize("break_", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("field", ["id", "type", "retry", "topic"])
def test_a_line_break_in_a_field_forges_nothing(hub, field, break_):
    fields = [("topic", "a"), ("data", "x")] if field != "topic" else [("data", "x")]
    refused(hub, 400, form(fields + [(field, f"1{break_}data: forged{break_}{break_}")]))


def test_large_data_arrives_whole(hub):
    data = "".join(f"{n:07} " for n in range(60_000))
    stream = Stream(hub, "large")
    published(hub, "large", data)
    assert stream.data() == [data]
    stream.close()


def test_each_topic_of_an_update_reaches_its_subscribers(hub):
    streams = {topic: Stream(hub, topic) for topic in ("canonical", "alternate-1", "alternate-2", "other")}
    sent = published(hub, ["canonical", "alternate-1", "alternate-2"], "x")
    for topic in ("canonical", "alternate-1", "alternate-2"):
        assert streams[topic].take() == [{"id": sent, "data": "x"}]
    published(hub, "other", "y")
    assert streams["other"].data() == ["y"]


@pytest.mark.parametrize("private", ["private", "private=", "private=on", "private=0", "private=false", "private=off",
                                     "private=%00", "private=a&private=b"])
def test_private_is_private_whatever_its_value(hub, private):
    anonymous, granted = Stream(hub, "p"), Stream(hub, "p", bearer=token(hub, subscribe=["p"]))
    assert publish(hub, "", body=f"topic=p&data=secret&{private}".encode()).status == 200
    published(hub, "p", "public")
    assert granted.data(2) == ["secret", "public"]
    assert anonymous.data() == ["public"]
    anonymous.close()
    granted.close()


@pytest.mark.parametrize("field", ["Private=on", "PRIVATE=on", "private[]=on", "xprivate=on"])
def test_names_of_fields_are_case_sensitive(hub, field):
    stream = Stream(hub, "p")
    assert publish(hub, "", body=f"topic=p&data=public&{field}".encode()).status == 200
    assert stream.data() == ["public"]
    stream.close()


def test_unknown_fields_are_ignored(hub):
    fields = [("topic", "a"), ("data", "x"), ("id", "1"), ("target", "t"), ("Topic", "*"), ("event", "e"), ("", ""),
              ("topics", "*"), ("retry ", "x"), ("x" * 5000, "y" * 5000)]
    assert sent_as(hub, fields) == "id: 1\ndata: x"


def test_the_form_is_parsed_as_browsers_write_it(hub):
    stream = Stream(hub, "a b&c=d")
    assert publish(hub, "", body=b"&&topic=a+b%26c=d&data=1+2%2b3%zz%4&&=&x&id=%69&").body == "i"
    assert stream.take() == [{"id": "i", "data": "1 2+3%zz%4"}]
    stream.close()


# --- topics ---

@pytest.mark.parametrize("body", [b"", b"data=x", b"topic", b"topic=", b"Topic=a", b"topic=a&topic="])
def test_no_topic_is_400(hub, body):
    refused(hub, 400, body)


@pytest.mark.parametrize("topics", [["*"], ["a", "*"]])
def test_the_topic_star_is_400(hub, topics):
    refused(hub, 400, form([("topic", t) for t in topics]))


@pytest.mark.parametrize("topic", [
    "/.well-known/mercure",
    "/.well-known/mercure/",
    "/.well-known/mercure/subscriptions/exact/a/b",
    "/.well-known/mercure?query",
    "/.well-known/mercure#fragment",
    "http://localhost/.well-known/mercure",
    "https://localhost/.well-known/mercure/x?y#z",
    "https://elsewhere.example/.well-known/mercure",
    "https://user:password@elsewhere.example:8443/.well-known/mercure/x",
    "HTTPS://ELSEWHERE.EXAMPLE/.well-known/mercure",
    "ftp://elsewhere.example/.well-known/mercure",
    "file:///.well-known/mercure",
    "unknown://host/.well-known/mercure",
    "unknown:/.well-known/mercure",
    "//elsewhere.example/.well-known/mercure",
    "mercure",
    "mercure/x",
    "./mercure",
    "?query",
    "#fragment",
    "../.well-known/mercure",
    "SCHEME:/.well-known/mercure",
    "SCHEME:mercure",
    "\\.well-known\\mercure",
    "https:\\\\elsewhere.example\\.well-known\\mercure",
    " /.well-known/mercure ",
    "/.well-known/%6dercure",
    "/.well-known/%6Dercure/x",
    "/%2ewell-known/mercure",
    "/.well%2Dknown/mercure",
    "/a/../.well-known/mercure",
    "/a/%2e%2e/.well-known/mercure",
    "/a/%2E./.well-known/mercure",
    "/./.well-known/./mercure",
    "/.well-known/%2e/mercure",
    "/.well-known/mercure/.",
    "/.well-known/mercure/x/..",
    "/../../.well-known/mercure",
])
def test_a_topic_in_the_reserved_namespace_is_400(hub, topic):
    refused(hub, 400, form([("topic", "a"), ("topic", topic.replace("SCHEME", hub.scheme))]))


@pytest.mark.parametrize("topic", [
    "/.well-known/mercure2",
    "/.well-known/mercur",
    "/.well-known/",
    "/.well-known/mercure.",
    "/.well-known/mercure/..",
    "/.WELL-KNOWN/mercure",
    "/.well-known/Mercure",
    "/.well-known//mercure",
    "//.well-known/mercure",
    "/x/.well-known/mercure",
    "/.well-known%2Fmercure",
    "/.well-known/mercure%2Fx",
    "/.well-known/%256dercure",
    "/?/.well-known/mercure",
    "/#/.well-known/mercure",
    "urn:.well-known/mercure",
    "data:,/.well-known/mercure",
    "http://[unparsable/.well-known/mercure",
    "http://a b/.well-known/mercure",
    "http://elsewhere.example:99999/.well-known/mercure",
    "https://exa%00mple/.well-known/mercure",
    "https://example.com/books/{id}",
    "a topic that is no URL",
    "**",
    "\u00a0", "\u2028", "\ufffd", "😀",
])
def test_a_topic_outside_of_the_reserved_namespace_is_accepted(hub, topic):
    stream = Stream(hub, topic)
    published(hub, topic, "x")
    assert stream.data() == ["x"]
    stream.close()


# --- characters ---

FORBIDDEN = ["\0", "\x01", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\xad", "\u0600", "\u061c", "\u06dd",
             "\u070f", "\u180e", "\u200b", "\u200c", "\u200d", "\u200e", "\u202a", "\u202e", "\u2060", "\u2066", "\u2069",
             "\ufeff", "\ufff9", "\U000110bd", "\U0001d173", "\U000e0001", "\U000e0041", "\U000e007f"]
MALFORMED = [b"%80", b"%ff", b"%c3", b"%c3(", b"%c0%80", b"%e0%80%80", b"%ed%a0%80", b"%f0%9f%98", b"%f4%90%80%80",
             b"%f8%88%80%80%80", b"\xe9"]


@pytest.mark.parametrize("character", FORBIDDEN, ids=lambda c: f"U+{ord(c):04X}")
@pytest.mark.parametrize("field", ["topic", "id", "type"])
def test_control_and_format_characters_are_400(hub, field, character):
    refused(hub, 400, form([("topic", "a"), ("data", "x"), (field, f"a{character}b")]))


@pytest.mark.parametrize("bad", MALFORMED)
@pytest.mark.parametrize("field", [b"topic", b"data", b"id", b"type", b"retry", b"private", b"unknown"])
def test_a_value_that_is_not_utf8_is_400(hub, field, bad):
    refused(hub, 400, b"topic=a&%b=x%b" % (field, bad))


def test_a_name_that_is_not_utf8_is_400(hub):
    refused(hub, 400, b"topic=a&x%ff=y")


# --- id, type, retry ---

@pytest.mark.parametrize("id", ["#", "#1", "earliest"])
def test_a_reserved_id_is_400(hub, id):
    refused(hub, 400, form([("topic", "a"), ("id", id)]))


@pytest.mark.parametrize("id", ["a#1", "Earliest", "earliest ", "*", "0", "é", "a:b", " "])
def test_an_ordinary_id_is_kept(hub, id):
    assert sent_as(hub, [("topic", "a"), ("id", id)]) == f"id: {id}\ndata: "


def test_the_type_mercure_is_400(hub):
    refused(hub, 400, form([("topic", "a"), ("type", "mercure")]))


@pytest.mark.parametrize("type", ["Mercure", "mercure2", "message", "é"])
def test_an_ordinary_type_is_kept(hub, type):
    assert sent_as(hub, [("topic", "a"), ("id", "1"), ("type", type)]) == f"event: {type}\nid: 1\ndata: "


@pytest.mark.parametrize("retry", ["-1", "+1", "1.5", "1s", "1e3", " 1", "1 ", "0x10", "a", "١", "1\0"])
def test_a_retry_that_is_not_all_digits_is_400(hub, retry):
    refused(hub, 400, form([("topic", "a"), ("retry", retry)]))


@pytest.mark.parametrize("retry", ["0", "007", "99999999999999999999"])
def test_a_retry_of_digits_is_kept(hub, retry):
    assert sent_as(hub, [("topic", "a"), ("id", "1"), ("retry", retry)]) == f"retry: {retry}\nid: 1\ndata: "


# --- the request's form ---

@pytest.mark.parametrize("type", ["", "text/plain", "application/json", "multipart/form-data; boundary=x",
                                  "application/x-www-form-urlencodedx", "x application/x-www-form-urlencoded"])
def test_another_content_type_is_400(hub, type):
    refused(hub, 400, b"topic=a&data=x", headers={"Content-Type": type})


def test_no_content_type_is_400(hub):
    bearer = {"Authorization": f"Bearer {token(hub, publish=['*'])}"}
    assert request(hub, "POST", PATH, bearer, b"topic=a&data=x").status == 400


@pytest.mark.parametrize("type", ["application/x-www-form-urlencoded", "APPLICATION/X-WWW-Form-URLEncoded",
                                  "application/x-www-form-urlencoded; charset=UTF-8",
                                  "application/x-www-form-urlencoded ;charset=utf-8"])
def test_the_form_content_type_is_accepted(hub, type):
    published(hub, "a", "x", headers={"Content-Type": type})


@pytest.mark.parametrize("parts", [
    [b"topic=chunked&data=hello&id=1"],
    [b"topic=chunked&da", b"ta=hel", b"lo&id=1"],
    [b"topic=chunk%6", b"5d&data=hello&id=1"],
    [bytes([b]) for b in b"topic=chunked&data=hello&id=1"],
])
def test_a_body_without_a_length_is_read_whole(hub, parts):
    stream = Stream(hub, "chunked")
    assert post_in_parts(hub, parts) == 200
    assert stream.take() == [{"id": "1", "data": "hello"}]
    stream.close()


@http1_only
def test_a_broken_chunk_is_400_and_publishes_nothing(hub):
    stream = Stream(hub, "chunked")
    assert raw_post(hub, [FORM, CHUNKED], [chunk(b"topic=chunked&data=broken"), b"zz\r\n"])[0] == 400
    published(hub, "chunked", "after")
    assert stream.data() == ["after"]
    stream.close()


def test_a_body_that_ends_too_soon_publishes_nothing(hub):
    stream = Stream(hub, "short")
    bearer = f"Bearer {token(hub, publish=['*'])}"
    if hub.http2:
        conn = connect_h2(hub)
        conn.open("POST", PATH, {"content-type": "application/x-www-form-urlencoded", "content-length": "100",
                                 "authorization": bearer}, b"topic=short&data=cut", end=False)
        conn.close()
    else:
        with connect(hub) as s:
            s.sendall(f"POST {PATH} HTTP/1.1\r\nHost: localhost:{hub.port}\r\n{FORM}\r\nContent-Length: 100\r\n"
                      f"Authorization: {bearer}\r\n\r\ntopic=short&data=cut".encode())
    published(hub, "short", "after")
    assert stream.data() == ["after"]
    stream.close()


@http1_only
def test_a_body_that_was_not_read_is_not_taken_for_the_next_request(hub):
    body = b"topic=a&x=\r\n\r\nGET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n"
    good = form([("topic", "a"), ("id", "good")])
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost:{hub.port}\r\n{FORM}\r\n"
    with connect(hub) as s:
        s.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)  # without a token: refused unread
        s.sendall(f"{head}Connection: close\r\nAuthorization: Bearer {token(hub, publish=['*'])}\r\n"
                  f"Content-Length: {len(good)}\r\n\r\n".encode() + good)
        answer = b""
        while more := s.recv(65536):
            answer += more
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401", b"200"]
    assert answer.endswith(b"good")


# --- what the token must grant ---

@pytest.mark.parametrize("topics", [["b"], ["a", "b"], ["b", "a"]])
def test_a_token_that_does_not_grant_every_topic_is_403(hub, topics):
    answer = refused(hub, 403, form([("topic", t) for t in topics]), bearer=token(hub, publish=["a"]))
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_a_token_that_grants_subscribe_only_is_403(hub):
    refused(hub, 403, form([("topic", "a")]), bearer=token(hub, subscribe=["*"]))


def test_a_token_that_grants_each_topic_is_enough(hub):
    published(hub, ["a", "b"], "x", bearer=token(hub, publish=["a", "b", "c"]))


def test_no_token_is_401_and_publishes_nothing(hub):
    refused(hub, 401, form([("topic", "a")]), bearer=False)


# --- limits ---

@pytest.mark.parametrize("field", ["topic", "id", "type", "retry"])
def test_a_field_of_4096_bytes_is_accepted_and_one_more_is_413(hub, field):
    other = [] if field == "topic" else [("topic", "a")]
    assert publish(hub, "", body=form(other + [(field, "1" * 4096)])).status == 200
    refused(hub, 413, form(other + [(field, "1" * 4097)]))


def test_the_limit_of_a_field_counts_bytes(hub):
    assert publish(hub, "é" * 2048).status == 200
    assert publish(hub, "é" * 2048 + "1").status == 413


def test_1000_topics_are_accepted_and_one_more_is_413(hub):
    stream = Stream(hub, "t999")
    assert publish(hub, [f"t{n}" for n in range(1000)], "x").status == 200
    assert stream.data() == ["x"]
    stream.close()
    refused(hub, 413, form([("topic", f"t{n}") for n in range(1001)]))


def test_a_body_of_one_mebibyte_is_accepted_and_one_more_byte_is_413(hub):
    assert publish(hub, "", body=b"topic=a&data=".ljust(1 << 20, b"x")).status == 200
    refused(hub, 413, b"topic=a&data=".ljust((1 << 20) + 1, b"x"))


def to_small(hub, body):
    host = f"{SMALL}:{hub.port}"
    return publish(hub, "", body=body, host=host,
                   bearer=token(hub, publish=["*"], aud=f"{hub.scheme}://{host}{PATH}")).status


def test_max_body_is_the_limit_of_the_body(hub):
    assert to_small(hub, b"topic=a&data=".ljust(100, b"x")) == 200
    assert to_small(hub, b"topic=a&data=".ljust(101, b"x")) == 413


def test_max_body_counts_what_a_body_without_a_length_holds(hub):
    def post(length):
        body = b"topic=a&data=".ljust(length, b"x")
        return post_in_parts(hub, [body[at:at + 7] for at in range(0, length, 7)], f"{SMALL}:{hub.port}")

    assert post(100) == 200
    assert post(101) == 413
