"""MercureCORSOrigins: what pages of other origins may do, on every kind of answer. test/browser asks a real browser."""

import http.client
import itertools
import os
import re
import subprocess

import pytest

from client import PATH, Stream, audience, connect, connect_h2, form, published, token
from matrix import http1_only, protocols
from server import ISSUER, SECRET, Server, free_port

METADATA = f"/.well-known/oauth-protected-resource{PATH}"
pytestmark = protocols("plain", "h2")
APP, OTHER, STRANGER = "https://app.example", "http://other.example:8080", "https://stranger.example"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

# What each virtual host says.
SITES = {
    "none.example": None,
    "listed.example": f"MercureCORSOrigins {APP} {OTHER}",
    "any.example": "MercureCORSOrigins *",
    "both.example": f"MercureCORSOrigins {APP}\nMercureCORSOrigins *",
}

# Refusals that a header of the request calls for.
SITE = """<VirtualHost 127.0.0.1:{port}>
ServerName {name}
ServerAlias alias.{name}
DocumentRoot {htdocs}
{tls}MercureHub On
MercureAnonymous On
MercureIssuer {issuer} both HS256 {secret}
MercureMaxBody 1K
MercurePublicURLs {scheme}://{name}:{port}
{cors}
<If "req_novary('X-Full') == '1'">
MercureMaxSubscribers 1
</If>
<If "req_novary('X-Deny') == '1'">
Require all denied
</If>
<If "req_novary('X-Basic') == '1'">
AuthType Basic
AuthName site
AuthBasicProvider file
AuthUserFile {htdocs}/users
Require valid-user
</If>
</VirtualHost>
"""


@pytest.fixture(scope="module")
def hub(protocol):
    server = Server(**protocol, modules=["authn_core", "authn_file", "auth_basic", "authz_user"])
    with open(server.config_file, "a") as f:
        for name, cors in SITES.items():
            f.write(SITE.format(name=name, cors=cors or "", port=server.port, htdocs=server.htdocs, issuer=ISSUER,
                                secret=SECRET, tls=server.tls_lines, scheme=server.scheme))
    yield server.start()
    server.close()


def ask(server, method, path, headers=None, body=None, host=None):
    """(status, headers, body) of an answer; a stream's body is not read."""
    if server.http2:
        conn = connect_h2(server, host=host)
        exchange = conn.open(method, path, headers or {}, body).begun()
        got = exchange.message()
        text = b"" if got["Content-Type"] == "text/event-stream" else exchange.whole()
        conn.close()
        return exchange.status, got, text
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    conn.sock = connect(server)
    try:
        conn.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        conn.putheader("Host", host or f"localhost:{server.port}")
        for name, value in (headers or {}).items():
            conn.putheader(name, value)
        if body is not None:
            conn.putheader("Content-Length", str(len(body)))
        conn.endheaders(body)
        response = conn.getresponse()
        stream = response.headers.get("Content-Type") == "text/event-stream"
        return response.status, response.headers, b"" if stream else response.read()
    finally:
        conn.close()


def cors_of(headers):
    """Every CORS header of an answer, and its Vary, with all their values."""
    found = {}
    for name, value in headers.items():
        if name.lower().startswith("access-control-") or name.lower() == "vary":
            found.setdefault(name.lower(), []).append(value)
    return found


def expected(site, origin):
    """PROTOCOL 8 and the Fetch standard."""
    if SITES[site] is None:
        return {}
    found = {"vary": ["Origin"]}
    listed, any_origin = SITES[site].count(f" {origin}") > 0, "*" in SITES[site]
    if origin is None or not (listed or any_origin):
        return found
    found["access-control-allow-origin"] = [origin if listed else "*"]
    found["access-control-expose-headers"] = ["Link, Mercure-Last-Event-ID"]
    if listed:
        found["access-control-allow-credentials"] = ["true"]
    return found


BIG = form([("topic", "a"), ("data", "x" * 2000)])
REQUESTS = {
    "GET": (200, "GET", f"{PATH}?match=a", {}, None),
    "HEAD": (200, "HEAD", f"{PATH}?match=a", {}, None),
    "QUERY": (200, "QUERY", PATH, FORM, b"match=a"),
    "POST": (200, "POST", PATH, {**FORM, "Authorization": "TOKEN"}, b"topic=a&data=x"),
    "metadata": (200, "GET", METADATA, {}, None),
    "metadata HEAD": (200, "HEAD", METADATA, {}, None),
    "OPTIONS that is no preflight": (204, "OPTIONS", PATH, {}, None),
    "400": (400, "GET", PATH, {}, None),
    "400 of POST": (400, "POST", PATH, {"Authorization": "TOKEN"}, b"topic=a"),
    "401": (401, "GET", f"{PATH}?match=a", {"Authorization": "Bearer not.a.token"}, None),
    "401 of POST": (401, "POST", PATH, FORM, b"topic=a"),
    "403": (403, "POST", PATH, {**FORM, "Authorization": "TOKEN"}, b"topic=b"),
    "405": (405, "PUT", PATH, {}, b"x"),
    "405 of metadata": (405, "POST", METADATA, {}, b"x"),
    "413": (413, "POST", PATH, {**FORM, "Authorization": "TOKEN"}, BIG),
    "413 of QUERY": (413, "QUERY", PATH, FORM, BIG),
    "421": (421, "GET", f"{PATH}?match=a", {"Host": "alias."}, None),
    "421 of metadata": (421, "GET", METADATA, {"Host": "alias."}, None),
    "429": (429, "GET", f"{PATH}?match=a", {"X-Full": "1"}, None),
    "httpd's 401": (401, "GET", f"{PATH}?match=a", {"X-Basic": "1"}, None),
    "httpd's 403": (403, "GET", f"{PATH}?match=a", {"X-Deny": "1"}, None),
    "httpd's 403 of OPTIONS": (403, "OPTIONS", PATH, {"X-Deny": "1"}, None),
}
ORIGINS = {"listed": APP, "listed with a port": OTHER, "a stranger": STRANGER, "null": "null", "none": None}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", REQUESTS)
def test_every_answer_says_who_may_read_it(hub, kind, site):
    status, method, path, headers, body = REQUESTS[kind]
    host = f"{site}:{hub.port}"
    bearer = token(hub, publish=["a"], aud=f"{hub.scheme}://{host}{PATH}")
    held = Stream(hub, "a", host=host, headers={"X-Full": "1"}) if status == 429 else None
    for what, origin in ORIGINS.items():
        head = {k: v.replace("TOKEN", f"Bearer {bearer}") for k, v in headers.items() if k != "Host"}
        if origin is not None:
            head["Origin"] = origin
        got = ask(hub, method, path, head, body, headers.get("Host", "") + host)
        assert got[0] == status, (what, got[0], got[2])
        assert cors_of(got[1]) == expected(site, origin), what
    if held is not None:
        held.close()


@http1_only
@pytest.mark.parametrize("site", SITES)
def test_an_answer_of_httpd_itself_out_of_the_middle_of_our_handler_says_it_too(hub, site):
    host = f"{site}:{hub.port}"
    head = {**FORM, "Authorization": f"Bearer {token(hub, publish=['a'], aud=f'http://{host}{PATH}')}"}
    for what, origin in ORIGINS.items():
        status, got, _ = broken_body(hub, PATH, head if origin is None else {**head, "Origin": origin}, host)
        assert (status, cors_of(got)) == (400, expected(site, origin)), what


def broken_body(server, path, headers, host):
    """The answer to a chunk that is none."""
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        conn.putrequest("POST", path, skip_host=True)
        for name, value in {"Host": host, "Transfer-Encoding": "chunked", **headers}.items():
            conn.putheader(name, value)
        conn.endheaders(b"no chunk\r\n\r\n")
        response = conn.getresponse()
        return response.status, response.headers, response.read()
    finally:
        conn.close()


# --- preflights ---

PREFLIGHT = {"access-control-allow-methods": ["GET, HEAD, POST, QUERY"],
             "access-control-allow-headers": ["authorization, cache-control, content-type, last-event-id"],
             "access-control-max-age": ["7200"]}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("method", ["GET", "POST", "QUERY", "DELETE"])
@pytest.mark.parametrize("path,methods", [(PATH, "GET, HEAD, POST, QUERY"), (METADATA, "GET, HEAD")],
                         ids=["hub", "metadata"])
def test_preflight(hub, path, methods, method, site):
    for what, origin in ORIGINS.items():
        headers = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        if origin is not None:
            headers["Origin"] = origin
        status, got, body = ask(hub, "OPTIONS", path, headers, host=f"{site}:{hub.port}")
        wanted = expected(site, origin)
        if "access-control-allow-origin" in wanted:
            wanted = {**wanted, **PREFLIGHT, "access-control-allow-methods": [methods]}
        assert (status, body) == (204, b""), what
        assert cors_of(got) == wanted, what
        assert got["Allow"] == methods
        assert "Content-Length" not in got and "Transfer-Encoding" not in got and "Content-Type" not in got
        assert "WWW-Authenticate" not in got


def test_preflight_needs_no_token(make_server):
    server = make_server(hub=f"MercureHub On\nMercureIssuer {ISSUER} both HS256 {SECRET}\nMercureCORSOrigins {APP}\n")
    headers = {"Origin": APP, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    status, got, _ = ask(server, "OPTIONS", PATH, headers)
    assert (status, got["Access-Control-Allow-Origin"]) == (204, APP)
    status, got, _ = ask(server, "GET", f"{PATH}?match=a", {"Origin": APP})
    assert (status, got["Access-Control-Allow-Origin"]) == (401, APP)


# --- which origin is which ---

@pytest.mark.parametrize("origin", ["https://app.example:443", "http://app.example", "https://app.example:8443",
                                    "https://app.example.evil.example", "https://evil-app.example", "https://APP.example",
                                    "https://app.example/", "app.example", "", "https://app.example, https://app.example",
                                    "*", "https://sub.app.example"])
def test_only_the_very_origin_is_allowed(hub, origin):
    _, got, _ = ask(hub, "HEAD", f"{PATH}?match=a", {"Origin": origin}, host=f"listed.example:{hub.port}")
    assert cors_of(got) == {"vary": ["Origin"]}


@pytest.mark.parametrize("listed,origin", [
    ("HTTPS://APP.Example:443/", "https://app.example"), ("http://app.example:80", "http://app.example"),
    ("http://[::1]:8080", "http://[::1]:8080"), ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
    ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"), ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
    ("http://a_b.example", "http://a_b.example"),
])
def test_an_origin_may_be_written_as_people_do(make_server, listed, origin):
    server = make_server(config=f"MercureCORSOrigins {listed}\n")
    _, got, _ = ask(server, "HEAD", f"{PATH}?match=a", {"Origin": origin})
    assert (got["Access-Control-Allow-Origin"], got["Access-Control-Allow-Credentials"]) == (origin, "true")


# --- streams ---

def test_a_held_stream_has_the_headers_and_goes_on(hub):
    host = f"listed.example:{hub.port}"
    stream = Stream(hub, "a", host=host, headers={"Origin": APP})
    assert hub.http2 or stream.headers["connection"] == "close", "held"
    assert stream.headers["access-control-allow-origin"] == APP
    assert stream.headers["access-control-allow-credentials"] == "true"
    assert stream.headers["vary"] == "Origin"
    published(hub, "a", "x", host=host, bearer=token(hub, ["a"], aud=f"{hub.scheme}://{host}{PATH}"))
    assert stream.data() == ["x"]
    stream.close()


def over_http2(server, origin, path=f"{PATH}?match=a", method="GET", more=()):
    """(status, headers) by curl; a stream is left as soon as its headers are there."""
    process = subprocess.Popen(["curl", "-skN", "--http2", "-D", "-", "-X", method, "--resolve",
                                f"localhost:{server.port}:127.0.0.1", f"https://localhost:{server.port}{path}",
                                *(["-H", f"Origin: {origin}"] if origin else []), *more], stdout=subprocess.PIPE, text=True)
    lines = list(itertools.takewhile(str.strip, iter(process.stdout.readline, "")))
    process.kill()
    process.wait()
    process.stdout.close()
    assert lines[0].startswith("HTTP/2 "), lines
    message = http.client.HTTPMessage()
    for line in lines[1:]:
        name, _, value = line.partition(":")
        message[name] = value.strip()
    return int(lines[0].split()[1]), message


@http1_only
def test_blocking_streams_and_http2(make_server):
    server = make_server(tls=True, modules=["http2"],
                         config=f"Protocols h2 http/1.1\nMercureCORSOrigins {APP}\n"
                                "<If \"req_novary('X-Full') == '1'\">\nMercureMaxBlocking 0\n</If>\n")
    yes = {"vary": ["Origin"], "access-control-allow-origin": [APP], "access-control-allow-credentials": ["true"],
           "access-control-expose-headers": ["Link, Mercure-Last-Event-ID"]}
    for origin, wanted in ((APP, yes), (STRANGER, {"vary": ["Origin"]}), (None, {"vary": ["Origin"]})):
        status, got = over_http2(server, origin)
        assert (status, cors_of(got)) == (200, wanted)
        status, got = over_http2(server, origin, more=["-H", "X-Full: 1"])
        assert (status, cors_of(got)) == (429, wanted)
        status, got = over_http2(server, origin, path=PATH)
        assert (status, cors_of(got)) == (400, wanted)
    assert "holds a worker" in server.log()
    status, got = over_http2(server, APP, method="OPTIONS", more=["-H", "Access-Control-Request-Method: QUERY"])
    assert (status, cors_of(got)) == (204, {**yes, **PREFLIGHT})


# --- where the directive stands ---

def write(server, name, text):
    path = os.path.join(server.htdocs, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def test_htaccess(make_server):
    server = make_server()
    write(server, ".htaccess", f"MercureCORSOrigins {APP}\n")
    for method, headers in (("GET", {}), ("GET", {"Authorization": "Bearer bad.bad.bad"}), ("PUT", {}),
                            ("OPTIONS", {"Access-Control-Request-Method": "GET"})):
        _, got, _ = ask(server, method, f"{PATH}?match=a", {"Origin": APP, **headers})
        assert got["Access-Control-Allow-Origin"] == APP, method
    assert got["Access-Control-Allow-Methods"] == "GET, HEAD, POST, QUERY"


def test_htaccess_that_switches_the_hub_on(make_server):
    server = make_server(hub="")
    write(server, ".htaccess", f"MercureHub On\nMercureAnonymous On\nMercureCORSOrigins {APP}\n")
    status, got, _ = ask(server, "GET", f"{PATH}?match=a", {"Origin": APP})
    assert (status, got["Access-Control-Allow-Origin"]) == (200, APP)


def test_htaccess_replaces_what_the_outer_scope_lists(make_server):
    server = make_server(config=f"MercureCORSOrigins {APP} *\n")
    write(server, ".htaccess", f"MercureCORSOrigins {OTHER}\n")
    assert cors_of(ask(server, "HEAD", f"{PATH}?match=a", {"Origin": APP})[1]) == {"vary": ["Origin"]}
    assert ask(server, "HEAD", f"{PATH}?match=a", {"Origin": OTHER})[1]["Access-Control-Allow-Origin"] == OTHER


@http1_only
def test_htaccess_with_a_wrong_origin_stops_its_directory(make_server):
    server = make_server()
    write(server, ".htaccess", "MercureCORSOrigins app.example\n")
    assert ask(server, "GET", f"{PATH}?match=a")[0] == 500
    server.wait_log('MercureCORSOrigins wants origins such as https://www.example.com, not "app.example"')


def test_a_location_and_the_main_server(make_server):
    server = make_server(main=f"MercureCORSOrigins {APP}",
                         config=f"<Location {PATH}>\nMercureCORSOrigins {OTHER}\n</Location>\n")
    assert ask(server, "HEAD", f"{PATH}?match=a", {"Origin": OTHER})[1]["Access-Control-Allow-Origin"] == OTHER
    assert "Access-Control-Allow-Origin" not in ask(server, "HEAD", f"{PATH}?match=a", {"Origin": APP})[1]
    assert ask(server, "HEAD", METADATA, {"Origin": APP})[1]["Access-Control-Allow-Origin"] == APP


def test_other_resources_of_the_site_are_left_alone(hub):
    for path in ("/index.html", f"{PATH}/", f"{PATH}x", "/nothing"):
        for method in ("GET", "OPTIONS"):
            _, got, _ = ask(hub, method, path, {"Origin": APP, "Access-Control-Request-Method": "GET"},
                            host=f"both.example:{hub.port}")
            assert cors_of(got) == {}, path


def test_no_hub_no_headers(make_server):
    server = make_server(hub=f"MercureCORSOrigins {APP}\n")
    status, got, _ = ask(server, "GET", PATH, {"Origin": APP})
    assert (status, cors_of(got)) == (404, {})


# --- with the rest of httpd ---

def test_an_error_document_keeps_the_headers(make_server):
    server = make_server(config=f"MercureCORSOrigins {APP}\nErrorDocument 403 /index.html\n"
                                f"<Location {PATH}>\nRequire all denied\n</Location>\n")
    status, got, body = ask(server, "GET", f"{PATH}?match=a", {"Origin": APP})
    assert (status, body) == (403, b"an ordinary page\n")
    assert cors_of(got) == {"vary": ["Origin"], "access-control-allow-origin": [APP],
                            "access-control-allow-credentials": ["true"],
                            "access-control-expose-headers": ["Link, Mercure-Last-Event-ID"]}


def test_a_rule_of_the_server_that_forbids_keeps_the_headers(make_server):
    server = make_server(config=f"MercureCORSOrigins {APP}\nRewriteEngine On\n"
                                f"RewriteCond %{{HTTP:X-Deny}} =1\nRewriteRule ^{re.escape(PATH)}$ - [F]\n"
                                f"RewriteCond %{{HTTP:X-Away}} =1\nRewriteRule ^{re.escape(PATH)}$ /elsewhere [R=307]\n")
    for headers, wanted in (({"X-Deny": "1"}, 403), ({"X-Away": "1"}, 307), ({}, 200)):
        status, got, _ = ask(server, "GET", f"{PATH}?match=a", {"Origin": APP, **headers})
        assert status == wanted
        assert cors_of(got) == {"vary": ["Origin"], "access-control-allow-origin": [APP],
                                "access-control-allow-credentials": ["true"],
                                "access-control-expose-headers": ["Link, Mercure-Last-Event-ID"]}


def test_vary_of_others_stays(make_server):
    server = make_server(config=f"MercureCORSOrigins {APP}\nHeader append Vary Accept-Language\n")
    _, got, _ = ask(server, "GET", f"{PATH}?match=a", {"Origin": APP})
    assert sorted(v.strip() for v in ",".join(got.get_all("Vary")).split(",")) == ["Accept-Language", "Origin"]


@http1_only
def test_503_has_the_headers(make_server):
    dead = f"/tmp/no-broker-{free_port()}"
    os.mkdir(dead)
    server = make_server(config=f"MercureCORSOrigins {APP}\n", broker=f"MercureBroker ipc:{dead}")
    try:
        status, got, _ = ask(server, "POST", PATH, {**FORM, "Origin": APP, "Authorization": f"Bearer {token(server, ['a'])}"},
                             b"topic=a")
        assert (status, got["Access-Control-Allow-Origin"]) == (503, APP)
    finally:
        os.rmdir(dead)


def test_a_cookie_is_for_listed_origins_and_publishing_with_it_for_those_that_may(make_server):
    server = make_server(config=f"MercureCORSOrigins {APP}\n", hub="MercureHub On\n"
                         f"MercureIssuer {ISSUER} both HS256 {SECRET}\nMercureCookieName t\n")
    cookie = {"Cookie": f"t={token(server, ['a'], ['a'])}", "Origin": APP}
    assert ask(server, "GET", f"{PATH}?match=a", cookie)[0] == 200
    status, got, _ = ask(server, "POST", PATH, {**FORM, **cookie}, b"topic=a")
    assert (status, got["Access-Control-Allow-Origin"]) == (400, APP), "MercurePublishOrigins does not list it"
    assert audience(server) in got["WWW-Authenticate"].replace("/.well-known/oauth-protected-resource", "")
