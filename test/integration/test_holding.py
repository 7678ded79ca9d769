"""Held streams: a connection is taken over from httpd and needs no worker. Every MPM and protocol."""

import os
import resource
import socket
import struct
import time

import pytest

from client import PATH, Refused, Stream, connect, connect_h2, publish, published, request
from matrix import MPMS, columns, matrix, protocols
from server import wait_for

http1_matrix = columns(*[(mpm, protocol) for mpm in MPMS for protocol in ("plain", "tls")])


def sockets_of(server):
    """Sockets held by the children of httpd."""
    count = 0
    for pid in server.child_pids():
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
                except FileNotFoundError:
                    pass
        except FileNotFoundError:
            pass
    return count


@matrix
def test_1000_streams_hold_no_worker(make_server, mpm):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = make_server(mpm=mpm)
    if server.http2:
        streams = [Stream(server, "a", connection=c) for c in [connect_h2(server) for _ in range(100)] for _ in range(10)]
    else:
        streams = [Stream(server, "a") for _ in range(1000)]
    start = time.monotonic()
    assert request(server, "GET", "/index.html", http1=True).body == "an ordinary page\n"
    assert time.monotonic() - start < 2
    sent = published(server, "a", "to all")
    for stream in streams:
        assert stream.take(1) == [{"id": sent, "data": "to all"}]
    assert len(server.child_pids()) == 1
    assert "holds a worker" not in server.log()
    for stream in streams:
        stream.sock.close()


@matrix
def test_stream_is_plain_until_close_and_logged_when_it_begins(make_server, mpm):
    server = make_server(mpm=mpm)
    stream = Stream(server, "a")
    assert stream.headers.get("connection") == (None if server.http2 else "close")
    assert "transfer-encoding" not in stream.headers and "content-length" not in stream.headers
    version = "2.0" if server.http2 else "1.1"
    wait_for(lambda: f'"GET {PATH}?match=a HTTP/{version}"' in server.access(), "the access log line")


@matrix
def test_client_that_leaves_is_freed(make_server, mpm):
    server = make_server(mpm=mpm)
    keep = Stream(server, "a")
    before = sockets_of(server)
    streams = [Stream(server, "a") for _ in range(50)]
    wait_for(lambda: sockets_of(server) >= before + 50, "50 more sockets")
    for stream in streams:
        stream.close()
    wait_for(lambda: sockets_of(server) <= before, "the sockets are closed")
    published(server, "a", "still here")
    assert keep.data() == ["still here"]


@matrix
def test_reset_client_is_freed(make_server, mpm):
    server = make_server(mpm=mpm)
    keep = Stream(server, "a")
    before = sockets_of(server)
    stream = Stream(server, "a")
    wait_for(lambda: sockets_of(server) == before + 1, "one more socket")
    stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()
    wait_for(lambda: sockets_of(server) == before, "the socket is closed")
    keep.close()


@matrix
def test_half_closed_client_is_ended(make_server, mpm):
    server = make_server(mpm=mpm)
    stream = Stream(server, "a")
    if server.tls:
        socket.socket.shutdown(stream.sock, socket.SHUT_WR)
    else:
        stream.sock.shutdown(socket.SHUT_WR)
    stream.wait_end()


@matrix
def test_client_that_keeps_talking_does_not_disturb(make_server, mpm):
    server = make_server(mpm=mpm)
    stream = Stream(server, "a")
    for _ in range(3):
        if server.http2:
            stream.exchange.connection.ping()
        else:
            stream.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sent = published(server, "a", "x")
        assert stream.take(1)[0]["id"] == sent


@matrix
def test_client_that_never_reads_is_disconnected_and_holds_nobody_up(make_server, mpm):
    server = make_server(mpm=mpm, config="MercureMaxPending 64K\nMercureDispatchTimeout 0\nKeepAliveTimeout 1\n")
    good = Stream(server, "a")
    before = sockets_of(server)
    lazy = Stream(server, "a")
    wait_for(lambda: sockets_of(server) == before + 1, "one more socket")
    published(server, "a", "live")  # one that is still catching up with the history would just wait
    assert good.data() == lazy.data() == ["live"]
    deadline = time.monotonic() + 10
    while sockets_of(server) > before:
        assert time.monotonic() < deadline, "the client that does not read is never disconnected"
        published(server, "a", "x" * 100_000)
        assert len(good.data()[0]) == 100_000
    lazy.close()


@matrix
def test_client_without_progress_is_disconnected_after_the_dispatch_timeout(make_server, mpm):
    server = make_server(mpm=mpm, config="MercureMaxPending 64M\nMercureDispatchTimeout 1\nKeepAliveTimeout 1\n")
    lazy = Stream(server, "a")
    before = sockets_of(server)
    data = "x" * 900_000
    for _ in range(12):
        published(server, "a", data)
    wait_for(lambda: sockets_of(server) < before, "the client without progress is disconnected")
    lazy.close()


@matrix
def test_slow_client_gets_everything_in_order(make_server, mpm):
    server = make_server(mpm=mpm, config="MercureMaxPending 64M\n")
    stream = Stream(server, "a")
    ids = [published(server, "a", f"{i} " + "y" * 300_000) for i in range(30)]
    got = stream.take(30, 30)
    assert [e["id"] for e in got] == ids
    assert [e["data"].split(" ")[0] for e in got] == [str(i) for i in range(30)]


@protocols("plain", "tls")
def test_at_the_descriptor_limit_new_streams_get_503_and_the_child_lives_on(make_server):
    server = make_server(mpm="event", wrapper=["prlimit", "--nofile=600:600"])
    pids = server.child_pids()
    streams, refused = [], None
    for _ in range(400):
        try:
            streams.append(Stream(server, "a"))
        except Refused as e:
            refused = e.answer
            break
    assert refused is not None and refused.status == 503
    assert int(refused.headers["retry-after"]) > 0
    server.wait_log("raise LimitNOFILE")
    assert 280 <= len(streams) <= 300
    published(server, "a", "all of you")
    for stream in streams:
        assert stream.data() == ["all of you"]
    assert server.child_pids() == pids
    assert request(server, "GET", "/").status == 200
    streams.pop().close()

    def again():
        try:
            streams.append(Stream(server, "a"))
            return True
        except Refused:
            return False
    wait_for(again, "a place is free again")


@matrix
def test_graceful_restart_ends_streams_and_new_ones_miss_nothing(make_server, mpm):
    server = make_server(mpm=mpm)
    broker = server.broker_pid()
    stream = Stream(server, "a")
    first = published(server, "a", "1")
    assert stream.data() == ["1"]
    server.graceful()
    stream.wait_end(20)
    assert not stream.cut
    published(server, "a", "2")
    again = Stream(server, "a", last_event_id=first)
    assert again.data() == ["2"]
    assert server.broker_pid() == broker


@http1_matrix
def test_what_is_pipelined_behind_a_subscription_is_dropped(make_server, mpm):
    """The connection closes after the stream, so no further request on it would ever be answered; no worker waits for it."""
    server = make_server(mpm=mpm)
    sock = connect(server)
    text = f"GET {PATH}?match=a HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n"
    stream = Stream(server, "a", sock=Prefixed(sock, text.encode() * 3))
    published(server, "a", "x")
    assert stream.data() == ["x"]
    assert "holds a worker" not in server.log()


class Prefixed:
    """A socket whose first sendall() carries more behind it, in one write."""

    def __init__(self, sock, more):
        self.sock, self.more = sock, more

    def sendall(self, data):
        self.sock.sendall(data + self.more)
        self.more = b""

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a network namespace, so root")
@protocols("plain", "tls", "h2")
def test_vanished_client_is_gone_within_two_heartbeats(make_server):
    """No FIN, no RST: the client's side of a virtual cable goes down."""
    import subprocess

    def run(*words):
        subprocess.run(words, check=True, capture_output=True)

    name = f"mt{os.getpid()}"
    net = f"10.200.{os.getpid() % 250}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        run("ip", "link", "set", f"{name}b", "netns", name)
        run("ip", "addr", "add", f"{net}.1/30", "dev", f"{name}a")
        run("ip", "link", "set", f"{name}a", "up")
        run("ip", "netns", "exec", name, "ip", "addr", "add", f"{net}.2/30", "dev", f"{name}b")
        run("ip", "netns", "exec", name, "ip", "link", "set", f"{name}b", "up")
        server = make_server(mpm="event", start=False, main="MercureHeartbeat 2\n")
        with open(server.config_file) as f:
            text = f.read().replace("127.0.0.1:", f"*:").replace("Listen *:", f"Listen {net}.1:").replace(
                f"Listen {net}.1:{server.port}", f"Listen {net}.1:{server.port}\nListen 127.0.0.1:{server.port}")
        with open(server.config_file, "w") as f:
            f.write(text)
        server.start()
        keep = Stream(server, "a")
        before = sockets_of(server)
        client = subprocess.Popen(["ip", "netns", "exec", name, "curl", "-skN",
                                   f"{server.scheme}://{net}.1:{server.port}{PATH}?match=a", "-H",
                                   f"Host: localhost:{server.port}"], stdout=subprocess.PIPE)
        assert client.stdout.read(2) == b":\n"
        wait_for(lambda: sockets_of(server) == before + 1, "one more socket")
        run("ip", "netns", "exec", name, "ip", "link", "set", f"{name}b", "down")
        start = time.monotonic()
        wait_for(lambda: sockets_of(server) == before, "the vanished client is freed", 12)
        assert time.monotonic() - start < 2 * 2 + 3
        keep.close()
        client.kill()
        client.wait()
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_limit_of_pending_does_not_touch_publishers(server):
    stream = Stream(server, "other")
    assert publish(server, "a", "x").status == 200
    assert stream.events == []
