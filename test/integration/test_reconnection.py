"""Coming back: where a stream goes on, replay and live in one, and what the history keeps. PROTOCOL 6."""

import random
import threading
import urllib.parse

import pytest

from client import PATH, Stream, connect, form, published, request, token
from matrix import protocols
from server import Server, wait_for


pytestmark = protocols("plain", "h2")


@pytest.fixture(scope="module")
def hub(protocol):
    server = Server(**protocol).start()
    yield server
    server.close()


@pytest.fixture
def topic(request):
    """A topic of its own for each test, since the hub is shared."""
    return f"https://example.com/{request.node.name}"


def cursor(stream):
    return stream.headers.get("mercure-last-event-id")


def live(hub, stream, topic):
    """The stream has nothing before what is published now."""
    published(hub, topic, "live")
    return stream.data() == ["live"]


def parameter(value):
    return "&" + urllib.parse.urlencode([("last_event_id", value)])


# --- the cursor of the request and of the answer ---

def test_without_a_cursor_nothing_is_replayed_and_none_is_answered(hub, topic):
    published(hub, topic, "before")
    stream = Stream(hub, topic)
    assert "mercure-last-event-id" not in stream.headers
    assert live(hub, stream, topic)
    stream.close()


def test_replays_after_a_known_id_then_goes_live(hub, topic):
    ids = [published(hub, topic, str(n)) for n in range(5)]
    stream = Stream(hub, topic, last_event_id=ids[1])
    assert cursor(stream) == ids[1]
    assert stream.take(3) == [{"id": ids[n], "data": str(n)} for n in (2, 3, 4)]
    assert live(hub, stream, topic)
    stream.close()


def test_the_query_parameter_is_a_cursor_too(hub, topic):
    ids = [published(hub, topic, str(n)) for n in range(3)]
    stream = Stream(hub, topic, query=parameter(ids[0]))
    assert cursor(stream) == ids[0]
    assert stream.data(2) == ["1", "2"]
    assert live(hub, stream, topic)
    stream.close()


def test_the_header_wins_over_the_query_parameter(hub, topic):
    ids = [published(hub, topic, str(n)) for n in range(3)]
    stream = Stream(hub, topic, last_event_id=ids[1], query=parameter(ids[0]))
    assert cursor(stream) == ids[1]
    assert stream.data() == ["2"]
    assert live(hub, stream, topic)
    stream.close()


def test_of_two_query_parameters_the_first_counts(hub, topic):
    ids = [published(hub, topic, str(n)) for n in range(3)]
    stream = Stream(hub, topic, query=parameter(ids[1]) + parameter(ids[0]))
    assert cursor(stream) == ids[1]
    assert stream.data() == ["2"]
    stream.close()


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_the_newest_id_replays_nothing(hub, topic, how):
    last = [published(hub, topic, str(n)) for n in range(2)][-1]
    stream = Stream(hub, topic, last_event_id=last) if how == "header" else Stream(hub, topic, query=parameter(last))
    assert cursor(stream) == last
    assert live(hub, stream, topic)
    stream.close()


@pytest.mark.parametrize("how", ["header", "parameter"])
def test_earliest_replays_the_whole_history(hub, topic, how):
    for n in range(4):
        published(hub, topic, str(n))
    stream = Stream(hub, topic, **({"last_event_id": "earliest"} if how == "header" else {"query": parameter("earliest")}))
    assert cursor(stream) == "earliest"
    assert stream.data(4) == ["0", "1", "2", "3"]
    assert live(hub, stream, topic)
    stream.close()


@pytest.mark.parametrize("id", ["", "unknown", "Earliest", "urn:uuid:00000000-0000-4000-8000-000000000000", "x" * 4096],
                         ids=["empty", "unknown", "other-case", "uuid", "long"])
@pytest.mark.parametrize("how", ["header", "parameter"])
def test_an_empty_or_unknown_id_replays_nothing_and_earliest_is_answered(hub, topic, how, id):
    published(hub, topic, "before")
    stream = Stream(hub, topic, **({"last_event_id": id} if how == "header" else {"query": parameter(id)}))
    assert cursor(stream) == "earliest"
    assert live(hub, stream, topic)
    stream.close()


def test_earliest_of_an_empty_history_replays_nothing(make_server):
    server = make_server()
    stream = Stream(server, "a", last_event_id="earliest")
    assert cursor(stream) == "earliest"
    assert live(server, stream, "a")
    stream.close()


def test_an_id_given_by_the_publisher_is_a_cursor(hub, topic):
    for id in ("é 1", "a&b=c%20+", "x" * 4096):
        published(hub, topic, id, fields=[("id", f"{topic}{id}"[-4096:])])
    stream = Stream(hub, topic, query=parameter(f"{topic}é 1"))
    assert stream.data(2) == ["a&b=c%20+", "x" * 4096]
    stream.close()
    stream = Stream(hub, topic, query=parameter(f"{topic}a&b=c%20+"))
    assert stream.data() == ["x" * 4096]
    stream.close()


def test_head_answers_the_cursor(hub, topic):
    first = published(hub, topic, "x")
    for id, answered in ((first, first), ("unknown", "earliest"), ("earliest", "earliest"), ("", "earliest")):
        answer = request(hub, "HEAD", f"{PATH}?match=a", {"Last-Event-ID": id})
        assert answer.headers["Mercure-Last-Event-ID"] == answered
    assert "Mercure-Last-Event-ID" not in request(hub, "HEAD", f"{PATH}?match=a").headers


def test_an_id_used_twice_counts_where_it_was_first(hub, topic):
    twice = f"{topic}#twice"
    for n, fields in enumerate([[("id", twice)], [], [("id", twice)], []]):
        published(hub, topic, str(n), fields=fields)
    stream = Stream(hub, topic, last_event_id=twice)
    assert cursor(stream) == twice
    assert stream.data(3) == ["1", "2", "3"]
    stream.close()


# --- what is replayed ---

def test_only_matching_updates_are_replayed(hub, topic):
    first = published(hub, f"{topic}/other", "0")
    published(hub, topic, "1")
    published(hub, f"{topic}/other", "2")
    published(hub, [f"{topic}/other", topic], "3")
    stream = Stream(hub, [topic, f"{topic}/third"], last_event_id=first)
    assert stream.data(2) == ["1", "3"]
    assert live(hub, stream, topic)
    stream.close()


def test_the_id_of_an_update_that_does_not_match_is_a_cursor_too(hub, topic):
    published(hub, topic, "0")
    between = published(hub, f"{topic}/other", "1")
    published(hub, topic, "2")
    stream = Stream(hub, topic, last_event_id=between)
    assert cursor(stream) == between
    assert stream.data() == ["2"]
    stream.close()


def test_an_update_is_replayed_once_though_several_matchers_and_topics_match(hub, topic):
    first = published(hub, topic, "0")
    published(hub, [topic, f"{topic}/2"], "1")
    published(hub, topic, "2")
    stream = Stream(hub, [topic, f"{topic}/2", "*"], last_event_id=first)
    assert stream.data(2) == ["1", "2"]
    stream.close()


def test_private_updates_are_replayed_to_those_who_may_read_them_only(hub, topic):
    first = published(hub, topic, "start")
    published(hub, [topic, f"{topic}/alternate"], "private", fields=[("private", "on")])
    published(hub, topic, "public")
    for grant, wanted in ((None, ["public"]), (topic, ["private", "public"]), (f"{topic}/alternate", ["private", "public"]),
                          ("*", ["private", "public"]), (f"{topic}/other", ["public"])):
        bearer = token(hub, subscribe=[grant]) if grant else None
        stream = Stream(hub, topic, bearer=bearer, last_event_id=first)
        assert stream.data(len(wanted)) == wanted
        assert live(hub, stream, topic)
        stream.close()
        first = published(hub, topic, "start")
        published(hub, [topic, f"{topic}/alternate"], "private", fields=[("private", "on")])
        published(hub, topic, "public")


def test_the_replayed_event_is_the_live_one(hub, topic):
    first = published(hub, topic, "start")
    stream = Stream(hub, topic)
    fields = [("type", "greeting"), ("retry", "1500"), ("id", f"{topic}/id")]
    published(hub, topic, "one\ntwo\n", fields=fields)
    event = {"event": "greeting", "retry": "1500", "id": f"{topic}/id", "data": "one\ntwo\n"}
    assert stream.take() == [event]
    stream.close()
    replayed = Stream(hub, topic, last_event_id=first)
    assert replayed.take() == [event]
    replayed.close()


def test_large_updates_are_replayed_whole(hub, topic):
    first = published(hub, topic, "start")
    sizes = [1, 100_000, 32_768, 500_000, 2]
    for size in sizes:
        published(hub, topic, "x" * size)
    stream = Stream(hub, topic, last_event_id=first)
    assert [len(d) for d in stream.data(len(sizes))] == sizes
    stream.close()


def test_who_comes_second_replays_what_was_published_while_nobody_had_asked_for_it(hub, topic):
    other = Stream(hub, f"{topic}/other")
    start = published(hub, f"{topic}/other", "start")
    assert other.data() == ["start"]
    for n in range(3):
        published(hub, topic, str(n))
    first = Stream(hub, topic, last_event_id=start)
    assert first.data(3) == ["0", "1", "2"]
    second = Stream(hub, topic, last_event_id=start)
    published(hub, topic, "live")
    assert second.data(4) == ["0", "1", "2", "live"]
    for stream in (other, first, second):
        stream.close()


# --- while publications go on ---

def publish_from_threads(hub, topic, threads, each):
    bearer = token(hub, publish=[topic])

    def some(thread):
        for n in range(each):
            published(hub, topic, f"{thread}-{n}", bearer=bearer)

    running = [threading.Thread(target=some, args=(t,)) for t in range(threads)]
    for t in running:
        t.start()
    return running


def test_who_comes_back_again_and_again_misses_and_repeats_nothing(hub, topic):
    chance = random.Random(topic)
    start = published(hub, topic, "start")
    steady = Stream(hub, topic)
    threads = publish_from_threads(hub, topic, 4, 125)
    got, reconnections, last = [], 0, start
    while len(got) < 500:
        stream = Stream(hub, topic, last_event_id=last)
        reconnections += 1
        assert cursor(stream) == last
        got += stream.take(min(chance.randint(1, 12), 500 - len(got)))
        last = got[-1]["id"]
        stream.close()
    for thread in threads:
        thread.join()
    assert got == steady.take(500)
    assert len({event["id"] for event in got}) == 500
    assert reconnections > 40
    steady.close()


def test_many_who_join_while_publications_go_on_all_see_the_same(hub, topic):
    start = published(hub, topic, "start")
    threads = publish_from_threads(hub, topic, 4, 50)
    streams = []
    while any(thread.is_alive() for thread in threads):
        streams.append(Stream(hub, topic, last_event_id=start if len(streams) % 2 else "earliest"))
    wanted = Stream(hub, topic, last_event_id=start).take(200)
    for n, stream in enumerate(streams):
        assert stream.take(200 if n % 2 else 201)[-200:] == wanted
        stream.close()


# --- what the history keeps ---

def replayed(server, last, topic="a"):
    """What `earliest` replays, known to end with the update that starts with `last` (None: with nothing); then live updates follow.
    The marker is published only then, since it may push something out of the history.
    """
    stream = Stream(server, topic, last_event_id="earliest")
    got = []
    while last is not None and (not got or not got[-1].startswith(last)):
        got += stream.data()
    published(server, topic, "the marker")
    assert stream.data() == ["the marker"]
    stream.close()
    return got


@pytest.mark.parametrize("kept", [1, 2, 10])
def test_events_is_how_many_are_kept(make_server, kept):
    server = make_server(config=f"MercureHistory events={kept}")
    ids = [published(server, "a", str(n)) for n in range(kept + 5)]
    stream = Stream(server, "a", last_event_id=ids[4])
    assert cursor(stream) == "earliest", "the id just before the oldest that is kept"
    assert live(server, stream, "a")
    stream.close()
    ids = [published(server, "a", str(n)) for n in range(kept + 5)]
    stream = Stream(server, "a", last_event_id=ids[5])
    assert cursor(stream) == ids[5]
    assert stream.data(kept - 1) == [str(n) for n in range(6, kept + 5)]
    stream.close()
    for n in range(kept + 5):
        published(server, "a", str(n))
    assert replayed(server, str(kept + 4)) == [str(n) for n in range(5, kept + 5)]


def test_events_counts_all_topics_of_the_hub(make_server):
    server = make_server(config="MercureHistory events=3")
    for n in range(3):
        published(server, "a", str(n))
    published(server, "b", "x")
    published(server, "b", "y")
    assert replayed(server, "2") == ["2"]


def test_a_second_use_of_an_id_counts_once_the_first_is_discarded(make_server):
    server = make_server(config="MercureHistory events=4")
    for n, fields in enumerate([[("id", "twice")], [], [("id", "twice")], [], []]):
        published(server, "a", str(n), fields=fields)
    stream = Stream(server, "a", last_event_id="twice")
    assert cursor(stream) == "twice"
    assert stream.data(2) == ["3", "4"]
    stream.close()


def test_age_is_how_long_updates_are_kept(make_server):
    server = make_server(config="MercureHistory age=1s")
    first = published(server, "a", "x")

    def answered():
        return request(server, "HEAD", f"{PATH}?match=a", {"Last-Event-ID": first}).headers["Mercure-Last-Event-ID"]

    assert answered() == first
    wait_for(lambda: answered() == "earliest", "the update is discarded", 5)
    assert replayed(server, None) == []


def test_bytes_is_how_much_is_kept(make_server):
    server = make_server(config="MercureHistory bytes=10K")
    for n in range(20):
        published(server, "a", f"{n:04}" + "x" * 996)
    got = [d[:4] for d in replayed(server, "0019")]
    assert got[-1] == "0019"
    assert 7 <= len(got) <= 10, got


def test_an_update_larger_than_all_that_is_kept_is_delivered_all_the_same(make_server):
    server = make_server(config="MercureHistory bytes=1K")
    stream = Stream(server, "a")
    published(server, "a", "x" * 5000)
    assert stream.data(1, 3) == ["x" * 5000]
    stream.close()


def test_zero_is_no_bound(make_server):
    server = make_server(config="MercureHistory events=0 age=0 bytes=0")
    for n in range(30):
        published(server, "a", str(n))
    assert replayed(server, "29") == [str(n) for n in range(30)]


def test_the_history_outlives_the_server(make_server):
    server = make_server()
    ids = [published(server, "a", str(n), fields=[("private", "on")] if n == 2 else ()) for n in range(4)]
    server.stop()
    server.start()
    stream = Stream(server, "a", last_event_id=ids[0], bearer=token(server, subscribe=["a"]))
    assert cursor(stream) == ids[0]
    assert stream.data(3) == ["1", "2", "3"]
    assert live(server, stream, "a")
    stream.close()
    assert replayed(server, "live") == ["0", "1", "3", "live"]


# --- a large history ---

def publish_many(hub, topic, thread, count, bearer):
    """Publish over one connection of HTTP/1.1, a batch of requests ahead of their answers."""
    with connect(hub, 30) as s:
        for start in range(0, count, 50):
            batch = b""
            for n in range(start, start + 50):
                body = form([("topic", topic), ("data", f"{thread}-{n}")])
                batch += (f"POST {PATH} HTTP/1.1\r\nHost: localhost:{hub.port}\r\nAuthorization: Bearer {bearer}\r\n"
                          f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
                          ).encode() + body
            s.sendall(batch)
            answers = b""
            while answers.count(b"urn:uuid:") < 50 or not answers[answers.rindex(b"urn:uuid:"):][44:]:
                more = s.recv(65536)
                assert more, answers[-300:]
                answers += more
            assert answers.count(b"HTTP/1.1 200 OK") == 50


def test_a_large_history_is_replayed_whole_and_in_order(make_server):
    server = make_server(main="MaxKeepAliveRequests 0\nMercureDurability async")
    bearer = token(server, publish=["a"])
    threads = [threading.Thread(target=publish_many, args=(server, "a", t, 2500, bearer)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = Stream(server, "a", last_event_id="earliest").take(20_000, 60)
    for t in range(8):
        mine = [e["data"] for e in first if e["data"].startswith(f"{t}-")]
        assert mine == [f"{t}-{n}" for n in range(2500)]
    assert len({e["id"] for e in first}) == 20_000
    stream = Stream(server, "a", last_event_id=first[9_999]["id"])
    assert stream.take(10_000, 60) == first[10_000:]
    assert live(server, stream, "a")
    stream.close()
