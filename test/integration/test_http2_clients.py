"""Other people's HTTP/2 clients against `MercureHTTP2 On`: curl, nghttp and h2load of nghttp2, Python's httpx. With mod_http2
loaded beside and without; HTTP/1.1 on the same virtual host; and mod_http2 on the others.
"""

import asyncio
import json
import os
import re
import subprocess
import time
import warnings

import pytest

from client import PATH, Stream, connect, connect_h2, form, published, request, token
from matrix import MPMS, columns, protocols
from server import ISSUER, SECRET, free_port, wait_for

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of httpx's own imports
    import httpx

pytestmark = protocols("h2")
METADATA = f"/.well-known/oauth-protected-resource{PATH}"
HUB = f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"


@pytest.fixture(params=["alone", "beside mod_http2"])
def server(request, make_server):
    return make_server(modules=["http2"] if request.param != "alone" else [], main="MercureDurability async\n")


def url(server, path=PATH):
    return f"https://localhost:{server.port}{path}"


def bearer(server, **grants):
    return f"Authorization: Bearer {token(server, **(grants or {'publish': ['*']}))}"


# --- curl ---

def curl(server, *arguments, path=PATH, protocol="--http2"):
    """(protocol and status, body)."""
    done = subprocess.run(["curl", "-sk", protocol, "--resolve", f"localhost:{server.port}:127.0.0.1", "-w",
                           "\n%{http_version} %{http_code}", *arguments, url(server, path)], capture_output=True, timeout=30)
    assert done.returncode == 0, (done.returncode, done.stderr)
    body, _, last = done.stdout.rpartition(b"\n")
    return last.decode(), body


class CurlStream:
    def __init__(self, server, *arguments, path=f"{PATH}?match=a", protocol="--http2"):
        self.process = subprocess.Popen(["curl", "-skN", protocol, "-D", "-", "--resolve", f"localhost:{server.port}:127.0.0.1",
                                         *arguments, url(server, path)], stdout=subprocess.PIPE)
        self.head = list(iter(lambda: self.line(), ""))
        assert self.line() == ":"

    def line(self):
        return self.process.stdout.readline().decode().rstrip("\r\n")

    def event(self):
        return list(iter(lambda: self.line(), ""))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_curl_gets_pages_and_documents(server):
    assert curl(server, path="/index.html") == ("2 200", b"an ordinary page\n")
    assert curl(server, path="/nothing")[0] == "2 404"
    assert curl(server, "-r", "3-10", path="/index.html") == ("2 206", b"ordinary")
    status, body = curl(server, path=METADATA)
    assert (status, json.loads(body)["resource"]) == ("2 200", url(server))
    status, head = curl(server, "-I", path=f"{PATH}?match=a")
    assert status == "2 200" and b"content-type: text/event-stream\r\n" in head
    assert curl(server, "-X", "DELETE") == ("2 405", b"Method Not Allowed\n")


def test_curl_publishes_and_subscribes(server):
    stream = CurlStream(server)
    assert stream.head[0].split()[:2] == ["HTTP/2", "200"]
    status, id = curl(server, "-H", bearer(server), "-d", "topic=a", "--data-urlencode", "data=by curl")
    assert status == "2 200"
    assert stream.event() == [f"id: {id.decode()}", "data: by curl"]
    stream.close()


def test_curl_subscribes_with_query(server):
    stream = CurlStream(server, "-X", "QUERY", "-d", "match=b", path=f"{PATH}?match=a")
    for topic in "ab":
        sent = published(server, topic, topic)
        assert stream.event() == [f"id: {sent}", f"data: {topic}"]
    stream.close()


@pytest.mark.parametrize("length", [True, False], ids=["length", "no length"])
def test_curl_uploads_a_large_update(server, tmp_path, length):
    stream = Stream(server, "a")
    data = "".join(f"{n:07} " for n in range(120_000))
    (tmp_path / "update").write_bytes(form([("topic", "a"), ("data", data)]))
    form_type = "Content-Type: application/x-www-form-urlencoded"
    upload = ["-X", "POST", "-H", form_type, "-H", bearer(server)]
    upload += ["--data-binary", f"@{tmp_path}/update"] if length else ["-T", "-"]
    if length:
        assert curl(server, *upload)[0] == "2 200"
    else:
        with open(tmp_path / "update", "rb") as f:
            done = subprocess.run(["curl", "-sk", "--http2", "--resolve", f"localhost:{server.port}:127.0.0.1", *upload, "-o",
                                   "/dev/null", "-w", "%{http_version} %{http_code}", url(server)], stdin=f, capture_output=True,
                                  timeout=30)
        assert done.stdout == b"2 200"
    assert stream.data() == [data]


def test_curl_waits_for_100_continue(server, tmp_path):
    (tmp_path / "update").write_bytes(b"topic=a&data=".ljust(900_000, b"x"))
    began = time.monotonic()
    assert curl(server, "-H", bearer(server), "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary",
                f"@{tmp_path}/update")[0] == "2 200"
    assert time.monotonic() - began < 10


# --- HTTP/1.1 on the same virtual host ---

@columns(*[(mpm, "h2") for mpm in MPMS])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside mod_http2"])
def test_http1_clients_are_served_and_held_as_before(make_server, mpm, beside):
    if beside and mpm == "prefork":
        beside = False  # mod_http2 refuses to work there, and says so; it may be loaded all the same
        server = make_server(mpm=mpm, modules=["http2"])
    else:
        server = make_server(mpm=mpm, modules=["http2"] if beside else [])
    streams = [Stream(server, "a", sock=connect(server)) for _ in range(30)]
    assert streams[0].headers["connection"].endswith("close")
    over_h2 = Stream(server, "a")
    assert curl(server, path="/index.html", protocol="--http1.1") == ("1.1 200", b"an ordinary page\n")
    sent = published(server, "a", "to all")
    assert published(server, "a", "by HTTP/1.1", http1=True)
    for stream in [*streams, over_h2]:
        assert stream.take(2)[0] == {"id": sent, "data": "to all"}
    assert "holds a worker" not in server.log()


def test_a_client_without_alpn_speaks_http1(server):
    stream = CurlStream(server, "--no-alpn")
    assert stream.head[0].startswith("HTTP/1.1 200")
    stream.close()


# --- mod_http2 on other virtual hosts ---

def other_hosts(server, port):
    """A virtual host of another name at the same address, and one at another; both for mod_http2, if it is loaded."""
    lines = server.tls_lines.replace("MercureHTTP2 On\n", "")
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName other.example\n{lines}{HUB}</VirtualHost>\n"
                f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nServerName localhost\n{lines}{HUB}</VirtualHost>\n")


def other_protocol(name, port):
    return subprocess.run(["curl", "-sk", "--http2", "--resolve", f"{name}:{port}:127.0.0.1", "-o", "/dev/null", "-w",
                           "%{http_version} %{http_code}", f"https://{name}:{port}{METADATA}"], capture_output=True, text=True,
                          timeout=30).stdout


def test_mod_http2_keeps_the_other_virtual_hosts(make_server):
    server, port = make_server(modules=["http2"], start=False), free_port()
    other_hosts(server, port)
    server.start()
    assert Stream(server, "a").status == 200
    assert "holds a worker" not in server.log()
    assert other_protocol("localhost", server.port) == "2 200"
    for name, at in (("other.example", server.port), ("localhost", port)):
        assert other_protocol(name, at) == "2 200"
        before = server.log().count("holds a worker, because of an HTTP/2 stream of mod_http2")
        stream = subprocess.Popen(["curl", "-skN", "--http2", "--resolve", f"{name}:{at}:127.0.0.1",
                                   f"https://{name}:{at}{PATH}?match=a"], stdout=subprocess.PIPE)
        assert stream.stdout.readline() == b":\n"
        wait_for(lambda: server.log().count("because of an HTTP/2 stream of mod_http2") > before, "mod_http2 serves it")
        stream.kill()
        stream.wait()
        stream.stdout.close()
    assert other_protocol("localhost", server.port) == "2 200"


def test_without_mod_http2_the_other_virtual_hosts_speak_http1(make_server):
    server, port = make_server(start=False), free_port()
    other_hosts(server, port)
    server.start()
    assert other_protocol("localhost", server.port) == "2 200"
    assert other_protocol("other.example", server.port) == "1.1 200"
    assert other_protocol("localhost", port) == "1.1 200"


# --- nghttp2's clients ---

def test_nghttp_gets_a_page_with_many_requests_on_one_connection(server):
    with open(f"{server.htdocs}/large", "wb") as f:
        f.write(b"x" * (3 << 20))
    done = subprocess.run(["nghttp", "-nsv", "-m", "5", f"https://127.0.0.1:{server.port}/index.html",
                           f"https://127.0.0.1:{server.port}/large"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert done.stdout.count(":status: 200") == 10, done.stdout[-3000:]
    assert "RST_STREAM" not in done.stdout and "error_code=PROTOCOL_ERROR" not in done.stdout


def test_nghttp_publishes(server, tmp_path):
    stream = Stream(server, "a")
    (tmp_path / "update").write_bytes(form([("topic", "a"), ("data", "by nghttp")]))
    done = subprocess.run(["nghttp", "-v", "-d", str(tmp_path / "update"), "-H", "content-type: application/x-www-form-urlencoded",
                           "-H", bearer(server), "-H", f":authority: localhost:{server.port}",
                           f"https://127.0.0.1:{server.port}{PATH}"], capture_output=True, text=True, timeout=30)
    assert ":status: 200" in done.stdout, done.stdout
    assert stream.data() == ["by nghttp"]


def test_nghttp_is_told_that_an_update_is_too_large(server, tmp_path):
    """The answer comes in the middle of the upload. (curl 7.88 does not see it then, whoever the server is.)"""
    (tmp_path / "update").write_bytes(b"topic=a&data=".ljust(20 << 20, b"x"))
    done = subprocess.run(["nghttp", "-v", "-d", str(tmp_path / "update"), "-H", "content-type: application/x-www-form-urlencoded",
                           "-H", bearer(server), "-H", f":authority: localhost:{server.port}",
                           f"https://127.0.0.1:{server.port}{PATH}"], capture_output=True, text=True, timeout=30)
    assert ":status: 413" in done.stdout, done.stdout
    assert "Request Entity Too Large" in done.stdout and done.stdout.count("send DATA") < 300, "it was read to its end"


def h2load(server, path, *arguments):
    """Statuses 2xx, 3xx, 4xx, 5xx and the number of failed requests."""
    done = subprocess.run(["h2load", "-n", "2000", "-c", "10", "-m", "20", *arguments, f"https://127.0.0.1:{server.port}{path}"],
                          capture_output=True, text=True, timeout=60)
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done.stdout)
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    assert statuses and failed, done.stdout + done.stderr
    return [int(n) for n in statuses.groups()], sum(int(n) for n in failed.groups())


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_h2load_gets_a_page_2000_times(make_server, mpm):
    server = make_server(mpm=mpm)
    stream = Stream(server, "a")
    assert h2load(server, "/index.html") == ([2000, 0, 0, 0], 0)
    published(server, "a", "afterwards")
    assert stream.data() == ["afterwards"]
    wait_for(lambda: server.access().count('"GET /index.html HTTP/2.0"') == 2000, "every request is logged")


@columns(*[(mpm, "h2") for mpm in MPMS])
def test_h2load_publishes_2000_updates_that_arrive_once_each(make_server, tmp_path, mpm):
    server = make_server(mpm=mpm, main="MercureDurability async\nMercureMaxPending 64M\n")
    stream = Stream(server, "a")
    (tmp_path / "update").write_bytes(b"topic=a&data=x")
    assert h2load(server, PATH, "-d", str(tmp_path / "update"), "-H", "content-type: application/x-www-form-urlencoded", "-H",
                  bearer(server), "-H", f":authority: localhost:{server.port}") == ([2000, 0, 0, 0], 0)
    assert len({event["id"] for event in stream.take(2000, 30)}) == 2000
    published(server, "a", "the last")
    assert stream.data() == ["the last"]


# --- httpx ---

def test_httpx_subscribes_and_publishes_over_one_connection(server):
    async def exchange():
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(http2=True, http1=False, verify=False, limits=limits, timeout=20) as client:
            address = url(server).replace("localhost", "127.0.0.1")
            host = {"Host": f"localhost:{server.port}"}
            async with client.stream("GET", f"{address}?match=a", headers=host) as stream:
                assert (stream.status_code, stream.http_version) == (200, "HTTP/2")
                lines = stream.aiter_lines()
                assert (await anext(lines)).strip() == ":"
                for n in range(20):
                    authorization = dict([bearer(server).split(": ")])
                    answer = await client.post(address, data={"topic": "a", "data": str(n)}, headers={**host, **authorization})
                    assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
                    event = [(await anext(lines)).rstrip("\n") for _ in range(3)]
                    assert event == [f"id: {answer.text}", f"data: {n}", ""]
            page = await client.get(address.replace(PATH, "/index.html"), headers=host)
            assert page.text == "an ordinary page\n"
    asyncio.run(exchange())


def test_a_client_that_offers_only_h2_is_served(server):
    conn = connect_h2(server)
    assert bytes(conn.ask("GET", "/index.html").body) == b"an ordinary page\n"
    conn.close()


# --- what configtest says ---

def configtest(make_server, config, modules=("socache_shmcb", "ssl"), **options):
    return make_server(start=False, http2=False, modules=list(modules), config=config, **options).configtest()


def test_configtest_wants_tls(make_server):
    done = configtest(make_server, "Protocols h2 http/1.1\nMercureHTTP2 On\n")
    assert done.returncode != 0
    assert "MercureHTTP2 On wants TLS" in done.stderr and "localhost has no SSLEngine On" in done.stderr
    assert "MercureHTTP2 On wants TLS" in configtest(make_server, "Protocols h2 http/1.1\nMercureHTTP2 On\n", modules=[]).stderr


@pytest.mark.parametrize("words", ["", "Protocols http/1.1\n"])
def test_configtest_wants_h2_among_the_protocols(make_server, words):
    done = configtest(make_server, words + "MercureHTTP2 On\n", tls=True)
    assert done.returncode != 0
    assert 'MercureHTTP2 On wants h2 among the protocols of localhost: write "Protocols h2 http/1.1"' in done.stderr


def test_configtest_says_who_decides_where_virtual_hosts_share_an_address(make_server):
    server = make_server(start=False)
    assert "MercureHTTP2" not in server.configtest().stderr
    other_hosts(server, free_port())
    done = server.configtest()
    assert done.returncode == 0
    assert "MercureHTTP2 On: localhost shares its address with other.example, where it is Off" in done.stderr
    assert "(SNI) decides" in done.stderr


def test_configtest_is_content(make_server):
    done = make_server(start=False, main="MercureHTTP2Threads 8\n").configtest()
    assert done.returncode == 0 and "mercure" not in done.stderr.lower().replace("mod_mercure", ""), done.stderr


@pytest.mark.parametrize("line", ["MercureHTTP2 Maybe", "MercureHTTP2Threads 0", "MercureHTTP2Threads many",
                                  "MercureHTTP2Threads"])
def test_configtest_refuses_other_words(make_server, line):
    done = make_server(start=False, main=line + "\n").configtest()
    assert done.returncode != 0 and line.split()[0] in done.stderr, done.stderr


def test_configtest_wants_it_inside_of_the_virtual_host(make_server):
    done = make_server(tls=True, http2=False, start=False, main="MercureHTTP2 On\nProtocols h2 http/1.1\n").configtest()
    assert done.returncode != 0 and "Write it inside the <VirtualHost>" in done.stderr
