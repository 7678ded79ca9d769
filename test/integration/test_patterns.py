"""URL Patterns: in subscriptions and in tokens, relative to the hub's URL, live and replayed. PROTOCOL 3."""

import os
import signal
import urllib.parse

import pytest

from client import DETAIL, PATH, Refused, Stream, claims, publish, published, request, sign
from matrix import http1_only, protocols
from server import ISSUER, SECRET, wait_for


pytestmark = protocols("plain", "h2")


def patterns(*values):
    return "&" + urllib.parse.urlencode([("match_urlpattern", v) for v in values])


def subscribe(server, *values, **more):
    return Stream(server, [], query=patterns(*values), **more)


def pattern_token(server, publish=(), subscribe=(), **more):
    details = [{"type": DETAIL, "actions": [action], "topics": [{"match": p, "match_type": "urlpattern"} for p in topics]}
               for action, topics in (("publish", publish), ("subscribe", subscribe)) if topics]
    return sign({**claims(server, **more), "authorization_details": details})


def site(server):
    return server.origin


def test_a_pattern_gets_what_it_matches_and_nothing_else(server):
    stream = subscribe(server, "https://example.com/books/:id")
    for topic, data in (("https://example.com/books/1", "one"), ("https://example.com/books/1/2", "deeper"),
                        ("https://example.com/films/1", "film"), ("books/1", "relative"),
                        ("HTTPS://EXAMPLE.com:443/films/../books/2", "normalised"), ("not a url: [", "none"),
                        ("https://example.com/books/3?lang=fr#part", "query")):
        published(server, topic, data)
    assert stream.data(3) == ["one", "normalised", "query"]


def test_relative_patterns_and_topics_are_relative_to_the_hubs_url(server):
    absolute = subscribe(server, site(server) + "/books/:id")
    relative = subscribe(server, "/books/:id")
    beside = subscribe(server, "news/:id")
    published(server, "/books/1", "1")
    published(server, site(server) + "/books/2", "2")
    published(server, "https://elsewhere.example/books/3", "3")
    published(server, "news/4", "4")
    published(server, "/.well-known/news/5", "5")
    published(server, "/books/6", "6")
    assert absolute.data(3) == ["1", "2", "6"]
    assert relative.data(3) == ["1", "2", "6"]
    assert beside.data(2) == ["4", "5"]


def test_a_subscriber_is_told_by_the_name_under_which_it_reached_the_hub(server):
    local = subscribe(server, "/books/:id")
    other = subscribe(server, "/books/:id", host="other.example")
    published(server, f"{server.scheme}://other.example/books/1", "other's")
    published(server, site(server) + "/books/2", "local's")
    published(server, "/books/3", "everybody's")
    assert local.data(2) == ["local's", "everybody's"]
    assert other.data(2) == ["other's", "everybody's"]


def test_an_update_that_matches_in_several_ways_is_sent_once(server):
    stream = Stream(server, ["https://example.com/a/1", "*"],
                    query=patterns("https://example.com/a/*", "https://example.com/:x/:y", "https://example.com/a/*"))
    for n in range(3):
        published(server, ["https://example.com/a/1", "https://example.com/a/2", "b"], str(n))
    published(server, "other", "end")
    assert stream.data(4) == ["0", "1", "2", "end"]


def test_many_subscribers_and_many_patterns(server):
    streams = {n: subscribe(server, f"https://example.com/users/{n}/:what") for n in range(60)}
    same = [subscribe(server, "https://example.com/users/:id/books") for _ in range(10)]
    for n in range(60):
        published(server, f"https://example.com/users/{n}/books", str(n))
    for n, stream in streams.items():
        assert stream.data() == [str(n)]
    for stream in same:
        assert stream.data(60) == [str(n) for n in range(60)]


def test_patterns_go_away_with_their_streams(server):
    first, second = subscribe(server, "/a/:x"), subscribe(server, "/a/:x")
    first.close()
    published(server, "/a/1", "1")
    assert second.data() == ["1"]
    second.close()
    third = subscribe(server, "/a/:x")
    published(server, "/a/2", "2")
    assert third.data() == ["2"]


def test_regular_expression_groups(server):
    stream = subscribe(server, r"https://example.com/([a-z]+)-(\d{2})")
    for topic in ("abc-12", "abc-1", "ABC-12", "abc-123", "x-99"):
        published(server, "https://example.com/" + topic, topic)
    published(server, "https://example.com/end-00", "end")
    assert stream.data(3) == ["abc-12", "x-99", "end"]


def test_costly_regular_expressions_are_stopped_and_hold_nobody_up(make_server):
    """A tenant's subscriber asks for what takes PCRE2 for ever; the other tenant's updates go on."""
    issuer = f"MercureIssuer {ISSUER} both HS256 {SECRET}"
    vhosts = "".join(f"<VirtualHost 127.0.0.1:@PORT@>\nServerName {name}.example\n@TLS@MercureHub On\nMercureAnonymous On\n{issuer}\n"
                     "</VirtualHost>\n" for name in ("one", "two"))
    server = make_server(hub="", start=False)
    with open(server.config_file, "a") as f:
        f.write(vhosts.replace("@PORT@", str(server.port)).replace("@TLS@", server.tls_lines))
    server.start()
    costly = subscribe(server, *(r"https://example.com/a((?:%s(?:a|aa)){1,20}[b-d]*%d)" % (r"\B" * 60, n) for n in range(10)),
                       host="one.example")
    plain = subscribe(server, "https://example.com/:x", host="one.example")
    other = Stream(server, "t", host="two.example")

    def publish_to(name, topic, data):
        bearer = sign(claims(server, ["*"], aud=f"{server.scheme}://{name}.example{PATH}"))
        return published(server, topic, data, bearer=bearer, host=f"{name}.example")
    for n in range(5):
        publish_to("one", "https://example.com/" + "a" * 60 + "!", str(n))
        publish_to("two", "t", str(n))
    assert plain.data(5) == ["0", "1", "2", "3", "4"]
    assert other.data(5) == ["0", "1", "2", "3", "4"]
    publish_to("one", "https://example.com/aaab3", "end")
    assert costly.data() == ["end"]


def test_replay_finds_what_a_pattern_matches(server):
    first = published(server, "/books/0", "0")
    published(server, "/books/1", "1")
    published(server, "/films/2", "2")
    published(server, "https://elsewhere.example/books/3", "3")
    published(server, ["/films/4", "/books/4"], "4")
    stream = subscribe(server, "/books/:id", last_event_id=first)
    published(server, "/books/5", "5")
    assert stream.data(3) == ["1", "4", "5"]
    assert subscribe(server, "/books/*", last_event_id="earliest").data(4) == ["0", "1", "4", "5"]


def test_patterns_are_registered_again_with_a_new_broker(server):
    stream = subscribe(server, "/books/:id", r"/films/(\d+)")
    published(server, "/books/1", "1")
    assert stream.data() == ["1"]
    old = server.broker_pid()
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: server.broker_pid() not in (None, old), "a new brokerd")
    wait_for(lambda: publish(server, "/books/2", "2").status == 200, "brokerd takes publications")
    published(server, "/films/3", "3")
    published(server, "/other/4", "4")
    published(server, "/books/5", "5")
    got = stream.data(3)
    assert got[-2:] == ["3", "5"] and "4" not in got


# --- tokens ---

def test_a_token_grants_publish_by_pattern(server):
    bearer = pattern_token(server, publish=["https://example.com/books/:id", "/news/*"])
    for topic, status in (("https://example.com/books/1", 200), ("https://example.com/books/1/2", 403),
                          ("https://example.com/films/1", 403), ("/news/1", 200), (site(server) + "/news/1", 200),
                          ("news/1", 403), ("https://elsewhere.example/news/1", 403), ("https://[", 403),
                          (["https://example.com/books/1", "/news/2"], 200),
                          (["https://example.com/books/1", "/other"], 403)):
        assert publish(server, topic, bearer=bearer).status == status, topic


def test_the_same_token_through_another_name_is_relative_to_that(server):
    bearer = pattern_token(server, publish=["/news/*"],
                           aud=[f"{site(server)}{PATH}", f"{server.scheme}://other.example{PATH}"])
    there = f"{server.scheme}://other.example/news/1"
    assert publish(server, there, bearer=bearer).status == 403
    assert publish(server, there, bearer=bearer, host="other.example").status == 200
    assert publish(server, there, bearer=bearer).status == 403
    assert publish(server, site(server) + "/news/1", bearer=bearer, host="other.example").status == 403


def test_private_updates_are_read_by_pattern(server):
    mine = Stream(server, "*", bearer=pattern_token(server, subscribe=["https://example.com/users/1/:what"]))
    by_pattern = subscribe(server, "https://example.com/*", bearer=pattern_token(server, subscribe=["*://*/users/2/*"]))
    public = Stream(server, "*")
    for user in (1, 2, 3):
        published(server, f"https://example.com/users/{user}/books", f"for {user}", fields=[("private", "on")])
    published(server, ["/alternate", "https://example.com/users/1/films"], "alternate", fields=[("private", "on")])
    last = published(server, "https://example.com/end", "end")
    assert mine.data(3) == ["for 1", "alternate", "end"]
    assert by_pattern.data(2) == ["for 2", "end"]
    assert public.data(1) == ["end"]
    again = Stream(server, "*", bearer=pattern_token(server, subscribe=["https://example.com/users/1/:what"]),
                   last_event_id="earliest")
    assert again.data(3) == ["for 1", "alternate", "end"]
    assert again.events == [] and last


@pytest.mark.parametrize("value,reason", [
    ("/(", "pattern"), ("/:a/:a", "pattern"), ("https://[", "pattern"), ("/(?<=a+)b", "pattern"), ("/(*ACCEPT)", "pattern"),
])
def test_a_malformed_pattern_is_400_and_logged(server, value, reason):
    answer = request(server, "GET", f"{PATH}?{patterns(value)[1:]}")
    assert (answer.status, answer.body) == (400, "Bad Request\n")
    assert reason in server.log().splitlines()[-1]


def test_a_malformed_pattern_makes_the_whole_token_invalid(server):
    answer = publish(server, "/a", bearer=pattern_token(server, publish=["/a", "/("]))
    assert answer.status == 401 and 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert "pattern" in server.log().splitlines()[-1]
    with pytest.raises(Refused) as refused:
        Stream(server, "a", bearer=pattern_token(server, subscribe=["/:"]))
    assert refused.value.answer.status == 401


@http1_only
def test_a_host_that_makes_no_url_is_refused(server):
    assert request(server, "GET", f"{PATH}?match=a", host="a b").status == 400
