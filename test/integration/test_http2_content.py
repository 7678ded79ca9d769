"""Ordinary content over our HTTP/2: files, PHP, limits, access control and logs, as httpd has them over HTTP/1.1.

One server for each threaded MPM serves all cases. Under prefork there is only the hub.
"""

import glob
import hashlib
import json
import os
import re
import subprocess
import threading
import time
import zlib

import pytest

from client import PATH, Stream, connect_h2, published, request
from matrix import protocols
from server import Server, wait_for
from test_secrecy import HUB as SECRET_HUB
from test_secrecy import Secrets, ask_in_all_ways, logs_of, stream_in_all_ways

BIG = 50 << 20
BOUND = 8 << 20  # bytes by which a child may grow, whatever it sends or receives
HTTP_1_1_REQUIRED = 0xd
WORDS = b"".join(b"line %d of a text\n" % i for i in range(4000))
PHP = sorted(glob.glob("/usr/sbin/php-fpm8.*"))
with_php = pytest.mark.skipif(not PHP, reason="php-fpm is not installed")

SCRIPTS = {
    "echo.php": """<?php
$hash = hash_init('sha256'); $length = 0;
for ($in = fopen('php://input', 'rb'); !feof($in);) { $piece = fread($in, 65536); hash_update($hash, $piece); $length += strlen($piece); }
header('Content-Type: application/json');
echo json_encode(['length' => $length, 'sha256' => hash_final($hash), 'announced' => $_SERVER['CONTENT_LENGTH'] ?? null,
                  'server' => $_SERVER]);
""",
    "endless.php": """<?php
for (;;) { echo str_repeat('x', 10000); flush(); usleep(1000); }
""",
    "read.cgi": """#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "$CONTENT_LENGTH $(head -c "${CONTENT_LENGTH:-0}" | wc -c) $HTTPS $SSL_PROTOCOL $SERVER_PROTOCOL"
""",
    "status.php": """<?php
http_response_code(418); header('Set-Cookie: a=1'); header('Set-Cookie: b=2', false); header('Connection: close'); echo 'tea';
""",
}

CONFIG = """
SetOutputFilter DEFLATE
SetEnvIf Request_URI !^/words\\.txt$ no-gzip
SSLOptions +StdEnvVars
ErrorDocument 404 /missing.html
ErrorDocument 403 "not for you"
Redirect 301 /old /index.html
Header set X-Site yes
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.0.1
<FilesMatch "\\.php$">
SetHandler "proxy:unix:{dir}/php.sock|fcgi://localhost"
</FilesMatch>
<Location /spooled>
SetEnv proxy-sendcl 1
</Location>
AddHandler cgi-script .cgi
<Directory {dir}/htdocs>
Options +ExecCGI
</Directory>
Alias /spooled {dir}/htdocs
Alias /limited {dir}/htdocs
<Location /limited>
SetEnv proxy-sendcl 1
LimitRequestBody 20000
</Location>
<Location /status>
SetHandler server-status
</Location>
Alias /nobody {dir}/htdocs
<Location /nobody>
Require ip 192.0.2.0/24
</Location>
Alias /everybody {dir}/htdocs
<Location /everybody>
Require ip 127.0.0.0/8
</Location>
Alias /require-ssl {dir}/htdocs
<Location /require-ssl>
Require ssl
</Location>
Alias /ssl-require {dir}/htdocs
<Location /ssl-require>
SSLRequireSSL
SSLRequire %{{SSL_PROTOCOL}} eq "TLSv1.3"
</Location>
Alias /certificate {dir}/htdocs
<Location /certificate>
SSLVerifyClient require
</Location>
LogFormat "%a %>s %b %X %H %O |%r" own
CustomLog {dir}/own.log own
"""
MAIN = "ScriptSock cgid.sock\nExtendedStatus On\nLimitRequestFields 30\nLimitRequestFieldSize 1000\nLimitRequestLine 500\n"


class Site:
    def __init__(self, mpm):
        self.server = s = Server(mpm=mpm, http2=True, main=MAIN,
                                 modules=["deflate", "filter", "proxy", "proxy_fcgi", "remoteip", "status", "cgid"])
        self.php = None
        s.rewrite("</VirtualHost>", CONFIG.format(dir=s.dir) + "</VirtualHost>")
        with open(s.config_file, "a") as f:
            f.write(f"<VirtualHost 127.0.0.1:{s.port}>\nServerName other.example\nDocumentRoot {s.htdocs}\n{s.tls_lines}</VirtualHost>\n")
        self.write("words.txt", WORDS)
        self.write("missing.html", b"nothing here\n")
        self.big = hashlib.sha256()
        with open(f"{s.htdocs}/big.bin", "wb") as f:
            for i in range(BIG >> 20):
                piece = hashlib.sha256(b"%d" % i).digest() * (1 << 15)
                self.big.update(piece)
                f.write(piece)
        for name, text in SCRIPTS.items():
            self.write(name, text.encode())
        os.chmod(f"{s.htdocs}/read.cgi", 0o755)
        if PHP:
            self.start_php()

    def write(self, name, content):
        with open(f"{self.server.htdocs}/{name}", "wb") as f:
            f.write(content)

    def start_php(self):
        s = self.server
        user = "user = www-data\ngroup = www-data\nlisten.owner = www-data\nlisten.group = www-data" if s.root else ""
        with open(f"{s.dir}/php-fpm.conf", "w") as f:
            f.write(f"[global]\nerror_log = {s.dir}/php-fpm.log\ndaemonize = no\n[site]\nlisten = {s.dir}/php.sock\n{user}\n"
                    "pm = static\npm.max_children = 3\nphp_admin_value[post_max_size] = 100M\n"
                    "php_admin_flag[enable_post_data_reading] = off\n")
        self.php = subprocess.Popen([PHP[-1], "-F", "-y", f"{s.dir}/php-fpm.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(f"{s.dir}/php.sock") or self.php.poll() is not None, "PHP-FPM listens")

    def close(self):
        if self.php is not None:
            self.php.terminate()
            self.php.wait(20)
        self.server.close()

    def ask(self, method, path, headers=(), body=None, **more):
        """Over a connection of its own; `text`: the body, `fields`: the headers."""
        conn = connect_h2(self.server)
        try:
            exchange = conn.open(method, path, headers, body, **more)
            exchange.text = exchange.whole()
            exchange.fields = exchange.message()
            return exchange
        finally:
            conn.close()

    def status_of_body(self, path, size, announced):
        """The status of a POST whose body may be refused before it was sent."""
        conn = connect_h2(self.server)
        exchange = conn.open("POST", path, {"Content-Length": str(size)} if announced else {}, end=False)
        exchange.send(body_of(size), end=True)
        status = exchange.begun().status
        conn.close()
        return status

    def log_line(self, mark):
        """The line in the access log of the request whose target has this mark: (%a, %>s, %b, %X, %H, %O)."""
        def line():
            with open(f"{self.server.dir}/own.log") as f:
                return [text for text in f if mark in text]
        return wait_for(line, f"a line of the access log with {mark}")[0].split(" ")[:6]

    def memory(self):
        """Of the children, in bytes: what is neither file nor shared."""
        total = 0
        for pid in self.server.child_pids():
            with open(f"/proc/{pid}/status") as f:
                total += int(re.search(r"RssAnon:\s+(\d+)", f.read())[1]) << 10
        return total


class Watch:
    """The most memory that the children had meanwhile, above what they had before."""

    def __init__(self, site):
        self.site, self.before, self.most, self.over = site, site.memory(), 0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, self.site.memory() - self.before)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()
        self.most = max(self.most, self.site.memory() - self.before)


@pytest.fixture(scope="module", params=["event", "worker"])
def site(request):
    site = Site(request.param)
    try:
        site.server.start()
        children = site.server.child_pids()
        yield site
        assert set(children) <= set(site.server.child_pids()), "a child has ended"
    finally:
        site.close()


# --- files ---

def test_a_small_file(site):
    answer = site.ask("GET", "/")
    assert (answer.status, answer.text) == (200, b"an ordinary page\n")
    assert answer.fields["content-length"] == "17" and answer.fields["x-site"] == "yes"
    assert {"etag", "last-modified", "date", "server", "accept-ranges"} <= {n.lower() for n in answer.fields}


def test_a_large_file_is_whole_and_passes_in_bounded_memory(site):
    conn = connect_h2(site.server)
    digest, length = hashlib.sha256(), 0
    with Watch(site) as watch:
        exchange = conn.open("GET", "/big.bin").begun()
        while piece := exchange.read(10):
            digest.update(piece)
            length += len(piece)
    assert exchange.end == "end" and length == BIG
    assert digest.digest() == site.big.digest()
    assert exchange.message()["content-length"] == str(BIG)
    assert watch.most < BOUND, watch.most
    conn.close()


@pytest.mark.parametrize("path,length", [("/", "17"), ("/big.bin", str(BIG))])
def test_head(site, path, length):
    answer = site.ask("HEAD", path)
    assert (answer.status, answer.text, answer.fields["content-length"]) == (200, b"", length)


def test_ranges(site):
    answer = site.ask("GET", "/words.txt", {"Range": "bytes=10-19"})
    assert (answer.status, answer.text) == (206, WORDS[10:20])
    assert answer.fields["content-range"] == f"bytes 10-19/{len(WORDS)}"
    answer = site.ask("GET", "/words.txt", {"Range": "bytes=0-0,-5"})
    assert answer.status == 206 and answer.fields.get_content_type() == "multipart/byteranges"
    assert WORDS[-5:] in answer.text and len(answer.text) == int(answer.fields["content-length"])
    assert site.ask("GET", "/words.txt", {"Range": f"bytes={BIG}-"}).status == 416


def test_not_modified(site):
    first = site.ask("GET", "/")
    for headers in ({"If-None-Match": first.fields["etag"]}, {"If-Modified-Since": first.fields["last-modified"]}):
        answer = site.ask("GET", "/", headers)
        assert (answer.status, answer.text) == (304, b"")
        assert "content-length" not in answer.fields and answer.fields["etag"] == first.fields["etag"]


def test_deflate(site):
    answer = site.ask("GET", "/words.txt", {"Accept-Encoding": "gzip"})
    assert answer.fields["content-encoding"] == "gzip" and "Accept-Encoding" in answer.fields["vary"]
    assert zlib.decompress(answer.text, 31) == WORDS and len(answer.text) < len(WORDS) // 2
    assert site.ask("GET", "/words.txt").text == WORDS


def test_error_documents_and_redirects(site):
    answer = site.ask("GET", "/nothing")
    assert (answer.status, answer.text) == (404, b"nothing here\n")
    answer = site.ask("POST", "/nothing", body=b"x" * 100)
    assert answer.status == 404
    answer = site.ask("GET", "/old")
    assert (answer.status, answer.fields["location"]) == (301, f"{site.server.origin}/index.html")
    assert b"Moved Permanently" in answer.text
    assert site.ask("DELETE", "/").status == 405


# --- PHP ---

def body_of(size):
    return hashlib.sha256(b"body").digest() * (size // 32) + b"-" * (size % 32)


def told(answer, body):
    """What echo.php says, which must be that it read the whole body."""
    said = json.loads(answer.text)
    assert (said["length"], said["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    return said


@with_php
@pytest.mark.parametrize("size", [0, 1, 5000, 100_000])
def test_a_body_reaches_php(site, size):
    body = body_of(size)
    said = told(site.ask("POST", "/echo.php", {"Content-Length": str(size)}, body), body)
    assert int(said["announced"]) == size


@with_php
@pytest.mark.parametrize("size", [0, 1, 5000, 16_000])
def test_a_body_without_content_length_that_is_complete_reaches_php(site, size):
    body = body_of(size)
    assert int(told(site.ask("POST", "/echo.php", body=body), body)["announced"]) == size


@with_php
def test_a_large_body_without_content_length_reaches_php_with_proxy_sendcl(site):
    """PHP-FPM reads nothing of what has no length; that variable of mod_proxy's makes it know one."""
    body = body_of(300_000)
    assert int(told(site.ask("POST", "/spooled/echo.php", body=body), body)["announced"]) == len(body)


@with_php
def test_a_large_body_is_streamed_in_bounded_memory(site):
    piece, count = body_of(1 << 20), 30
    digest = hashlib.sha256()
    conn = connect_h2(site.server)
    with Watch(site) as watch:
        exchange = conn.open("POST", "/echo.php", {"Content-Length": str(count << 20)}, end=False)
        for i in range(count):
            exchange.send(piece, end=i == count - 1)
            digest.update(piece)
        said = json.loads(exchange.whole())
    assert (said["length"], said["sha256"]) == (count << 20, digest.hexdigest())
    assert watch.most < BOUND, watch.most
    conn.close()


@with_php
def test_what_php_sees_of_the_request(site):
    answer = site.ask("GET", "/echo.php?a=b", [("Cookie", "a=1; b=2"), ("X-Own", "own"), ("X-Forwarded-For", "192.0.2.7")])
    seen = json.loads(answer.text)["server"]
    assert seen["HTTPS"] == "on" and seen["SSL_PROTOCOL"] == "TLSv1.3" and seen["SSL_CIPHER"]
    assert seen["SERVER_PROTOCOL"] == "HTTP/2.0" and seen["REQUEST_SCHEME"] == "https"
    assert seen["REMOTE_ADDR"] == "192.0.2.7"
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == ("localhost", str(site.server.port))
    assert (seen["REQUEST_METHOD"], seen["REQUEST_URI"], seen["QUERY_STRING"]) == ("GET", "/echo.php?a=b", "a=b")
    assert (seen["HTTP_COOKIE"], seen["HTTP_X_OWN"]) == ("a=1; b=2", "own")
    assert seen["HTTP_HOST"] == f"localhost:{site.server.port}"
    assert json.loads(answer.text)["announced"] is None


@with_php
def test_status_and_headers_of_php(site):
    answer = site.ask("GET", "/status.php")
    assert (answer.status, answer.text) == (418, b"tea")
    assert answer.fields.get_all("set-cookie") == ["a=1", "b=2"] and "connection" not in answer.fields


@pytest.mark.parametrize("size", [0, 5000, 16_000])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_reaches_a_cgi_script(site, size, announced):
    answer = site.ask("POST", "/read.cgi", {"Content-Length": str(size)} if announced else {}, body_of(size))
    assert answer.text.decode().split() == [str(size), str(size), "on", "TLSv1.3", "HTTP/2.0"]


# --- limits ---

@with_php
def test_limit_request_body(site):
    body = body_of(20_000)
    told(site.ask("POST", "/limited/echo.php", {"Content-Length": "20000"}, body), body)
    for size in (20_001, 300_000):
        assert site.status_of_body("/limited/echo.php", size, announced=True) == 413
        assert site.status_of_body("/limited/echo.php", size, announced=False) == 413


@pytest.mark.parametrize("status,path,headers", [
    (200, "/", [(f"x-{i}", "y") for i in range(20)]),
    (431, "/", [(f"x-{i}", "y") for i in range(40)]),
    (200, "/", [("x-a", "y" * 900)]),
    (431, "/", [("x-a", "y" * 1100)]),
    (431, "/", [("x-a", "y" * 600), ("x-a", "y" * 600)]),
    (200, "/?" + "y" * 400, []),
    (414, "/?" + "y" * 600, [])], ids=lambda value: str(value)[:12])
def test_limits_of_the_head(site, status, path, headers):
    assert site.ask("GET", path, headers).status == status
    assert site.ask("GET", "/").status == 200


# --- clients that leave, or do not read ---

@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("path", ["/big.bin", pytest.param("/endless.php", marks=with_php)])
def test_a_client_that_goes_away_ends_its_request(site, path, how):
    mark = f"gone{time.monotonic_ns()}"
    conn = connect_h2(site.server)
    exchange = conn.open("GET", f"{path}?{mark}").begun()
    assert exchange.read(10)
    getattr(exchange if how == "reset" else conn, how)()
    _, status, _, aborted, _, size = site.log_line(mark)
    assert (status, aborted) == ("200", "X") and int(size) < BIG // 2
    if how == "reset":
        assert conn.ask("GET", "/").status == 200
        conn.close()


def test_a_client_that_does_not_read_is_waited_for_in_bounded_memory(site):
    with Watch(site) as watch:
        conns = [connect_h2(site.server) for _ in range(2)]
        exchanges = [conn.open("GET", "/big.bin") for conn in conns]
        for _ in range(10):
            assert site.ask("GET", "/words.txt").text == WORDS
    assert watch.most < BOUND, watch.most
    for conn, exchange in zip(conns, exchanges):
        assert exchange.begun().status == 200
        conn.close()


def test_a_stream_that_is_not_read_leaves_the_others_of_its_connection(site):
    conn = connect_h2(site.server)
    slow = conn.open("GET", "/big.bin")
    slow.reads = False
    slow.begun()
    for _ in range(5):
        assert conn.open("GET", "/words.txt").whole() == WORDS
    assert slow.end is None and 0 < len(slow.body) <= 65535
    slow.reset()
    conn.close()


# --- who may come ---

@pytest.mark.parametrize("path,status", [("/everybody/", 200), ("/nobody/", 403), ("/require-ssl/", 200), ("/ssl-require/", 200)])
def test_require(site, path, status):
    answer = site.ask("GET", path)
    assert answer.status == status
    assert answer.text == (b"an ordinary page\n" if status == 200 else b"not for you")


def test_the_address_that_a_proxy_tells_counts(site):
    assert site.ask("GET", "/nobody/", {"X-Forwarded-For": "192.0.2.9"}).status == 200
    assert site.ask("GET", "/everybody/", {"X-Forwarded-For": "192.0.2.9"}).status == 403


def test_a_page_for_certificates_only_wants_http1(site):
    conn = connect_h2(site.server)
    exchange = conn.open("GET", "/certificate/")
    conn.wait(lambda: exchange.end, 10)
    assert (exchange.status, exchange.end, exchange.reset_code) == (None, "reset", HTTP_1_1_REQUIRED)
    assert conn.ask("GET", "/").status == 200
    conn.close()


def test_another_virtual_hosts_name_is_misdirected(site):
    conn = connect_h2(site.server)
    assert conn.ask("GET", "/", authority=f"other.example:{site.server.port}").status == 421
    assert conn.ask("GET", "/", authority="nobody.example").status == 200  # as ever, the address's first
    conn.close()
    conn = connect_h2(site.server, host=f"other.example:{site.server.port}")
    assert conn.ask("GET", "/").status == 200
    assert conn.ask("GET", "/", authority=f"localhost:{site.server.port}").status == 421
    conn.close()


# --- what the server says of itself ---

@pytest.mark.parametrize("method,path,status,size", [
    ("GET", "/", "200", "17"), ("HEAD", "/", "200", "-"), ("GET", "/old", "301", None), ("GET", "/nothing", "404", "13"),
    ("GET", "/nobody/", "403", "11"), ("GET", "/words.txt", "200", str(len(WORDS))), ("GET", "/big.bin", "200", str(BIG))])
def test_access_log(site, method, path, status, size):
    mark = f"log{time.monotonic_ns()}"
    assert str(site.ask(method, f"{path}?{mark}", {"X-Forwarded-For": "192.0.2.8" if path == "/" else "127.0.0.1"}).status) == status
    line = site.log_line(mark)
    assert line[0] == ("192.0.2.8" if path == "/" else "127.0.0.1")
    assert line[1] == status and line[2] == (size or line[2]) and line[4] == "HTTP/2.0"
    with open(f"{site.server.dir}/own.log") as f:
        assert f"|{method} {path}?{mark} HTTP/2.0\n" in f.read()


def test_mod_status(site):
    """Requests of ours are no workers': they are in nobody's line, and none is busy for them."""
    conn = connect_h2(site.server)
    slow = conn.open("GET", "/big.bin").begun()
    page = site.ask("GET", "/status").text.decode()
    assert "Apache Server Status for localhost" in page and page.rstrip().endswith("</html>")
    assert "big.bin" not in page
    short = dict(line.split(": ", 1) for line in site.ask("GET", "/status?auto").text.decode().splitlines() if ": " in line)
    assert int(short["BusyWorkers"]) <= 1, short
    assert int(short["IdleWorkers"]) >= 24, short
    assert set(short["Scoreboard"]) <= set("_.W"), short["Scoreboard"]
    slow.reset()
    conn.close()


@protocols("h2")
@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_modsecurity_evasive_and_the_forensic_log_beside(make_server, mpm):
    server = make_server(mpm=mpm, modules=["unique_id", "security2", "evasive20", "log_forensic"], config="""
DOSPageCount 1000
DOSSiteCount 5000
ForensicLog forensic.log
SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS "@rx attack" "id:1,phase:2,deny,status:403"
SecRule REQUEST_PROTOCOL "!@streq HTTP/2.0" "id:2,phase:1,deny,status:500"
""")
    conn = connect_h2(server)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(20):
        exchange = conn.open("GET", "/")
        assert exchange.whole() == b"an ordinary page\n"
    assert conn.ask("GET", "/?a=attack").status == 403
    assert conn.ask("POST", "/", {**form, "Content-Length": "8"}, b"a=attack").status == 403
    assert conn.ask("POST", "/", form, b"a=attack").status == 403
    stream = Stream(server, "a", connection=conn)
    published(server, "a", "x")
    assert stream.data() == ["x"]
    conn.close()

    def complete():
        """Every request's end is there, beside its beginning."""
        with open(f"{server.dir}/forensic.log") as f:
            lines = f.read().splitlines()
        begun = {line[1:].split("|")[0] for line in lines if line.startswith("+")}
        return len(begun) >= 24 and begun == {line[1:] for line in lines if line.startswith("-")}
    wait_for(complete, "the forensic log is complete")


@protocols("h2")
def test_under_prefork_there_is_only_the_hub(make_server):
    server = make_server(mpm="prefork")
    conn = connect_h2(server)
    for path in ("/", "/index.html", PATH + "/x", "/server-status", "/../x"):
        assert conn.ask("GET", path).status in (404, 400), path
    stream = Stream(server, "a", connection=conn)
    published(server, "a", "x")
    assert stream.data() == ["x"]
    assert conn.ask("HEAD", "/").status == 404
    assert server.log().count("only the hub is served") == 1
    assert request(server, "GET", "/", http1=True).body == "an ordinary page\n"
    conn.close()


@protocols("h2")
@pytest.mark.parametrize("level", ["core:trace5 http:trace4", "trace8"])
def test_no_token_reaches_a_log(make_server, level):
    config = f"LogLevel {level}\n"
    server = make_server(hub=SECRET_HUB, config=config, main=config)
    secrets = Secrets(server)
    assert {200, 204, 400, 401, 405} <= ask_in_all_ways(server, secrets)
    stream_in_all_ways(server, secrets)
    wait_for(lambda: server.access().count(PATH) >= 100, "the access log is written")
    assert "HTTP/2.0" in server.access() and "authorization=(hidden)" in server.access()
    server.stop()
    traces = secrets.found(logs_of(server))
    assert not traces, (len(traces), traces[:5])
