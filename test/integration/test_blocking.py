"""Streams that cannot be taken over hold a worker each: they work, and are capped so that the site keeps answering."""

import subprocess
import time

import pytest

from client import PATH, Refused, Stream, audience, published, request
from server import wait_for

H2 = dict(tls=True, modules=["http2"], config="Protocols h2 http/1.1\n")


class H2Stream:
    """A stream over HTTP/2, by curl."""

    def __init__(self, server, topic="a"):
        self.process = subprocess.Popen(
            ["curl", "-skN", "--http2", "-D", "-", f"https://localhost:{server.port}{PATH}?match={topic}",
             "--resolve", f"localhost:{server.port}:127.0.0.1"], stdout=subprocess.PIPE)
        self.status_line = self.process.stdout.readline().decode().strip()
        self.headers = {}
        while True:
            line = self.process.stdout.readline().decode().strip()
            if not line:
                break
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.status = int(self.status_line.split()[1])
        if self.status == 200:
            assert self.process.stdout.readline() == b":\n"

    def line(self):
        return self.process.stdout.readline().decode().rstrip("\n")

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def h2_streams():
    streams = []

    def make(server, **more):
        streams.append(H2Stream(server, **more))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def test_http2_stream_gets_updates_at_once(make_server, h2_streams):
    server = make_server(**H2)
    stream = h2_streams(server)
    assert stream.status_line.startswith("HTTP/2 200")
    for data in ("one", "two"):
        sent = published(server, "a", data)
        assert [stream.line(), stream.line(), stream.line()] == [f"id: {sent}", f"data: {data}", ""]


def test_http1_stream_on_the_same_host_is_held(make_server):
    server = make_server(**H2)
    Stream(server, "a")
    assert "holds a worker" not in server.log()


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_blocking_streams_are_capped_at_half_of_the_workers_and_the_site_answers(make_server, h2_streams, mpm):
    server = make_server(mpm=mpm, **H2)
    streams = [h2_streams(server) for _ in range(12)]
    assert [s.status for s in streams] == [200] * 12
    refused = h2_streams(server)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    start = time.monotonic()
    assert request(server, "GET", "/").status == 200
    assert time.monotonic() - start < 2
    published(server, "a", "to all")
    for stream in streams:
        stream.line()
        assert stream.line() == "data: to all"
    streams[0].close()

    def place():
        stream = h2_streams(server)
        return stream.status == 200
    wait_for(place, "the place of a client that left is free again")


def test_cap_is_set_by_max_blocking(make_server, h2_streams):
    server = make_server(tls=True, modules=["http2"], config="Protocols h2 http/1.1\nMercureMaxBlocking 2\n")
    assert [h2_streams(server).status for _ in range(3)] == [200, 200, 429]


def test_max_blocking_0_refuses_them_all(make_server, h2_streams):
    server = make_server(tls=True, modules=["http2"], config="Protocols h2 http/1.1\nMercureMaxBlocking 0\n")
    assert h2_streams(server).status == 429
    Stream(server, "a")


def test_foreign_connection_filter_makes_a_blocking_stream(make_server):
    server = make_server(modules=["dumpio"], config="DumpIOOutput On\nLogLevel dumpio:trace7\n")
    stream = Stream(server, "a")
    server.wait_log("holds a worker, because of the filter dumpio")
    assert stream.headers["transfer-encoding"] == "chunked"
    stream.close()


@pytest.mark.parametrize("more", [dict(**H2), dict(modules=["dumpio"], config="DumpIOOutput On\nLogLevel dumpio:trace7\n")],
                         ids=["http2", "filter"])
def test_server_stops_and_restarts_with_blocking_streams_open(make_server, h2_streams, more):
    server = make_server(**more)
    if server.tls:
        stream = h2_streams(server)
    else:
        stream = Stream(server, "a")
    server.graceful()
    wait_for(lambda: len(server.child_pids()) == 1, "the old child has gone", 20)
    published(server, "a", "x")
    assert audience(server)
    stream.close()


def test_prefork_blocking_streams_leave_half_of_the_children(make_server):
    server = make_server(mpm="prefork", modules=["dumpio"], config="DumpIOOutput On\nLogLevel dumpio:trace7\n",
                         mpm_config="StartServers 4\nMinSpareServers 1\nMaxSpareServers 4\nServerLimit 4\n"
                                    "MaxRequestWorkers 4\n")
    streams = [Stream(server, "a"), Stream(server, "a")]
    with pytest.raises(Refused) as refused:
        Stream(server, "a")
    assert refused.value.answer.status == 429
    assert request(server, "GET", "/").status == 200
    for stream in streams:
        stream.close()


def test_blocking_replay_is_whole(make_server, h2_streams):
    server = make_server(tls=True, modules=["http2"], config="Protocols h2 http/1.1\n")
    ids = [published(server, "a", "z" * 3000) for _ in range(60)]
    stream = h2_streams(server, topic="a&last_event_id=earliest")
    got = []
    while len(got) < 60:
        line = stream.line()
        if line.startswith("id: "):
            got.append(line[4:])
    assert got == ids
    sent = published(server, "a", "live")
    while True:
        line = stream.line()
        if line.startswith("id: "):
            assert line[4:] == sent
            break
