"""Subscribing: the request, the answer, what a stream gets and how it ends, and the limits of streams. PROTOCOL 2, 3, 9."""

import select
import threading
import time
import urllib.parse

import pytest

from client import PATH, Refused, Stream, connect, published, request, token
from matrix import http1_only, protocols
from server import ISSUER, SECRET, Server, wait_for

CLOSED = "closed.example"  # a virtual host without anonymous subscribers


pytestmark = protocols("plain", "h2")


@pytest.fixture(scope="module")
def hub(protocol):
    server = Server(**protocol)
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {CLOSED}\n{server.tls_lines}MercureHub On\n"
                f"MercureIssuer {ISSUER} both HS256 {SECRET}\n</VirtualHost>\n")
    server.start()
    yield server
    server.close()


def status_of(hub, query, method="HEAD"):
    return request(hub, method, f"{PATH}?{query}").status


def matcher(value, name="match"):
    return urllib.parse.urlencode([(name, value)])


# --- the request ---

@pytest.mark.parametrize("query", [
    "match=a",
    "match_exact=a",
    "match=a&match_exact=b&match=c",
    "match=a&match=a&match_exact=a",
    "match%5Fexact=a",
    "%6datch=a",
    "match=*",
    "match_exact=*",
    "match=a&topic=b&xmatch=c&mat=d&authorization=x&=&&last_event_id=1",
    "match=http://[unparsable",
    "match=%F0%9F%98%80",
    "match=a%20b+c%26",
    "match_urlpattern=https://example.com/*",
    "match_urlpattern=/books/:id&match=a",
    "match_urlpattern=*",
])
def test_queries_that_are_accepted(hub, query):
    assert status_of(hub, query) == 200


@pytest.mark.parametrize("query", [
    "",
    "topic=a",
    "xmatch=a",
    "last_event_id=1",
    "Match=a",
    "MATCH=a",
    "mATCH_exact=a",
    "match=a&Match=b",
    "match=a&MATCH_EXACT=b",
    "match=a&match_Exact=b",
    "match=a&match_=b",
    "match=a&matcher=b",
    "match=a&match[]=b",
    "match=a&match%00=b",
    "match=a&match_uritemplate=b",
    "match=a&match_regexp=b",
    "match_URLPattern=https://example.com/*",
    "match=a&match_urlpattern=",
    "match=a&match_urlpattern=/(",
    "match=a&match_urlpattern=/:",
    "match=a&match_urlpattern=/:a/:a",
    "match=a&match_urlpattern=https://[",
    "match=a&match_%FF=b",
])
def test_queries_that_are_400(hub, query):
    assert status_of(hub, query) == 400
    assert request(hub, "GET", f"{PATH}?{query}").body == "Bad Request\n"


@pytest.mark.parametrize("name", ["match", "match_exact", "match_urlpattern"])
@pytest.mark.parametrize("value", ["%00", "a%0A", "%0D%0A", "%09", "%7F", "%C2%80", "%C2%85", "%C2%9F", "%C2%AD", "%E2%80%8B",
                                   "%E2%80%8D", "%E2%80%AE", "%EF%BB%BF", "%F3%A0%80%81", "%FF", "%C3", "%C0%80",
                                   "%ED%A0%80"])
def test_a_matcher_with_a_forbidden_character_is_400(hub, name, value):
    assert status_of(hub, f"match=a&{name}={value}") == 400


def test_100_matchers_are_accepted_and_one_more_is_400(hub):
    stream = Stream(hub, [f"t{n}" for n in range(100)])
    published(hub, "t99", "x")
    assert stream.data() == ["x"]
    stream.close()
    assert status_of(hub, "&".join(f"match=t{n}" for n in range(101))) == 400


def test_a_matcher_of_4096_bytes_is_accepted_and_a_longer_one_is_400(hub):
    stream = Stream(hub, "x" * 4096)
    published(hub, "x" * 4096, "long")
    assert stream.data() == ["long"]
    stream.close()
    assert status_of(hub, matcher("x" * 4097)) == 400
    assert status_of(hub, matcher("é" * 1000)) == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "PROPFIND", "TRACK", "UNHEARD-OF"])
def test_other_methods_are_405_with_allow(hub, method):
    answer = request(hub, method, f"{PATH}?match=a")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "HEAD", "POST"}
    assert answer.body == "Method Not Allowed\n"


def test_query_subscribes_with_the_matchers_of_the_query_and_of_the_body(hub):
    stream = Stream(hub, "q1", method="QUERY", body=b"match=q2")
    for topic in ("q1", "q2"):
        sent = published(hub, topic, topic)
        assert stream.take(1) == [{"id": sent, "data": topic}]
    stream.close()


# --- the answer ---

def test_the_headers_are_exactly_these(hub):
    stream = Stream(hub, "a")
    assert stream.status == 200
    headers = dict(stream.headers)
    assert headers.pop("date") and headers.pop("server").startswith("Apache/2.4")
    assert headers == {"content-type": "text/event-stream",
                       "cache-control": "private, no-cache, no-store, must-revalidate, max-age=0",
                       "x-accel-buffering": "no",
                       **({} if hub.http2 else {"connection": "close"})}
    stream.close()


def test_the_first_comment_comes_at_once_and_alone(hub):
    stream = Stream(hub, "a")
    assert (stream.comments, stream.events, stream.raw) == (1, [], b"")
    assert not stream.read(0.05) and not stream.ended
    stream.close()


def test_no_coding_is_applied_whatever_the_client_accepts(hub):
    stream = Stream(hub, "a", headers={"Accept-Encoding": "gzip, br", "TE": "trailers"})
    assert "content-encoding" not in stream.headers and "transfer-encoding" not in stream.headers
    stream.close()


@http1_only
def test_http_1_0_gets_a_stream_too(hub):
    with connect(hub) as s:
        s.sendall(f"GET {PATH}?match=old HTTP/1.0\r\nHost: localhost:{hub.port}\r\n\r\n".encode())
        text = s.recv(65536)
        while not text.endswith(b":\n"):
            text += s.recv(65536)
        sent = published(hub, "old", "x")
        assert s.recv(65536) == f"id: {sent}\ndata: x\n\n".encode()


def test_head_has_the_headers_of_get_and_no_stream(hub):
    answer = request(hub, "HEAD", f"{PATH}?match=a&last_event_id=")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "private, no-cache, no-store, must-revalidate, max-age=0"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Mercure-Last-Event-ID"] == "earliest"
    assert answer.body == ""


def test_a_heartbeat_comes_when_nothing_else_does(make_server):
    server = make_server(config="MercureHeartbeat 1")
    stream = Stream(server, "a")
    started = time.monotonic()
    stream.wait_comments(2)
    first = time.monotonic()
    stream.wait_comments(3)
    second = time.monotonic()
    assert 0.9 < first - started < 1.6
    assert 0.9 < second - first < 1.6


def test_a_stream_ends_with_its_token(hub):
    exp = int(time.time()) + 2
    stream = Stream(hub, "a", bearer=token(hub, subscribe=["a"], exp=exp))
    stream.wait_end()
    assert not stream.cut
    # The timer has ticks of 100 ms, and none may be later than exp; what is later here is this test being scheduled late.
    assert -0.4 < time.time() - exp < 0.1


def test_no_stream_is_longer_than_the_longest_lifetime_and_they_end_at_different_moments(make_server):
    server = make_server(config="MercureMaxLifetime 1")
    begun, ended = {}, {}
    for _ in range(30):
        stream = Stream(server, "a")
        begun[stream] = time.monotonic()
    while len(ended) < len(begun):
        waiting = [s for s in begun if s not in ended]
        ready, _, _ = select.select([s.sock for s in waiting], [], [], 5)
        assert ready, "streams that do not end"
        for stream in waiting:
            if stream.sock in ready:
                stream.read(0.001)
                if stream.ended:
                    assert not stream.cut and stream.events == []
                    ended[stream] = time.monotonic()
    lives = sorted(ended[s] - begun[s] for s in begun)
    assert 0.75 < lives[0] and lives[-1] < 1.35, lives
    assert lives[-1] - lives[0] > 0.08, lives


# --- what a stream gets ---

def test_an_update_comes_once_though_several_matchers_and_topics_match(hub):
    stream = Stream(hub, ["a", "b", "*", "a"], query="&match_exact=a&match_exact=*")
    published(hub, ["a", "b", "c", "a"], "once")
    published(hub, "b", "next")
    assert stream.data(2) == ["once", "next"]
    stream.close()


def test_star_gets_every_public_update(hub):
    stream = Stream(hub, "*")
    for topic in ("https://example.com/1", "a b", "http://[unparsable", "😀"):
        published(hub, topic, topic)
    assert stream.data(4) == ["https://example.com/1", "a b", "http://[unparsable", "😀"]
    stream.close()


@pytest.mark.parametrize("matcher_,topic", [("A", "a"), ("a", "a/"), ("a/", "a"), ("/x", "http://localhost/x"),
                                            ("http://h/%61", "http://h/a"), ("http://h", "http://h/"), ("a*", "ab"),
                                            ("http://H/", "http://h/"), ("é", "e\u0301"), ("{x}", "1")])
def test_an_exact_matcher_resolves_and_normalises_nothing(hub, matcher_, topic):
    stream = Stream(hub, [matcher_, "end"])
    published(hub, topic, "not for it")
    published(hub, matcher_, "for it")
    assert stream.data() == ["for it"]
    stream.close()


def test_an_update_reaches_only_subscribers_of_its_topics(hub):
    first, second = Stream(hub, ["first", "both"]), Stream(hub, ["second", "both"])
    for topic in ("first", "second", "both"):
        published(hub, topic, topic)
    assert first.data(2) == ["first", "both"]
    assert second.data(2) == ["second", "both"]
    first.close()
    second.close()


@pytest.mark.parametrize("match,grant,gets", [
    ("canonical", "canonical", True),
    ("canonical", "alternate", True),
    ("alternate", "canonical", True),
    ("alternate", "alternate", True),
    ("*", "canonical", True),
    ("*", "*", True),
    ("canonical", "*", True),
    ("canonical", "other", False),
    ("*", "canonica", False),
    ("*", "other", False),
])
def test_a_private_update_needs_a_grant_on_any_of_its_topics(hub, match, grant, gets):
    stream = Stream(hub, match, bearer=token(hub, subscribe=[grant]))
    published(hub, ["canonical", "alternate"], "private", fields=[("private", "on")])
    published(hub, ["canonical", "alternate"], "public")
    assert stream.data(2 if gets else 1) == (["private", "public"] if gets else ["public"])
    stream.close()


def test_a_grant_alone_subscribes_to_nothing(hub):
    stream = Stream(hub, "asked", bearer=token(hub, subscribe=["asked", "granted"]))
    published(hub, "granted", "x", fields=[("private", "on")])
    published(hub, "asked", "y", fields=[("private", "on")])
    assert stream.data() == ["y"]
    stream.close()


def test_a_grant_to_publish_reads_nothing_private(hub):
    stream = Stream(hub, "a", bearer=token(hub, publish=["*"]))
    published(hub, "a", "private", fields=[("private", "on")])
    published(hub, "a", "public")
    assert stream.data() == ["public"]
    stream.close()


def test_an_anonymous_subscriber_gets_public_updates_only(hub):
    stream = Stream(hub, ["a", "*"])
    published(hub, "a", "private", fields=[("private", "on")])
    published(hub, "a", "public")
    assert stream.data() == ["public"]
    stream.close()


def test_anonymous_off_wants_a_token(hub):
    host = f"{CLOSED}:{hub.port}"
    with pytest.raises(Refused) as refused:
        Stream(hub, "a", host=host)
    assert refused.value.answer.status == 401
    assert "error=" not in refused.value.answer.headers["www-authenticate"]
    Stream(hub, "a", host=host, bearer=token(hub, subscribe=["b"], aud=f"{hub.scheme}://{host}{PATH}")).close()


def test_two_subscribers_see_the_same_order(hub):
    streams = [Stream(hub, "order"), Stream(hub, ["order", "x"]), Stream(hub, "*")]
    bearer = token(hub, publish=["order"])

    def some(thread):
        for n in range(25):
            published(hub, "order", f"{thread}-{n}", bearer=bearer)

    threads = [threading.Thread(target=some, args=(t,)) for t in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    first, second, third = (s.data(100) for s in streams)
    assert first == second == third
    assert sorted(first) == sorted(f"{t}-{n}" for t in range(4) for n in range(25))
    for t in range(4):
        assert [d for d in first if d.startswith(f"{t}-")] == [f"{t}-{n}" for n in range(25)]
    for stream in streams:
        stream.close()


def test_what_is_published_once_the_answer_has_begun_is_delivered(hub):
    for n in range(50):
        stream = Stream(hub, f"begun-{n}")
        published(hub, f"begun-{n}", "x")
        assert stream.data() == ["x"]
        stream.close()


# --- limits of streams ---

def is_refused(server, **more):
    """One more stream is refused because there are too many."""
    with pytest.raises(Refused) as refused:
        Stream(server, "a", **more)
    answer = refused.value.answer
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) > 0
    assert answer.body == "Too Many Requests\n"
    return True


def accepted_soon(server, **more):
    def attempt():
        try:
            return Stream(server, "a", **more)
        except Refused as refused:
            assert refused.answer.status == 429
            return None
    return wait_for(attempt, "a stream is accepted")


def test_max_subscribers_refuses_the_next_until_one_leaves(make_server):
    server = make_server(config="MercureMaxSubscribers 3")
    streams = [Stream(server, "a"), Stream(server, "b"), Stream(server, "a", bearer=token(server, subscribe=["a"]))]
    assert is_refused(server)
    assert is_refused(server, bearer=token(server, subscribe=["a"]))
    assert request(server, "HEAD", f"{PATH}?match=a").status == 200, "HEAD makes no stream"
    published(server, "a", "publishing is not limited")
    assert streams[0].data() == ["publishing is not limited"]
    streams[1].close()
    streams[1] = accepted_soon(server)
    assert is_refused(server)
    for stream in streams:
        stream.close()
    again = [accepted_soon(server) for _ in range(3)]
    assert is_refused(server)
    for stream in again:
        stream.close()


def test_a_stream_that_ends_with_its_token_makes_room(make_server):
    server = make_server(config="MercureMaxSubscribers 1")
    stream = Stream(server, "a", bearer=token(server, subscribe=["a"], exp=time.time() + 0.9))
    assert is_refused(server)
    stream.wait_end()
    accepted_soon(server).close()


def test_a_refused_request_takes_no_place(make_server):
    server = make_server(config="MercureMaxSubscribers 1")
    for query in ("match=", "Match=a", ""):
        assert request(server, "GET", f"{PATH}?{query}").status == 400
    assert request(server, "GET", f"{PATH}?match=a", {"Authorization": "Bearer x"}).status == 401
    stream = Stream(server, "a")
    for _ in range(5):
        assert is_refused(server)
    stream.close()
    accepted_soon(server).close()


def test_max_subscribers_per_client_counts_addresses(make_server):
    server = make_server(config="MercureMaxSubscribersPerClient 2")
    streams = [Stream(server, "a"), Stream(server, "a")]
    assert is_refused(server)
    assert is_refused(server, bearer=token(server, subscribe=["a"]))
    elsewhere = Stream(server, "a", source="127.0.0.2")
    streams[0].close()
    accepted_soon(server).close()
    elsewhere.close()


def test_max_subscribers_per_client_counts_tokens(make_server):
    server = make_server(config="MercureMaxSubscribersPerClient 2")
    shared, other = token(server, subscribe=["a"]), token(server, subscribe=["a"], jti="another")
    streams = [Stream(server, "a", bearer=shared, source=f"127.0.0.{n}") for n in (2, 3)]
    assert is_refused(server, bearer=shared, source="127.0.0.4")
    Stream(server, "a", bearer=other, source="127.0.0.4").close()
    Stream(server, "a", source="127.0.0.5").close()
    streams[0].close()

    def attempt():
        try:
            return Stream(server, "a", bearer=shared, source="127.0.0.6")
        except Refused:
            return None

    wait_for(attempt, "the token has room again").close()
