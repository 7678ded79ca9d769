"""Tokens reach no log, at any level: neither httpd's own, nor those of modules that log requests, nor brokerd's.

Out of scope: requests that are not for the hub's path (a 404 elsewhere with ?authorization= is logged as it came), and
logs whose configuration names a header of the request (LogFormat %{Cookie}i, RewriteCond %{HTTP:Authorization} at
rewrite:trace4) or copies the connection's bytes (mod_dumpio, mod_http2 at http2:trace1).
"""

import base64
import glob
import os
import subprocess
import time

import pytest

from client import PATH, Stream, claims, connect, form, publish, request, sign
from matrix import protocols
from server import ISSUER, SECRET, wait_for
from test_compatibility import OLD_SECRET, legacy

COOKIES = ["mercureAuthorization", "__Secure-mercure_access_token"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HUB = (f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"
       f"MercureCompatibility 8 targets\nMercureIssuer * both HS256 {OLD_SECRET}\n")
LOG_FORMAT = ('LogFormat "%a %h %l %u %>s %b \\"%r\\" %U %q %m %f %{Referer}i %{User-Agent}i %{REQUEST_URI}e %{QUERY_STRING}e" all\n')
MODSECURITY = "/etc/modsecurity/modsecurity.conf-recommended"


class Secrets:
    """Tokens that a test sends, good and bad ones; none of their parts may turn up."""

    def __init__(self, server):
        self.server, self.count, self.sent = server, 0, []

    def one(self, kind):
        self.count += 1
        mark = f"no-{self.count}-{os.getpid()}-{time.monotonic_ns()}"
        text = {"older": lambda: legacy(["*"], ["*", "t"], jti=mark),
                "access token": lambda: sign(claims(self.server, ["*"], ["*"], jti=mark)),
                "another's key": lambda: legacy(["*"], ["*"], secret="y" * 40, jti=mark),
                "expired": lambda: legacy(["*"], ["*"], exp=1, jti=mark),
                "no token": lambda: f"secret-word-{mark}"}[kind]()
        self.sent.append(text)
        return text

    def found(self, logs):
        """(where, which part) of every trace."""
        traces = []
        for name, text in logs.items():
            for token in self.sent:
                parts = [token] if token.count(".") != 2 else token.split(".")[1:]
                traces += [(name, line[:400]) for line in text.split("\n") for part in parts if part[-40:] in line]
        return traces


KINDS = ["older", "access token", "another's key", "expired", "no token"]


def logs_of(server):
    """Everything that was written below the server's directory and is not its configuration or state."""
    logs = {}
    for path in glob.glob(server.dir + "/**", recursive=True):
        if os.path.isfile(path) and path != server.config_file and not path.startswith(server.state + "/history"):
            with open(path, errors="replace") as f:
                logs[os.path.relpath(path, server.dir)] = f.read()
    return logs


def names(token):
    """Ways to write a query that holds this token; with 'first': it is the token that counts."""
    yield f"authorization={token}"
    yield f"match=x&authorization={token}&y=z"
    yield f"authori%7Aation={token}"
    yield f"%61%75thorization={token}"
    yield f"authorization={token}&authorization={token}&authorization="
    yield f"&&authorization={token}&"
    yield f"authorization={''.join(f'%{ord(c):02x}' for c in token[-60:])}{token}"
    yield f"authorization={token}+{token}"


def ask_in_all_ways(server, secrets):
    """Send good and bad tokens by header, cookie and query, with every method; whatever the answers are."""
    statuses = set()
    for kind in KINDS:
        for method, body in (("GET", None), ("HEAD", None), ("POST", form([("topic", "a")])), ("QUERY", b"match="),
                             ("DELETE", None), ("OPTIONS", None)):
            token = secrets.one(kind)
            # An empty matcher: a subscription is answered 400 and ends.
            sent = [("match=", {"Authorization": f"Bearer {token}"}), ("match=", {"Authorization": f"bearer  {token}"}),
                    ("match=", {"authorization": token})]
            sent += [("match=", {"Cookie": f"a=b; {name}={token}; c=d", "Origin": "http://localhost"}) for name in COOKIES]
            sent += [(f"match=&{query}", {}) for query in names(token)]
            if kind != "older" and method not in ("GET", "POST"):
                sent = sent[:6]
            for query, headers in sent:
                answer = request(server, method, f"{PATH}?{query}", {**FORM, **headers}, body)
                assert answer.body.count(token[-40:]) == 0
                statuses.add(answer.status)
    return statuses


def stream_in_all_ways(server, secrets):
    for kind in ("older", "access token"):
        for how in ("header", "cookie", "query"):
            token = secrets.one(kind)
            query = "topic=s" + (f"&authorization={token}" if how == "query" else "")
            headers = {"header": {"Authorization": f"Bearer {token}"}, "query": {},
                       "cookie": {"Cookie": f"mercureAuthorization={token}"}}[how]
            stream = Stream(server, [], query=query, headers=headers)
            assert publish(server, "s", how, bearer=secrets.one("older"), fields=[("private", "on")]).status == 200
            assert stream.data() == [how]
            stream.close()


def check(server, secrets, logged):
    """No trace of any token, although the logs did log."""
    wait_for(lambda: sum(text.count(PATH) for name, text in logs_of(server).items() if name != "error.log") >= logged,
             "the access log is written")
    server.stop()
    traces = secrets.found(logs_of(server))
    assert not traces, (len(traces), traces[:5])


LEVELS = ["trace8", "warn http:trace8", "debug core:trace8 mercure:trace8", "warn"]


@pytest.mark.parametrize("mpm,protocol,level", [(mpm, "plain", level) for mpm in ("event", "prefork") for level in LEVELS] +
                         [("event", "h2", "trace8")], indirect=["protocol"])
def test_httpds_own_logs_at_every_level(make_server, mpm, level):
    server = make_server(mpm=mpm, hub=HUB, config=f"LogLevel {level}\n",
                         main=f"LogLevel {level}\n" + LOG_FORMAT + "CustomLog main.all all\n", modules=["status"])
    secrets = Secrets(server)
    statuses = ask_in_all_ways(server, secrets)
    assert {200, 204, 400, 401, 405} <= statuses, statuses
    if mpm == "event":
        stream_in_all_ways(server, secrets)
    if level in ("trace8", "warn http:trace8"):
        assert "Headers received from client" in server.log()
        assert "(hidden)" in server.log()
    if "core:trace8" in level or level == "trace8":
        version = "2.0" if server.http2 else "1.1"
        assert f"Request received from client: GET {PATH}?match=&authorization=(hidden) HTTP/{version}" in server.log()
    assert "authorization=(hidden)" in logs_of(server)["main.all"]
    assert secrets.found({"nothing": secrets.sent[0]}), "the check itself finds a token"
    check(server, secrets, 100)


def test_a_blocking_stream_over_http2(make_server):
    server = make_server(tls=True, modules=["http2"], hub=HUB, main="LogLevel trace8 http2:debug",
                         config="Protocols h2 http/1.1\nLogLevel trace8 http2:debug")
    secrets = Secrets(server)
    for how in ("header", "cookie", "query"):
        token = secrets.one("older")
        options = {"header": ["-H", f"Authorization: Bearer {token}"], "cookie": ["-H", f"Cookie: {COOKIES[0]}={token}"],
                   "query": []}[how]
        query = f"topic=a&authorization={token}" if how == "query" else "topic=a"
        stream = subprocess.Popen(["curl", "-skN", "--http2", *options, f"https://localhost:{server.port}{PATH}?{query}",
                                   "--resolve", f"localhost:{server.port}:127.0.0.1"], stdout=subprocess.PIPE)
        assert stream.stdout.readline() == b":\n"
        assert publish(server, "a", how, bearer=secrets.one("older"), fields=[("private", "on")]).status == 200
        assert stream.stdout.readline().startswith(b"id: ")
        stream.kill()
        stream.wait()
    server.wait_log("holds a worker")
    check(server, secrets, 3)


@protocols("plain", "h2")
def test_refusals_by_require_and_error_documents(make_server):
    """Also the environment of an error page, the redirect's variables, holds no token of the query."""
    server = make_server(hub=HUB + "ErrorDocument 403 /index.html\nErrorDocument 401 /index.html\n", modules=["auth_basic", "authz_user"],
                         config=f"LogLevel trace8\n{LOG_FORMAT}CustomLog all.log all\n"
                                f"<Location {PATH}>\nRequire expr \"-z req('X-Refuse')\"\n</Location>", main="LogLevel trace8")
    secrets = Secrets(server)
    for kind in KINDS:
        for query, headers in (("", {"Authorization": f"Bearer {secrets.one(kind)}"}),
                               ("", {"Cookie": f"{COOKIES[0]}={secrets.one(kind)}"}),
                               (f"&authorization={secrets.one(kind)}", {})):
            answer = request(server, "GET", f"{PATH}?match={query}", {"X-Refuse": "1", **headers})
            assert (answer.status, answer.body) == (403, "an ordinary page\n")
    check(server, secrets, 15)


def raw(server, data):
    with connect(server) as s:
        s.sendall(data)
        answer = b""
        while more := s.recv(65536):
            answer += more
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


@pytest.mark.parametrize("spelling", ["/.well-known/merc%75re", "//.well-known//mercure", "/.well-known/./mercure",
                                      "/x/../.well-known/mercure", "/%2ewell-known/mercure", PATH + "/",
                                      PATH + "/subscriptions", "/../.well-known/mercure", PATH + "/../../..", PATH + "/%zz", "http://localhost" + PATH])
def test_other_spellings_of_the_path(make_server, spelling):
    server = make_server(hub=HUB, config="LogLevel trace8", main="LogLevel trace8")
    secrets = Secrets(server)
    for query, headers in ((f"&authorization={secrets.one('older')}", ""),
                           ("", f"Authorization: Bearer {secrets.one('older')}\r\n")):
        raw(server, f"GET {spelling}?match={query} HTTP/1.1\r\nHost: localhost:{server.port}\r\n{headers}Connection: close\r\n\r\n".encode())
    check(server, secrets, 0)


@pytest.mark.parametrize("rest,status", [
    ("X: " + "x" * 9000, 400), ("no colon", 400), (" folded", 400), ("Host: again", 400), ("X: \x01", 400),
    ("\r\n".join(f"X-{i}: y" for i in range(101)), 400), ("Transfer-Encoding: odd", 400), ("Expect: odd", 417)],
    ids=lambda value: str(value)[:12])
def test_requests_that_httpd_cannot_read(make_server, rest, status):
    server = make_server(hub=HUB, config="LogLevel trace8", main="LogLevel trace8")
    secrets = Secrets(server)
    token = secrets.one("older")
    for target in (f"{PATH}?match=a&authorization={token}", f"{PATH}?authorization={token}&match=a"):
        assert raw(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{rest}\r\n\r\n"
                           .encode()) == status
    wait_for(lambda: server.access().count(f" {status} ") == 2, "the access log")
    check(server, secrets, 0)


@pytest.mark.parametrize("line", ["GET {} HTTP/9.9", "G@T {} HTTP/1.1", "GET {} NONSENSE", "GET {}", "GET  {}  HTTP/1.1",
                                  "GET {}%zz HTTP/1.1", "GET {}" + "x" * 9000 + " HTTP/1.1"], ids=lambda value: value[:20])
def test_request_lines_that_httpd_cannot_read(make_server, line):
    server = make_server(hub=HUB, config="LogLevel trace8", main="LogLevel trace8")
    secrets = Secrets(server)
    target = f"{PATH}?match=&authorization={secrets.one('older')}&x="
    try:
        raw(server, (line.format(target) + "\r\nHost: localhost\r\nConnection: close\r\n\r\n").encode())
    except ConnectionResetError:
        pass
    check(server, secrets, 0)


@protocols("plain", "h2")
def test_the_forensic_log(make_server):
    server = make_server(hub=HUB, modules=["log_forensic", "unique_id"], config="ForensicLog forensic.log")
    secrets = Secrets(server)
    ask_in_all_ways(server, secrets)
    assert "authorization=(hidden)" in logs_of(server)["forensic.log"]
    assert "authorization:(hidden)" in logs_of(server)["forensic.log"].lower()
    check(server, secrets, 100)


@protocols("plain", "h2")
def test_mod_rewrites_trace(make_server):
    server = make_server(hub=HUB, config="LogLevel rewrite:trace8\nRewriteEngine On\nRewriteCond %{QUERY_STRING} (.*)\n"
                         "RewriteCond %{THE_REQUEST} (.*)\nRewriteCond %{REQUEST_URI} (.*)\nRewriteRule ^(.*)$ - [E=seen:%1]\n")
    secrets = Secrets(server)
    ask_in_all_ways(server, secrets)
    assert "RewriteCond: input='match=&authorization=(hidden)'" in server.log()
    check(server, secrets, 100)


@protocols("plain", "h2")
@pytest.mark.skipif(not os.path.exists(MODSECURITY), reason="libapache2-mod-security2 is not installed")
@pytest.mark.parametrize("type_", ["Serial", "Concurrent"])
def test_mod_securitys_audit_and_debug_logs(make_server, type_):
    server = make_server(hub=HUB, modules=["unique_id", "security2"], start=False)
    os.mkdir(f"{server.dir}/audit")
    os.chmod(f"{server.dir}/audit", 0o777)
    text = open(server.config_file).read()
    with open(server.config_file, "w") as f:
        f.write(text.replace("</VirtualHost>", f"""SecRuleEngine On
SecRequestBodyAccess On
SecAuditEngine On
SecAuditLogType {type_}
SecAuditLogParts ABCDEFGHIJKZ
SecAuditLogStorageDir {server.dir}/audit
SecAuditLog {server.dir}/audit.log
SecDebugLog {server.dir}/debug.log
SecDebugLogLevel 9
SecRule REQUEST_HEADERS|ARGS|REQUEST_LINE "@rx nothing-of-the-kind" "id:1,phase:2,deny"
SecRule REQUEST_HEADERS:X-Refuse "@rx ." "id:2,phase:1,deny,status:403"
</VirtualHost>""", 1))
    server.start()
    secrets = Secrets(server)
    ask_in_all_ways(server, secrets)
    for headers in ({"Authorization": f"Bearer {secrets.one('older')}"}, {"Cookie": f"{COOKIES[0]}={secrets.one('older')}"}):
        assert request(server, "GET", f"{PATH}?match=a", {"X-Refuse": "1", **headers}).status == 403
    stream_in_all_ways(server, secrets)
    assert any(PATH in text for name, text in logs_of(server).items() if name.startswith("audit"))
    assert PATH in logs_of(server)["debug.log"]
    check(server, secrets, 100)


@protocols("plain", "h2")
def test_server_status_shows_no_token(make_server):
    server = make_server(hub=HUB, modules=["status"], main="ExtendedStatus On\n<Location /status>\nSetHandler server-status\n</Location>")
    secrets = Secrets(server)
    ask_in_all_ways(server, secrets)
    page = request(server, "GET", "/status").body
    assert server.http2 or "authorization=(hidden)" in page  # a request over HTTP/2 has no line there
    assert not secrets.found({"status": page})


# --- and yet everybody who needs a header has it ---

@protocols("plain", "h2")
def test_require_and_setenvif_see_the_headers(make_server):
    server = make_server(hub=HUB, config=f"""
SetEnvIf Cookie "pass=ok" seen_here
<Location {PATH}>
<RequireAny>
Require expr "%{{HTTP:Authorization}} =~ /^Bearer ey/"
Require expr "%{{HTTP:Cookie}} =~ /sesame/"
Require env seen_here
</RequireAny>
</Location>""")
    for headers, status in (({}, 403), ({"Cookie": "sesame=1"}, 400), ({"Cookie": "pass=ok"}, 400), ({"Cookie": "pass=no"}, 403),
                            ({"Authorization": f"Bearer {legacy(['*'])}"}, 400), ({"Authorization": "Bearer x"}, 403)):
        assert request(server, "GET", f"{PATH}?match=", headers).status == status, headers


@protocols("plain", "h2")
def test_basic_auth_on_the_hubs_path(make_server):
    server = make_server(modules=["auth_basic", "authn_core", "authn_file", "authz_user"], start=False, hub=HUB + f"""
<Location {PATH}>
AuthType Basic
AuthName hub
AuthBasicProvider file
AuthUserFile users
Require valid-user
</Location>""", config="LogLevel trace8", main="LogLevel trace8")
    with open(f"{server.dir}/users", "w") as f:
        f.write(subprocess.run(["htpasswd", "-nbB", "anna", "a-password-of-anna"], capture_output=True, text=True).stdout.strip() + "\n")
    os.chmod(f"{server.dir}/users", 0o644)
    server.start()
    secrets = Secrets(server)
    secrets.sent.append(base64.b64encode(b"anna:a-password-of-anna").decode())
    good = {"Authorization": "Basic " + secrets.sent[0]}
    assert request(server, "GET", f"{PATH}?match=").status == 401
    assert request(server, "GET", f"{PATH}?match=", {"Authorization": "Basic eDp5"}).status == 401
    Stream(server, "a", headers=good).close()
    check(server, secrets, 3)


def test_a_page_or_proxy_at_the_hubs_path_gets_its_query(make_server):
    """Without a hub there, the path is nobody's, and ?authorization= means what the site says."""
    hub = make_server(hub=HUB)
    server = make_server(hub="", modules=["proxy", "proxy_http"], config=f"""
Header always set X-Query "expr=%{{QUERY_STRING}}"
Header always set X-Cookie "expr=%{{HTTP:Cookie}}"
<Location {PATH}/proxied>
ProxyPass http://127.0.0.1:{hub.port}{PATH}
</Location>""")
    secrets = Secrets(server)
    token = secrets.one("older")
    answer = request(server, "GET", f"{PATH}?a=b&authorization={token}", {"Cookie": "c=d"})
    assert answer.status == 404
    assert answer.headers["X-Query"] == f"a=b&authorization={token}" and answer.headers["X-Cookie"] == "c=d"
    assert request(server, "POST", f"{PATH}/proxied?authorization={token}", FORM, form([("topic", "a")])).status == 200
    check(server, secrets, 2)


def test_a_query_below_the_hubs_path_stays_hidden(make_server):
    """404, as long as nothing is there: what a client of protocol 0.x asks for its subscriptions."""
    server = make_server(hub="MercureHub On\nMercureAnonymous On\nMercureCompatibility 8\n" +
                         f"MercureIssuer * both HS256 {SECRET}\n", main='LogFormat "%r %U%q" short\n', start=False)
    with open(server.config_file, "a") as f:
        f.write(f"CustomLog {server.dir}/short.log short\n")
    server.start()
    for path in ("/subscriptions", "/subscriptions/a/b", "/x"):
        assert request(server, "GET", f"{PATH}{path}?authorization=the.secret.token&a=b").status == 404
    wait_for(lambda: open(f"{server.dir}/short.log").read().count("a=b") >= 6, "the requests are logged")
    assert "the.secret.token" not in open(f"{server.dir}/short.log").read() + server.log()


def test_an_unreadable_request_for_another_hosts_hub_stays_hidden(make_server):
    """httpd refuses it before it knows the virtual host, whose hub has a path of its own."""
    server = make_server(hub="", start=False)
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName first.example\n</VirtualHost>\n"
                f"<VirtualHost 127.0.0.1:{server.port}>\nServerName second.example\nMercurePath /live\nMercureHub On\n"
                f"MercureIssuer * both HS256 {SECRET}\nMercureCompatibility 8\n</VirtualHost>\n")
    server.start()
    answer = request(server, "GET", "/live?authorization=the.secret.token&a=b", {"Cookie": "x=" + "y" * 9000},
                     host="second.example")
    assert answer.status == 400
    wait_for(lambda: "/live?" in server.access(), "the request is logged")
    assert "the.secret.token" not in server.access() + server.log()
