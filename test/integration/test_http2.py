"""What is particular to our HTTP/2 (`MercureHTTP2 On`): many streams on one connection, each with a window and an end of its own.

What holds over any protocol has HTTP/2 as a column in the other files; test_http2_clients.py has other people's clients.
"""

import http.server
import os
import signal
import socket
import threading
import time

import pytest

from client import PATH, Refused, Stream, connect_h2, publish, published, request, token
from matrix import MPMS, columns, protocols
from server import free_port, wait_for
from test_holding import sockets_of

pytestmark = protocols("h2")
every_mpm = columns(*[(mpm, "h2") for mpm in MPMS])
NO_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0, 7, 11  # RFC 9113 section 7
FORM = {"content-type": "application/x-www-form-urlencoded"}

# One child, with as few workers as may be.
FEW = {
    "event": "StartServers 1\nServerLimit 1\nThreadsPerChild 2\nThreadLimit 2\nMinSpareThreads 1\nMaxSpareThreads 2\n"
             "MaxRequestWorkers 2\n",
    "worker": "StartServers 1\nServerLimit 1\nThreadsPerChild 2\nThreadLimit 2\nMinSpareThreads 1\nMaxSpareThreads 2\n"
              "MaxRequestWorkers 2\n",
    "prefork": "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nServerLimit 1\nMaxRequestWorkers 1\n",
}


def streams_of(conn, server, count, topic="a", **more):
    return [Stream(server, topic, connection=conn, **more) for _ in range(count)]


def post(conn, server, body, bearer=None, **more):
    """Begin to publish over this connection."""
    headers = {**FORM, "authorization": f"Bearer {bearer or token(server, publish=['*'])}"}
    return conn.open("POST", PATH, headers, body, **more)


def write_file(server, name, size):
    with open(os.path.join(server.htdocs, name), "wb") as f:
        f.write(b"0123456789abcdef" * (size // 16))


# --- many streams on one connection ---

@every_mpm
def test_20_streams_of_one_connection_hold_no_worker(make_server, mpm):
    server = make_server(mpm=mpm, mpm_config=FEW[mpm])
    conn = connect_h2(server)
    streams = streams_of(conn, server, 20)
    answered = post(conn, server, b"topic=a&data=over+the+same+connection")
    assert answered.whole() and answered.status == 200
    sent = published(server, "a", "over another")
    for stream in streams:
        assert stream.data(2) == ["over the same connection", "over another"]
    started = time.monotonic()
    assert request(server, "GET", "/index.html", http1=True).body == "an ordinary page\n"
    assert time.monotonic() - started < 2
    assert len(server.child_pids()) == 1 and sent
    assert "holds a worker" not in server.log()


@every_mpm
def test_requests_of_one_connection_run_beside_each_other(make_server, mpm):
    """And their answers come, although more wait than there are threads."""
    server = make_server(mpm=mpm, main="MercureHTTP2Threads 2\n")
    conn, bearer = connect_h2(server), token(server, publish=["*"])
    stream = Stream(server, "a", connection=conn)
    under_way = [post(conn, server, f"topic=a&data={n}".encode(), bearer) for n in range(90)]
    for exchange in under_way:
        exchange.whole()
    assert {exchange.status for exchange in under_way} == {200}
    assert sorted(map(int, stream.data(90))) == list(range(90))
    conn.close()


def test_a_stream_that_its_client_resets_is_free_at_once(make_server):
    server = make_server(config="MercureMaxSubscribers 1\n")
    conn = connect_h2(server)
    other = connect_h2(server)
    for _ in range(20):
        stream = Stream(server, "a", connection=conn)
        with pytest.raises(Refused) as refused:
            Stream(server, "a", connection=other)
        assert refused.value.answer.status == 429
        stream.exchange.reset()
        conn.ping()
    Stream(server, "a", connection=other)


def test_the_limit_for_a_client_counts_streams(make_server):
    server = make_server(config="MercureMaxSubscribersPerClient 3\n")
    conn = connect_h2(server)
    streams = streams_of(conn, server, 3)
    with pytest.raises(Refused) as refused:
        Stream(server, "a", connection=conn)
    assert refused.value.answer.status == 429 and int(refused.value.answer.headers["retry-after"]) > 0
    published(server, "a", "the others go on")
    assert [s.data() for s in streams] == [["the others go on"]] * 3
    streams[0].close()
    Stream(server, "a", connection=conn)


def test_the_expiry_of_one_streams_token_leaves_the_others(make_server):
    server = make_server()
    conn = connect_h2(server)
    exp = int(time.time()) + 2
    first, second = streams_of(conn, server, 2)
    short = Stream(server, "a", connection=conn, bearer=token(server, subscribe=["a"], exp=exp))
    short.wait_end()
    assert short.exchange.end == "end" and -0.4 < time.time() - exp < 0.1
    published(server, "a", "after")
    assert [first.data(), second.data()] == [["after"]] * 2
    assert conn.goaway is None
    conn.close()


def test_each_stream_has_its_heartbeats(make_server):
    server = make_server(config="MercureHeartbeat 1\n")
    conn = connect_h2(server)
    for stream in streams_of(conn, server, 3):
        stream.wait_comments(3)
    conn.close()


@pytest.mark.parametrize("crumbs", [["x=y", "t=TOKEN", "z=1"], ["t=TOKEN"], ["x=y; t=TOKEN", "z=1"]])
def test_cookies_in_several_fields_are_one(make_server, crumbs):
    server = make_server(config='MercureCookieName t\nHeader always set X-Seen "expr=%{HTTP:Cookie}"\n')
    conn = connect_h2(server)
    crumbs = [crumb.replace("TOKEN", token(server, subscribe=["a"])) for crumb in crumbs]
    stream = Stream(server, "a", connection=conn, headers=[("cookie", crumb) for crumb in crumbs])
    published(server, "a", "secret", fields=[("private", "on")])
    assert stream.data() == ["secret"]
    page = conn.ask("GET", "/index.html", [("cookie", crumb) for crumb in crumbs])
    assert page.message()["X-Seen"] == "; ".join(crumbs)
    conn.close()


# --- windows ---

def flood(server, streams, deaf, seconds=20):
    """Publish until the stream that does not read is ended; the others read all of it."""
    published(server, "a", "live")  # one that is still catching up with the history would just wait
    assert [s.data() for s in [*streams, deaf]] == [["live"]] * (len(streams) + 1)
    deaf.exchange.reads = False
    sent, deadline = 0, time.monotonic() + seconds
    while deaf.exchange.end is None:
        assert time.monotonic() < deadline, "it is never ended"
        published(server, "a", f"{sent} " + "x" * 100_000)
        for stream in streams:
            assert stream.data(1, 20)[0].startswith(f"{sent} ")
        sent += 1
    return sent


@every_mpm
def test_a_closed_window_ends_its_stream_past_max_pending_and_no_other(make_server, mpm):
    server = make_server(mpm=mpm, config="MercureMaxPending 256K\nMercureDispatchTimeout 0\n")
    conn = connect_h2(server)
    deaf, *streams = streams_of(conn, server, 4)
    sent = flood(server, streams, deaf)
    assert deaf.exchange.end == "reset"
    assert 256 <= sent * 100 <= 1000, "what is pending is bounded, and as large as it may be"
    assert conn.goaway is None and not conn.closed
    again = Stream(server, "a", connection=conn)
    published(server, "a", "after")
    assert [s.data() for s in [*streams, again]] == [["after"]] * 4
    conn.close()


@every_mpm
def test_a_closed_window_ends_its_stream_after_the_dispatch_timeout_and_no_other(make_server, mpm):
    server = make_server(mpm=mpm, config="MercureMaxPending 64M\nMercureDispatchTimeout 1\n")
    conn = connect_h2(server)
    deaf, *streams = streams_of(conn, server, 3)
    deaf.exchange.reads = False
    published(server, "a", "x" * 200_000)
    started = time.monotonic()
    for stream in streams:
        assert len(stream.data()[0]) == 200_000
    assert conn.wait(lambda: deaf.exchange.end, 10) and deaf.exchange.end == "reset"
    assert 0.7 < time.monotonic() - started < 3
    published(server, "a", "after")
    assert [s.data() for s in streams] == [["after"]] * 2
    conn.close()


def test_a_window_that_opens_again_in_time_loses_nothing(make_server):
    server = make_server(config="MercureMaxPending 64M\nMercureDispatchTimeout 0\n")
    conn = connect_h2(server)
    late, other = streams_of(conn, server, 2)
    late.exchange.reads = False
    ids = [published(server, "a", f"{n} " + "x" * 50_000) for n in range(20)]
    assert [e["id"] for e in other.take(20)] == ids
    late.exchange.reads = True
    conn.h2.increment_flow_control_window(len(late.exchange.body), late.exchange.id)
    conn.flush()
    assert [e["id"] for e in late.take(20)] == ids
    conn.close()


@pytest.mark.parametrize("config", ["MercureMaxPending 256K\nMercureDispatchTimeout 0\nTimeout 2\n",
                                    "MercureMaxPending 512M\nMercureDispatchTimeout 1\n"], ids=["pending", "timeout"])
def test_a_connection_that_does_not_read_is_bounded_and_closed(make_server, config):
    """Its windows are as large as they may be, so that only TCP holds the server back."""
    server = make_server(config=config + "MercureMaxSubscribers 4\n")
    good = Stream(server, "a")
    before = sockets_of(server)
    conn = connect_h2(server, window=2**31 - 1)
    conn.h2.increment_flow_control_window(2**31 - 1 - 65535)
    conn.flush()
    deaf = streams_of(conn, server, 3)
    published(server, "a", "live")
    assert [s.data() for s in [good, *deaf]] == [["live"]] * 4
    wait_for(lambda: sockets_of(server) == before + 1, "one more socket")
    deadline = time.monotonic() + 20
    while sockets_of(server) > before:
        assert time.monotonic() < deadline, "the client that does not read is never disconnected"
        published(server, "a", "x" * 500_000)
        assert len(good.data()[0]) == 500_000
    assert len(streams_of(connect_h2(server), server, 3)) == 3, "its places are free"
    conn.close()


def test_an_update_larger_than_the_windows_arrives_whole(make_server):
    server = make_server()
    conn = connect_h2(server)
    streams = streams_of(conn, server, 4)
    data = "".join(f"{n:07} " for n in range(100_000))
    published(server, "a", data)
    for stream in streams:
        assert stream.data() == [data]
    conn.close()


# --- fairness ---

def test_events_come_while_a_large_file_is_on_its_way(make_server):
    server = make_server()
    write_file(server, "large", 32 << 20)
    conn = connect_h2(server)
    stream = Stream(server, "a", connection=conn)
    download = conn.open("GET", "/large").begun()
    got = 0
    for n in range(10):
        got += len(download.read(10))
        published(server, "a", str(n))
        before = got + len(download.body)
        assert stream.data() == [str(n)]
        assert download.end is None, "the event came behind the file"
        assert got + len(download.body) - before < 1 << 20, "the event waited for the file"
    while more := download.read(10):
        got += len(more)
    assert got == 32 << 20 and download.end == "end"
    conn.close()


def test_two_downloads_share_a_connection(make_server):
    server = make_server()
    write_file(server, "large", 16 << 20)
    conn = connect_h2(server)
    first, second = conn.open("GET", "/large").begun(), conn.open("GET", "/large").begun()
    conn.wait(lambda: len(first.body) > 4 << 20 or len(second.body) > 4 << 20, 20)
    less, more = sorted((len(first.body), len(second.body)))
    assert less > more // 3, (less, more)
    assert len(first.whole()) == len(second.whole()) == 16 << 20
    conn.close()


# --- requests that end before their time ---

def test_a_download_that_is_reset_gives_its_thread_back(make_server):
    server = make_server(main="MercureHTTP2Threads 1\n")
    write_file(server, "large", 16 << 20)
    conn = connect_h2(server)
    download = conn.open("GET", "/large").begun()
    download.reads = False
    conn.wait(lambda: len(download.body) >= 65535, 10)
    page = conn.open("GET", "/index.html")
    conn.ping()
    assert page.status is None, "the one thread is busy"
    download.reset()
    assert page.whole() == b"an ordinary page\n"
    conn.close()


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_running_request_ends_when_its_client_has_gone(make_server, how):
    """The back end of a proxied request sees that nobody listens any more."""
    ended = threading.Event()

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 10_000)
            except OSError:
                ended.set()

        def log_message(self, *arguments):
            pass

    port = free_port()
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", port), Endless)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    try:
        server = make_server(modules=["proxy", "proxy_http"], config=f"ProxyPass /endless http://127.0.0.1:{port}/\n")
        conn = connect_h2(server)
        stream = Stream(server, "a", connection=conn)
        download = conn.open("GET", "/endless").begun()
        conn.wait(lambda: len(download.body) > 1 << 20, 10)
        assert not ended.is_set()
        if how == "reset":
            download.reset()
            published(server, "a", "the connection goes on")
            assert stream.data() == ["the connection goes on"]
        else:
            conn.close()
        assert ended.wait(10), "the request runs on"
    finally:
        backend.shutdown()
        backend.server_close()


# --- the end of the server, or of the child ---

def end_of(server, how):
    if how == "graceful restart":
        server.graceful()
    else:
        server.process.send_signal(signal.SIGWINCH if how == "graceful stop" else signal.SIGTERM)


@pytest.mark.parametrize("mpm,how", [*[(mpm, "graceful restart") for mpm in MPMS], ("event", "graceful stop"), ("event", "stop"),
                                     ("prefork", "stop")])
def test_the_child_ends_with_goaway_and_streams_end_between_events(make_server, mpm, how):
    server = make_server(mpm=mpm, main="MercureMaxPending 64M\n")
    conn = connect_h2(server)
    streams = streams_of(conn, server, 5)
    ids = [published(server, "a", f"{n} " + "x" * 60_000) for n in range(3)]
    end_of(server, how)
    for stream in streams:
        stream.wait_end(20)
        assert stream.exchange.end == "end", stream.exchange.reset_code
        assert stream.raw == b"", "an event is cut"
        assert [e["id"] for e in stream.events] == ids[:len(stream.events)]
    assert conn.goaway is not None
    last, code, _ = conn.goaway
    assert code == NO_ERROR and last >= max(s.exchange.id for s in streams)
    assert conn.wait(lambda: conn.closed, 10)
    if how == "graceful restart":
        again = Stream(server, "a", last_event_id="earliest")
        assert [e["id"] for e in again.take(3)] == ids


def test_nothing_is_lost_over_a_graceful_restart_while_publications_go_on(make_server):
    server = make_server()
    conn = connect_h2(server)
    streams = streams_of(conn, server, 5)
    first, ids, stop = published(server, "a", "first"), [], threading.Event()

    def go_on():
        while not stop.is_set():
            answer = publish(server, "a", "x" * 1000)
            if answer.status == 200:
                ids.append(answer.body)

    thread = threading.Thread(target=go_on)
    thread.start()
    wait_for(lambda: len(ids) > 20, "publications go on")
    server.graceful()
    for stream in streams:
        stream.wait_end(20)
        assert stream.exchange.end == "end" and stream.raw == b""
    wait_for(lambda: len(ids) > 60, "publications go on")
    stop.set()
    thread.join()
    for stream in streams:
        got = [e["id"] for e in stream.events]
        assert got[0] == first
        rest = Stream(server, "a", last_event_id=got[-1])
        got += [e["id"] for e in rest.take(len(ids) + 1 - len(got))]
        assert got == [first, *ids]
        rest.close()


@every_mpm
def test_a_publication_under_way_is_completed_over_a_graceful_restart(make_server, mpm):
    server = make_server(mpm=mpm)
    conn = connect_h2(server)
    published(server, "a", "before")
    os.kill(server.broker_pid(), signal.SIGSTOP)
    under_way = post(conn, server, b"topic=a&data=completed")
    conn.ping()
    server.graceful()
    assert conn.wait(lambda: conn.goaway, 10) and conn.goaway[0] >= under_way.id
    os.kill(server.broker_pid(), signal.SIGCONT)
    under_way.whole()
    assert under_way.status == 200
    assert Stream(server, "a", last_event_id="earliest").data(2) == ["before", "completed"]
    assert conn.wait(lambda: conn.closed, 10)


def test_a_publication_that_is_not_all_there_is_completed_or_may_be_sent_again(make_server):
    server = make_server()
    conn = connect_h2(server)
    under_way = post(conn, server, b"topic=a&da", end=False)
    conn.ping()
    server.graceful()
    assert conn.wait(lambda: conn.goaway, 10)
    under_way.send(b"ta=half", end=True)
    assert conn.wait(lambda: under_way.end, 10)
    if under_way.end == "reset":
        assert under_way.reset_code == REFUSED_STREAM, "the client must know that nothing was done"
    else:
        assert under_way.status == 200
    published(server, "a", "the next")
    wanted = ["the next"] if under_way.end == "reset" else ["half", "the next"]
    assert Stream(server, "a", last_event_id="earliest").data(len(wanted)) == wanted


def test_a_download_under_way_is_completed_over_a_graceful_restart(make_server):
    server = make_server()
    write_file(server, "large", 4 << 20)
    conn = connect_h2(server)
    download = conn.open("GET", "/large").begun()
    server.graceful()
    assert len(download.whole()) == 4 << 20
    assert conn.wait(lambda: conn.closed, 10) and conn.goaway is not None


# --- the end of a connection ---

def test_a_connection_without_streams_is_closed_after_the_keep_alive_timeout(make_server):
    server = make_server(config="KeepAliveTimeout 1\n")
    conn = connect_h2(server)
    conn.ask("GET", "/index.html")
    started = time.monotonic()
    assert conn.wait(lambda: conn.closed, 10)
    assert 0.8 < time.monotonic() - started < 3
    assert conn.goaway[1] == NO_ERROR


def test_a_connection_with_a_stream_outlives_the_keep_alive_timeout(make_server):
    server = make_server(config="KeepAliveTimeout 1\nMercureHeartbeat 1\n")
    conn = connect_h2(server)
    stream = Stream(server, "a", connection=conn)
    stream.wait_comments(4)
    assert conn.goaway is None
    started = time.monotonic()
    stream.close()
    assert conn.wait(lambda: conn.closed, 10)
    assert 0.8 < time.monotonic() - started < 3


def test_a_client_that_leaves_frees_all_its_streams(make_server):
    server = make_server(config="MercureMaxSubscribers 20\n")
    Stream(server, "a").close()
    before = sockets_of(server)
    for _ in range(5):
        conn = connect_h2(server)
        wait_for(lambda: admitted(conn, server, 20), "the places of the one that left are free")
        conn.close()
    wait_for(lambda: sockets_of(server) <= before, "the sockets are closed")


def admitted(conn, server, count):
    """All of them, or none."""
    streams = []
    for _ in range(count):
        try:
            streams.append(Stream(server, "a", connection=conn))
        except Refused:
            for stream in streams:
                stream.close()
            return False
    return True


def test_at_the_descriptor_limit_new_connections_are_refused_and_the_child_lives_on(make_server):
    server = make_server(wrapper=["prlimit", "--nofile=600:600"])
    pids = server.child_pids()
    streams, refused = [], None
    while refused is None and len(streams) < 500:
        conn = connect_h2(server)
        stream = Stream(server, "a", connection=conn, wait=False)
        try:
            streams.append(stream.begin())
        except OSError:
            refused = conn
    assert refused is not None and refused.goaway[1] == ENHANCE_YOUR_CALM
    server.wait_log("raise LimitNOFILE")
    assert len(streams) > 200
    published(server, "a", "all of you", http1=True)
    for stream in streams:
        assert stream.data() == ["all of you"]
    more = Stream(server, "a", connection=streams[0].exchange.connection)
    assert server.child_pids() == pids
    assert request(server, "GET", "/", http1=True).status == 200
    streams.pop().sock.close()
    wait_for(lambda: is_let_in(server), "a place is free again")
    more.close()


def is_let_in(server):
    conn = connect_h2(server)
    try:
        conn.open("GET", "/").begun()
        return True
    except OSError:
        return False
    finally:
        conn.close()


def test_a_socket_that_is_reset_frees_its_streams(make_server):
    server = make_server(config="MercureMaxSubscribers 5\n")
    conn = connect_h2(server)
    streams_of(conn, server, 5)
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    conn.close()
    wait_for(lambda: admitted(connect_h2(server), server, 5), "the places are free")
