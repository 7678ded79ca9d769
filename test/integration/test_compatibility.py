"""The older dialects, each exactly as switched on and never without: MercureCompatibility Off, 8, targets, and both.
PROTOCOL 10 and 11. One server has a virtual host for each.
"""

import json
import time

import pytest

from client import DETAIL, PATH, Refused, Stream, claims, form, published, request, sign
from matrix import http1_only, protocols
from server import ISSUER, SECRET, Server, wait_for
from test_tokens import check_refused

OLD_SECRET = "the-secret-of-tokens-that-name-no-issuer-long-enough"
JWT = {"alg": "HS256", "typ": "JWT"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
COLUMNS = ["off", "8", "targets", "both"]
OLDER = ["8", "targets", "both"]
SAID = {"off": "Off", "8": "8", "targets": "targets", "both": "8 targets"}
COOKIE = "mercureAuthorization"
NO_SCOPE = "does not grant publish"
NO_TYPE = "typ is JWT: an access token's is at+jwt"
HINT = "which MercureCompatibility 8 would accept"


pytestmark = protocols("plain", "h2")


def legacy(publish=None, subscribe=None, secret=OLD_SECRET, head=None, **more):
    """A token of protocol 0.x."""
    mercure = {name: array for name, array in (("publish", publish), ("subscribe", subscribe)) if array is not None}
    return sign({"mercure": mercure, **more}, secret, head or JWT)


def bearer(text):
    return {"Authorization": f"Bearer {text}"} if text else {}


class Hub:
    """The hub of one column."""

    def __init__(self, server, column):
        self.server, self.column, self.host = server, column, f"{column}.example:{server.port}"
        self.origin = f"{server.scheme}://{self.host}"
        self.url = self.origin + PATH

    def modern(self, publish=(), subscribe=(), **more):
        return sign(claims(self.server, publish, subscribe, **{"aud": self.url, **more}))

    def post(self, fields, headers, query=""):
        return request(self.server, "POST", PATH + query, {**FORM, **headers}, form(fields), self.host)

    def get(self, query, headers=None, method="GET", body=None):
        return request(self.server, method, f"{PATH}?{query}", headers or {}, body, self.host)

    def published(self, topic, data, *more, by=None):
        answer = self.post([("topic", topic), ("data", data), *more], bearer(by or self.modern(["*"])))
        assert answer.status == 200, (answer.status, answer.body, self.server.log()[-2000:])
        return answer.body

    def stream(self, query, by=None, **more):
        return Stream(self.server, [], bearer=by, query=query, host=self.host, **more)

    def refused(self, ask, status, error, reason):
        check_refused(self.server, ask, status, error, reason,
                      f"{self.origin}/.well-known/oauth-protected-resource{PATH}")

    def refuses_stream(self, query, headers, status, error, reason):
        self.refused(lambda: self.get(query, headers), status, error, reason)

    def refuses_post(self, fields, headers, status, error, reason, query=""):
        self.refused(lambda: self.post(fields, headers, query), status, error, reason)


def vhosts(server, said=SAID):
    text = ""
    for column, words in said.items():
        text += (f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {column}.example\n{server.tls_lines}"
                 "MercureHub On\nMercureAnonymous On\n"
                 f"MercureCompatibility {words}\nMercureIssuer {ISSUER} both HS256 {SECRET}\n")
        text += f"MercureIssuer * both HS256 {OLD_SECRET}\n" if words != "Off" else ""
        text += "</VirtualHost>\n"
    return text


def start(server, said=SAID):
    with open(server.config_file, "a") as f:
        f.write(vhosts(server, said))
    return server.start()


@pytest.fixture(scope="module")
def hubs(protocol):
    server = start(Server(**protocol))
    yield {column: Hub(server, column) for column in COLUMNS}
    server.close()


@pytest.fixture(params=COLUMNS)
def hub(hubs, request):
    return hubs[request.param]


@pytest.fixture(params=OLDER)
def older(hubs, request):
    return hubs[request.param]


_numbers = iter(range(1, 1000000))


@pytest.fixture
def topic():
    """A topic of this test alone."""
    return f"https://site.example/{next(_numbers)}"


def gets_only(stream, wanted, hub, topic, by=None):
    """After a public mark, the stream has got `wanted` and the mark, and nothing else."""
    hub.published(topic, "mark", by=by)
    assert stream.data(len(wanted) + 1) == [*wanted, "mark"]
    stream.close()


# --- subscribing: topic= and the cursor ---

@pytest.mark.parametrize("selector,hit,miss", [
    ("*", "https://a.example/x", None),
    ("https://a.example/books", "https://a.example/books", "https://a.example/books/1"),
    ("https://a.example/books/{id}", "https://a.example/books/1", "https://a.example/books/1/2"),
    ("https://a.example/books/{id}", "https://a.example/books/{id}", "https://a.example/books/"[:-1]),
    ("/files/{+path}", "/files/a/b", "/file"),
    ("{unclosed", "{unclosed", "unclosed"),
    ("https://a.example/a%2Fb", "https://a.example/a%2Fb", "https://a.example/a/b"),
])
def test_topic_selects_as_a_star_a_topic_or_a_uri_template(hub, selector, hit, miss):
    query = "topic=" + selector.replace("%", "%25").replace("+", "%2B").replace("{", "%7B").replace("}", "%7D")
    if hub.column == "off":
        answer = hub.get(query)
        assert answer.status == 400 and "WWW-Authenticate" not in answer.headers
        return
    stream = hub.stream(query)
    if miss:
        hub.published(miss, "miss")
    hub.published(hit, "hit")
    assert stream.data() == ["hit"]
    stream.close()


def test_topic_and_match_mix_and_an_update_comes_once(hub, topic):
    stream = hub.stream(f"match={topic}/m&topic={topic}/t&topic={topic}/%7Bx%7D&match_urlpattern={topic}/:y")
    hub.published(f"{topic}/t", "both ways")
    hub.published(f"{topic}/other/t", "neither")
    gets_only(stream, ["both ways"], hub, f"{topic}/m")


def test_topic_is_ignored_beside_match_where_it_is_not_accepted(hub, topic):
    stream = hub.stream(f"match={topic}&topic=*")
    hub.published(topic + "/x", "by topic")
    gets_only(stream, ["by topic"] if hub.column != "off" else [], hub, topic)


@pytest.mark.parametrize("query", ["topic=", "topic=a%0A", "topic=%FF", "topic=a&topic=", "lastEventID=a", "Topic=a",
                                   "topic=a&matches=b", "topic%5B%5D=a", "topic=" + "x" * 4097])
def test_bad_subscriptions_are_400(hub, query):
    assert hub.get(query).status == 400


def test_a_request_has_100_selectors_and_matchers_at_most(older):
    assert older.get("&".join(f"topic=t{i}" for i in range(60)) + "&" + "&".join(f"match=m{i}" for i in range(41))).status == 400
    older.stream("&".join(f"topic=t{i}" for i in range(60)) + "&" + "&".join(f"match=m{i}" for i in range(40))).close()


@pytest.mark.parametrize("name,modern", [("last_event_id", True), ("lastEventID", False), ("Last-Event-ID", False)])
def test_the_cursor_by_its_names(hub, topic, name, modern):
    first = hub.published(topic, "1")
    hub.published(topic, "2")
    stream = hub.stream(f"match={topic}&{name}={first}")
    if modern or hub.column != "off":
        assert stream.headers["mercure-last-event-id"] == first
        assert stream.headers.get("last-event-id") == (first if hub.column != "off" else None)
        gets_only(stream, ["2"], hub, topic)
    else:
        assert "mercure-last-event-id" not in stream.headers and "last-event-id" not in stream.headers
        gets_only(stream, [], hub, topic)


def test_the_answer_names_the_cursor_by_both_names(hub, topic):
    hub.published(topic, "1")
    for cursor in ("", "unknown", "earliest"):
        stream = hub.stream(f"match={topic}", last_event_id=cursor)
        assert stream.headers["mercure-last-event-id"] == "earliest"
        assert stream.headers.get("last-event-id") == ("earliest" if hub.column != "off" else None)
        stream.close()
    stream = hub.stream(f"match={topic}")
    assert "mercure-last-event-id" not in stream.headers and "last-event-id" not in stream.headers
    stream.close()


def test_the_header_goes_before_the_older_cursor(older, topic):
    first, second = older.published(topic, "1"), older.published(topic, "2")
    stream = older.stream(f"topic={topic}&lastEventID={first}", last_event_id=second)
    assert stream.headers["last-event-id"] == second
    gets_only(stream, [], older, topic)


def test_query_takes_selectors_and_cursor_in_its_body(hub, topic):
    first = hub.published(topic, "1")
    body = form([("topic", topic), ("lastEventID", "unknown")])
    if hub.column == "off":
        assert request(hub.server, "QUERY", PATH, FORM, body, hub.host).status == 400
        return
    stream = hub.stream(f"lastEventID={first}", method="QUERY", body=body)
    assert stream.headers["last-event-id"] == first
    gets_only(stream, [], hub, topic)


# --- tokens: what they need ---

@pytest.mark.parametrize("head", [JWT, {"alg": "HS256"}, {"alg": "HS256", "typ": "jwt"}])
def test_an_older_token_needs_no_issuer_audience_or_end(hub, topic, head):
    text = legacy(["*"], ["*"], head=head, secret=SECRET if hub.column == "off" else OLD_SECRET)
    if hub.column == "off":
        hub.refuses_post([("topic", topic)], bearer(text), 401, "invalid_token", "an access token's is at+jwt")
        hub.refuses_stream("match=a", bearer(text), 401, "invalid_token", "an access token's is at+jwt")
        return
    hub.published(topic, "x", by=text)
    hub.stream("topic=*", by=text).close()


def test_an_older_token_may_name_an_issuer(older, topic):
    older.published(topic, "x", by=legacy(["*"], secret=SECRET, iss=ISSUER))
    older.published(topic, "x", by=legacy(["*"], iss="https://anybody.example"))
    older.refuses_post([("topic", topic)], bearer(legacy(["*"], secret=SECRET)), 401, "invalid_token",
                       "signature does not verify")
    older.refuses_post([("topic", topic)], bearer(legacy(["*"], secret=SECRET, iss="https://anybody.example")), 401,
                       "invalid_token", "signature does not verify")


@pytest.mark.parametrize("changed,reason", [
    ({"iss": None}, "iss is (none)"), ({"iss": "*"}, "iss is *: no MercureIssuer"),
    ({"iss": "https://anybody.example"}, "no MercureIssuer of that name"),
    ({"aud": "https://elsewhere.example"}, "aud does not hold"), ({"aud": None}, "aud does not hold"),
    ({"exp": None}, "has no exp"), ({"exp": 1}, "has expired")])
def test_an_access_token_stays_strict(hub, changed, reason):
    for secret in (SECRET, OLD_SECRET):
        payload = {**claims(hub.server, ["*"]), "aud": hub.url, "mercure": {"publish": ["*"]}, **changed}
        if secret == OLD_SECRET and "iss" not in changed:
            reason = "signature does not verify"
        hub.refuses_post([("topic", "a")], bearer(sign(payload, secret)), 401, "invalid_token", reason)


def test_an_access_tokens_mercure_claim_grants_nothing(hub):
    text = sign({**claims(hub.server), "aud": hub.url, "mercure": {"publish": ["*"], "subscribe": ["*"]}})
    hub.refuses_post([("topic", "a")], bearer(text), 403, "insufficient_scope", NO_SCOPE)


def test_an_older_tokens_details_grant_nothing(older):
    details = [{"type": DETAIL, "actions": ["publish"], "topics": [{"match": "*"}]}]
    older.refuses_post([("topic", "a")], bearer(legacy(authorization_details=details)), 403, "insufficient_scope", NO_SCOPE)


@pytest.mark.parametrize("payload,reason", [
    ({"mercure": []}, "mercure claim is no object"),
    ({"mercure": {"publish": "*"}}, "mercure.publish is no array"),
    ({"mercure": {"publish": [1]}}, "mercure.publish holds what is no string"),
    ({"mercure": {"publish": ["*"], "subscribe": {}}}, "mercure.subscribe is no array"),
    ({"mercure": {"publish": ["a"] * 1001}}, "at most 1000"),
    ({"mercure": {"publish": ["*"]}, "exp": 1}, "has expired"),
    ({"mercure": {"publish": ["*"]}, "exp": "1"}, "exp"),
    ({"mercure": {"publish": ["*"]}, "nbf": 9999999999}, "not valid yet"),
])
def test_older_tokens_that_are_refused(hub, payload, reason):
    text = sign(payload, OLD_SECRET, JWT)
    hub.refuses_post([("topic", "a")], bearer(text), 401, "invalid_token", reason if hub.column != "off" else NO_TYPE)


@pytest.mark.parametrize("claim", ["mercure", "https://mercure.rocks/"])
def test_the_claim_has_two_names(older, topic, claim):
    older.published(topic, "x", by=sign({claim: {"publish": [topic]}}, OLD_SECRET, JWT))


# --- publishing: the array against topics and targets ---

T = ("target", "t")
U = ("target", "u")

# array, further fields of the form; which columns accept the update, on the topic https://site.example/books/1
PUBLISH = [
    (None, [], []),
    ([], [], ["targets"]),
    (["*"], [], OLDER),
    (["https://site.example/books/1"], [], OLDER),
    (["https://site.example/books/{id}"], [], OLDER),
    (["https://site.example/books/{id}"], [("topic", "https://site.example/books/2")], OLDER),
    (["https://site.example/books/1"], [("topic", "https://site.example/other")], ["targets"]),
    (["https://site.example/{id}"], [], ["targets"]),
    (["t"], [], ["targets"]),
    (["t"], [("private", "on")], ["targets"]),
    ([], [("private", "on")], []),  # an empty array is for public updates
    (["*"], [("private", "on")], OLDER),
    (None, [T], []),
    ([], [T], []),
    (["t"], [T], ["targets", "both"]),
    (["t"], [T, U], []),
    (["t", "u"], [T, U], ["targets", "both"]),
    (["*"], [T, U], OLDER),  # with 8 alone the field means nothing
    (["https://site.example/books/1"], [T], ["8"]),
]


@pytest.mark.parametrize("array,fields,accepting", PUBLISH, ids=lambda value: json.dumps(value)[:60])
def test_who_may_publish(hub, array, fields, accepting):
    fields = [("topic", "https://site.example/books/1"), *fields]
    if hub.column == "off":
        hub.refuses_post(fields, bearer(legacy(array)), 401, "invalid_token", NO_TYPE)
    elif hub.column in accepting:
        assert hub.post(fields, bearer(legacy(array))).status == 200
    else:
        of_targets = "target" in dict(fields) and hub.column != "8"
        hub.refuses_post(fields, bearer(legacy(array)), 403, "insufficient_scope",
                         NO_SCOPE + (" to every target" if of_targets else " on every topic"))


def test_an_access_token_may_use_no_target(hub):
    fields = [("topic", "a"), T]
    if hub.column in ("targets", "both"):
        hub.refuses_post(fields, bearer(hub.modern(["*"])), 403, "insufficient_scope", "to every target")
    else:
        assert hub.post(fields, bearer(hub.modern(["*"]))).status == 200


@pytest.mark.parametrize("value,status", [("", 400), ("a\n", 400), ("x" * 4096, 200), ("x" * 4097, 413)])
def test_a_target_keeps_the_rules_of_a_value(hub, value, status):
    by = legacy(["*"]) if hub.column != "off" else hub.modern(["*"])
    wanted = status if hub.column in ("targets", "both") else 200
    assert hub.post([("topic", "a"), ("target", value)], bearer(by)).status == wanted


def test_an_update_has_1000_targets_at_most(older):
    for count, status in ((1000, 200), (1001, 413)):
        answer = older.post([("topic", "a")] + [("target", f"t{i}") for i in range(count)], bearer(legacy(["*"])))
        assert answer.status == (status if older.column != "8" else 200)


# --- reading ---

# array of mercure.subscribe, fields of the update; the columns in which it is delivered
READ = [
    (None, [("private", "on")], []),
    ([], [("private", "on")], []),
    (["*"], [("private", "on")], ["8", "both"]),
    (["TOPIC"], [("private", "on")], ["8", "both"]),
    (["TOPIC{+rest}"], [("private", "on")], ["8", "both"]),
    (["TOPIC/other"], [("private", "on")], []),
    (["TOPIC/alternate"], [("private", "on"), ("topic", "TOPIC/alternate")], ["8", "both"]),
    (["t"], [T], ["targets", "both"]),
    (["u", "t"], [T], ["targets", "both"]),
    (["t"], [U, T], ["targets", "both"]),
    (["*"], [T], ["targets", "both"]),
    (["u"], [T], []),
    (["TOPIC"], [T], []),
    ([], [T], []),
    (None, [T], []),
]


@pytest.mark.parametrize("live", [True, False], ids=["live", "replayed"])
@pytest.mark.parametrize("array,fields,delivering", READ, ids=lambda value: json.dumps(value)[:60])
def test_who_reads_what(older, topic, array, fields, delivering, live):
    if older.column == "8" and "target" in dict(fields):
        delivering = ["8"]  # the field means nothing there: a public update
    array = None if array is None else [one.replace("TOPIC", topic) for one in array]
    fields = [(name, value.replace("TOPIC", topic)) for name, value in fields]
    reader, wanted = legacy(subscribe=array), ["secret"] if older.column in delivering else []
    cursor = older.published(topic, "before")
    stream = older.stream(f"topic={topic}", by=reader) if live else None
    older.published(topic, "secret", *fields, by=legacy(["*"]))
    stream = stream or older.stream(f"topic={topic}&lastEventID={cursor}", by=reader)
    gets_only(stream, wanted, older, topic)


def test_nobody_reads_targets_or_private_updates_without_a_token(older, topic):
    cursor = older.published(topic, "before")
    stream = older.stream(f"topic={topic}")
    older.published(topic, "private", ("private", "on"), by=legacy(["*"]))
    if older.column != "8":
        older.published(topic, "to t", T, by=legacy(["*"]))
        older.published(topic, "to a star", ("target", "*"), by=legacy(["*"]))
    gets_only(stream, [], older, topic)
    gets_only(older.stream(f"topic={topic}&lastEventID={cursor}"), ["mark"], older, topic)


def test_an_access_token_reads_private_updates_and_no_targets(older, topic):
    stream = older.stream(f"match={topic}", by=older.modern(subscribe=["*"]))
    older.published(topic, "private", ("private", "on"), by=older.modern(["*"]))
    if older.column != "8":
        older.published(topic, "to t", T, by=legacy(["*"]))
    gets_only(stream, ["private"], older, topic)


def test_an_older_token_reads_what_an_access_token_publishes(older, topic):
    stream = older.stream(f"topic={topic}", by=legacy(subscribe=[topic]))
    older.published(topic, "private", ("private", "on"), by=older.modern(["*"]))
    gets_only(stream, ["private"] if older.column != "targets" else [], older, topic)


def test_targets_are_kept_apart_after_they_are_switched_off(make_server):
    """An update to targets stays closed when the hub no longer knows targets, and opens again to its holders."""
    server = start(make_server(start=False), {"h": "8 targets"})
    hub = Hub(server, "h")
    text = open(server.config_file).read()
    readers = [None, legacy(subscribe=["t"]), legacy(subscribe=["*"]), hub.modern(subscribe=["*"])]

    def replayed():
        found = []
        for reader in readers:
            stream = hub.stream("match=a&last_event_id=earliest", by=reader)
            found.append(stream.data(1))
            stream.close()
        return found

    def switch(words):
        with open(server.config_file, "w") as f:
            f.write(text.replace("MercureCompatibility 8 targets", f"MercureCompatibility {words}"))
        server.graceful()

    hub.published("a", "to t", T, by=legacy(["*"]))
    hub.published("a", "public", by=legacy(["*"]))
    assert replayed() == [["public"], ["to t"], ["to t"], ["public"]]
    switch("8")
    wait_for(lambda: hub.get("topic=").status == 400 and hub.post([("topic", "b"), ("target", "")],
                                                                  bearer(legacy(["*"]))).status == 200, "targets are off")
    assert replayed() == [["public"]] * 4
    switch("8 targets")
    wait_for(lambda: hub.post([("topic", "b"), ("target", "")], bearer(legacy(["*"]))).status == 400, "targets are on")
    assert replayed() == [["public"], ["to t"], ["to t"], ["public"]]


# --- how a token is presented ---

def test_the_query_carries_a_token_with_8_only(hub, topic):
    text = legacy(["*"], ["*"])
    if hub.column in ("8", "both"):
        assert hub.post([("topic", topic)], {}, f"?authorization={text}").status == 200
        assert hub.post([("topic", topic)], {}, f"?x=y&authori%7Aation={text}").status == 200
        stream = hub.stream(f"topic={topic}&authorization={text}")
        hub.published(topic, "private", ("private", "on"), by=text)
        gets_only(stream, ["private"], hub, topic)
    else:
        hub.refuses_post([("topic", topic)], {}, 401, None, "without a token", f"?authorization={text}")
        stream = hub.stream(f"match={topic}&authorization={text}")  # as anybody without a token
        hub.published(topic, "private", ("private", "on"))
        gets_only(stream, [], hub, topic)


@pytest.mark.parametrize("value,status,error,reason", [
    ("", 400, "invalid_request", "no well-formed Bearer token"), ("a%20b", 400, "invalid_request", "no well-formed"),
    ("a%00b", 401, "invalid_token", "it has not three parts"),
    ("a.b.c", 401, "invalid_token", "header is not a JSON object"), ("Bearer%20a.b.c", 400, "invalid_request", "no well-formed")])
def test_bad_tokens_in_the_query(hub, value, status, error, reason):
    if hub.column not in ("8", "both"):
        status, error, reason = 401, None, "without a token"
    hub.refuses_post([("topic", "a")], {}, status, error, reason, f"?authorization={value}")


def test_an_access_token_may_stand_in_the_query_with_8(hubs, topic):
    assert hubs["8"].post([("topic", topic)], {}, f"?authorization={hubs['8'].modern(['*'])}").status == 200


@pytest.mark.parametrize("name", ["Authorization", "access_token", "authorization[]", "xauthorization"])
def test_other_names_carry_no_token(hubs, name):
    hubs["8"].refuses_post([("topic", "a")], {}, 401, None, "without a token", f"?{name}={legacy(['*'])}")


def test_the_older_cookie_comes_with_either_dialect(hub, topic):
    cookie = {"Cookie": f"{COOKIE}={legacy(['*'], ['*', 't'])}", "Origin": hub.origin}
    if hub.column == "off":
        hub.refuses_post([("topic", topic)], cookie, 401, None, "without a token")
        return
    assert hub.post([("topic", topic)], cookie).status == 200
    stream = hub.stream(f"topic={topic}", headers=cookie)
    fields = [("private", "on")] if hub.column == "8" else [T]
    hub.published(topic, "secret", *fields, by=legacy(["*"]))
    gets_only(stream, ["secret"], hub, topic)


def test_header_then_query_then_cookies(hubs, topic):
    hub, good, bad = hubs["8"], legacy(["*"]), "a.b.c"
    modern_cookie = "__Secure-mercure_access_token"
    own = {"Origin": hub.origin}
    for headers, query, status in (
            ({"Authorization": f"Bearer {good}", "Cookie": f"{COOKIE}={bad}"}, f"?authorization={bad}", 200),
            ({"Authorization": f"Bearer {bad}", "Cookie": f"{COOKIE}={good}"}, f"?authorization={good}", 401),
            ({"Authorization": "Basic eDp5", "Cookie": f"{COOKIE}={good}"}, f"?authorization={good}", 401),
            ({"Cookie": f"{COOKIE}={bad}"}, f"?authorization={good}", 200),
            ({"Cookie": f"{COOKIE}={good}"}, f"?authorization={bad}", 401),
            ({}, f"?authorization={good}&authorization={bad}", 200),
            ({}, f"?authorization={bad}&authorization={good}", 401),
            ({"Cookie": f"{modern_cookie}={good}; {COOKIE}={bad}"}, "", 200),
            ({"Cookie": f"{COOKIE}={good}; {modern_cookie}={bad}"}, "", 401),
            ({"Cookie": f"{COOKIE}={good}"}, "", 200)):
        answer = hub.post([("topic", topic)], {**own, **headers}, query)
        assert answer.status == status, (headers, query)


@pytest.mark.parametrize("headers,status,reason", [
    ({}, 400, "neither Origin nor Referer"),
    ({"Origin": "https://evil.example"}, 400, "MercurePublishOrigins"),
    ({"Origin": "null"}, 400, "MercurePublishOrigins"),
    ({"Origin": "https://evil.example", "Referer": "OWN/"}, 400, "MercurePublishOrigins"),
    ({"Referer": "https://evil.example/OWN"}, 400, "MercurePublishOrigins"),
    ({"Origin": "OWN"}, 200, None),
    ({"Referer": "OWN/page?x"}, 200, None),
])
def test_a_publication_with_the_older_cookie_comes_from_an_allowed_origin(older, headers, status, reason):
    headers = {name: value.replace("OWN", older.origin) for name, value in headers.items()}
    headers["Cookie"] = f"{COOKIE}={legacy(['*'])}"
    if status == 200:
        assert older.post([("topic", "a")], headers).status == 200
    else:
        older.refuses_post([("topic", "a")], headers, status, "invalid_request", reason)


# --- the end of a stream ---

def test_a_stream_ends_with_its_tokens_exp(older, topic):
    stream = older.stream(f"topic={topic}", by=legacy(subscribe=["*"], exp=int(time.time()) + 2))
    stream.wait_end(5)
    stream.close()


def test_a_token_without_exp_lives_as_long_as_any_stream(make_server):
    server = start(make_server(start=False, main="MercureMaxLifetime 2"), {"h": "8"})
    hub, began = Hub(server, "h"), time.monotonic()
    stream = hub.stream("topic=a", by=legacy(subscribe=["*"]))
    stream.wait_end(5)
    assert time.monotonic() - began > 1.4
    stream.close()


# --- hints ---

HINTED = {
    "a token": (lambda hub: hub.post([("topic", "a")], bearer(legacy(["*"]))), 401, "a token with a mercure claim"),
    "a token for reading": (lambda hub: hub.get("match=a", bearer(legacy(subscribe=["*"]))), 401, "a token with a mercure claim"),
    "topic=": (lambda hub: hub.get("topic=a"), 400, "a subscription with topic="),
    "the query": (lambda hub: hub.post([("topic", "a")], {}, f"?authorization={legacy(['*'])}"), 401, "a token in the query"),
    "the cookie": (lambda hub: hub.post([("topic", "a")], {"Cookie": f"{COOKIE}={legacy(['*'])}"}), 401,
                   f"a token in the cookie {COOKIE}"),
}


@pytest.mark.parametrize("what", HINTED)
def test_a_hub_of_1_0_says_once_what_would_accept_it(make_server, what):
    server = start(make_server(start=False, mpm_config="StartServers 1\nServerLimit 1\nThreadsPerChild 25\n"
                               "MinSpareThreads 1\nMaxSpareThreads 25\nMaxRequestWorkers 25\n"),
                   {"off": "Off", "other": "Off", "8": "8"})
    ask, status, words = HINTED[what]
    off, other, eight = (Hub(server, name) for name in ("off", "other", "8"))
    for _ in range(5):
        assert ask(off).status == status
    lines = [line for line in server.log().split("\n") if HINT in line]
    assert len(lines) == 1 and f"hub off.example: {words}" in lines[0], lines
    ask(other)
    assert server.log().count(HINT) == 2  # each virtual host tells its own administrator
    assert eight.post([("topic", "a")], bearer("a.b.c")).status == 401
    eight.get("match_foo=a")
    eight.post([("topic", "a")], {"Authorization": "Basic eDp5"}, "?authorization=a.b.c")
    assert server.log().count(HINT) == 2


def test_a_hub_of_1_0_gives_no_hint_without_a_reason(make_server):
    server = start(make_server(start=False), {"off": "Off"})
    off = Hub(server, "off")
    assert off.get("").status == 400
    assert off.post([("topic", "a")], {}).status == 401
    assert off.post([("topic", "a")], bearer("a.b.c")).status == 401
    assert off.post([("topic", "a")], bearer(sign({"x": 1}, header=JWT))).status == 401
    off.stream("match=a&topic=a").close()
    assert HINT not in server.log()


# --- the directive ---

def hub_config(words, issuer="*", secret=OLD_SECRET):
    return f"MercureHub On\nMercureIssuer {issuer} both HS256 {secret}\n{words}\n"


@http1_only
@pytest.mark.parametrize("words,said", [
    ("MercureCompatibility 8", None), ("MercureCompatibility Targets", None), ("MercureCompatibility targets 8", None),
    ("MercureCompatibility 8\nMercureCompatibility targets", None),
    ("", "MercureIssuer * is for tokens of protocol 0.x"),
    ("MercureCompatibility Off", "MercureIssuer * is for tokens of protocol 0.x"),
    ("MercureCompatibility 7", 'wants Off, 8, targets, or both of these, not "7"'),
    ("MercureCompatibility On", "wants Off, 8, targets"),
    ("MercureCompatibility Off 8", "Off does not go with"),
    ("MercureCompatibility targets off", "Off does not go with"),
    ("MercureCompatibility", "MercureCompatibility"),
])
def test_what_configtest_says(make_server, words, said):
    done = make_server(start=False, hub=hub_config(words)).configtest()
    assert (done.returncode == 0) == (said is None), done.stderr
    assert said is None or said in done.stderr


@http1_only
def test_configtest_looks_at_every_virtual_host(make_server):
    server = make_server(start=False, hub=hub_config("MercureCompatibility 8"))
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName b.example\n{hub_config('')}</VirtualHost>\n")
    assert "MercureIssuer * is for tokens" in server.configtest().stderr


def test_an_inner_scope_decides_for_itself(make_server):
    """A <Location> may switch a dialect off again, and `*` without a dialect lets nobody in."""
    server = make_server(hub=hub_config("MercureCompatibility 8"), vhosts="",
                         config="<If \"-n req('X-Strict')\">\nMercureCompatibility Off\n</If>\n"
                                "<If \"-n req('X-Targets')\">\nMercureCompatibility targets\n</If>\n")
    text = legacy(["t"])

    def post(**headers):
        head = {**FORM, **bearer(text), **{name.replace("_", "-"): value for name, value in headers.items()}}
        return request(server, "POST", PATH, head, form([("topic", "a"), T])).status

    assert post() == 403  # selectors: t is not a
    assert post(X_Strict="1") == 401
    assert post(X_Targets="1") == 200


def test_a_tenants_htaccess_may_switch_it_on(make_server):
    server = make_server(hub=f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\nMercurePath /hub")
    with open(f"{server.htdocs}/.htaccess", "w") as f:
        f.write(f"MercureCompatibility 8\nMercureIssuer * both HS256 {OLD_SECRET}\n")
    stream = Stream(server, [], query="topic=a", bearer=legacy(subscribe=["a"]), path="/hub")
    published(server, "a", "private", bearer=legacy(["a"]), fields=[("private", "on")], path="/hub")
    assert stream.data() == ["private"]
    stream.close()
    with open(f"{server.htdocs}/.htaccess", "w") as f:
        f.write("")
    with pytest.raises(Refused) as refused:
        Stream(server, [], query="topic=a", path="/hub")
    assert refused.value.answer.status == 400
