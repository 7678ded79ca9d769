"""What a client is told of the hub: Link headers, the RFC 9728 document; and the origin on which they, tokens and patterns rest."""

import http.client
import json
import os
import subprocess

import pytest

from client import PATH, Refused, Stream, claims, connect, publish, published, request, sign, token
from matrix import protocols
from server import ISSUER, SECRET, wait_for

METADATA = f"/.well-known/oauth-protected-resource{PATH}"
ON = "MercureDiscovery On\n"
both = protocols("plain", "h2")
PHP_FPM = "/usr/sbin/php-fpm8.2"


def link(server, origin=None, path=PATH):
    return f"<{origin or server.origin}{path}>; rel=\"mercure\""


def links(answer):
    """The values of Link headers that lead to a hub, each as often as it is there."""
    return [v for v in answer.headers.get_all("Link", []) if "mercure" in v.lower()]


def write(server, name, text):
    path = os.path.join(server.htdocs, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


# --- the Link header ---

SITE = """Redirect 302 /old /new
RedirectMatch 410 ^/gone$
ErrorDocument 410 /index.html
ErrorDocument 403 "no"
<Location /closed>
Require all denied
</Location>
"""


@both
@pytest.mark.parametrize("method,path,headers,status", [
    ("GET", "/index.html", {}, 200), ("HEAD", "/index.html", {}, 200), ("GET", "/", {}, 200),
    ("GET", "/index.html", {"Range": "bytes=0-3"}, 206), ("GET", "/index.html", {"Range": "bytes=900-"}, 416),
    ("GET", "/old", {}, 302), ("GET", "/sub", {}, 301), ("GET", "/nothing", {}, 404), ("HEAD", "/nothing", {}, 404),
    ("GET", "/closed", {}, 403), ("GET", "/gone", {}, 410), ("DELETE", "/index.html", {}, 405),
    ("GET", "/index.html", {"If-Match": '"x"'}, 412), ("OPTIONS", "/index.html", {}, 200),
    ("GET", PATH, {}, 400), ("GET", METADATA, {}, 200),
])
def test_every_kind_of_response_has_the_link_once(make_server, method, path, headers, status):
    server = make_server(config=ON + SITE)
    write(server, "sub/index.html", "x")
    answer = request(server, method, path, headers)
    assert answer.status == status
    assert links(answer) == [link(server)]


@both
def test_a_held_stream_has_the_link(make_server):
    server = make_server(config=ON)
    stream = Stream(server, "a")
    assert (stream.headers["link"], stream.headers.get("connection")) == (link(server), None if server.http2 else "close")
    sent = published(server, "a", "x")
    assert stream.take(1) == [{"id": sent, "data": "x"}]
    stream.close()


@both
def test_304_has_the_link(make_server):
    server = make_server(config=ON)
    tag = request(server, "GET", "/index.html").headers["ETag"]
    answer = request(server, "GET", "/index.html", {"If-None-Match": tag})
    assert (answer.status, answer.body, links(answer)) == (304, "", [link(server)])


def test_a_request_that_is_none(make_server):
    server = make_server(config=ON)
    sock = connect(server)
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    answer = sock.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 400 ") and answer.count("Link: <http://localhost") == 1
    sock.close()


@both
def test_off_by_default_and_apart_by_scope(make_server):
    server = make_server(config=f"<Location /live>\n{ON}</Location>\n<Location /live/not>\nMercureDiscovery Off\n</Location>\n")
    for name in ("live/page", "live/not/page", "other/page"):
        write(server, name, "x")
    assert links(request(server, "GET", "/live/page")) == [link(server)]
    assert links(request(server, "GET", "/live/nothing")) == [link(server)]
    assert links(request(server, "GET", "/live/not/page")) == []
    assert links(request(server, "GET", "/other/page")) == []
    assert links(request(server, "GET", "/nothing")) == []


@both
def test_htaccess(make_server):
    server = make_server()
    write(server, "sub/.htaccess", ON)
    write(server, "sub/page", "x")
    assert links(request(server, "GET", "/sub/page")) == [link(server)]
    assert links(request(server, "GET", "/sub/nothing")) == [link(server)]
    assert links(request(server, "GET", "/index.html")) == []


@both
def test_the_link_follows_the_path_and_the_host(make_server):
    server = make_server(config=ON + "MercurePath /live/hub\n")
    assert links(request(server, "GET", "/", host="www.example.com")) == [link(server, f"{server.scheme}://www.example.com", "/live/hub")]
    assert links(request(server, "GET", "/", host=f"WWW.Example.com:{443 if server.tls else 80}")) == [link(server, f"{server.scheme}://www.example.com", "/live/hub")]
    assert links(request(server, "GET", "/", host="[::1]:81")) == [link(server, f"{server.scheme}://[::1]:81", "/live/hub")]


OWN = '<https://elsewhere.example/hub>'


@pytest.mark.parametrize("own", [f'{OWN}; rel="mercure"', f"{OWN}; rel=mercure", f'{OWN};rel="self  mercure"',
                                 f'{OWN}; REL = "Mercure"', f'</style.css>; rel=preload, {OWN}; rel="mercure"'])
@pytest.mark.parametrize("how", ["Header set", "Header always set", "Header add"])
def test_a_link_of_the_administrator_stays_the_only_one(make_server, how, own):
    server = make_server(config=ON + f"{how} Link \"{own.replace(chr(34), chr(92) + chr(34))}\"\n")
    assert links(request(server, "GET", "/index.html")) == [own]
    if "always" in how:
        assert links(request(server, "GET", "/nothing")) == [own]


@pytest.mark.parametrize("other", ["</style.css>; rel=preload", '<https://elsewhere.example/mercure>; rel="next"',
                                   '</x>; rel="mercury"', '</x>; title="rel=x"; rel=mercurex', "</rel=mercure>; rel=next",
                                   "</x>; rel=next; xrel=mercure"])
def test_another_link_stays_beside_it(make_server, other):
    server = make_server(config=ON + f"Header set Link \"{other.replace(chr(34), chr(92) + chr(34))}\"\n")
    assert request(server, "GET", "/index.html").headers.get_all("Link") == [other, link(server)]


def test_the_administrators_link_counts_in_either_order_of_modules(make_server):
    server = make_server(config=ON + f"Header add Link \"{OWN}; rel=mercure\"\n", start=False)
    with open(server.config_file) as f:
        lines = f.read().split("\n")
    ours = next(line for line in lines if line.startswith("LoadModule mercure_module"))
    lines.remove(ours)
    lines.insert(next(i for i, line in enumerate(lines) if line.startswith("LoadModule headers_module")), ours)
    with open(server.config_file, "w") as f:
        f.write("\n".join(lines))
    server.start()
    assert links(request(server, "GET", "/index.html")) == [f"{OWN}; rel=mercure"]


@both
def test_a_page_of_several_parts_has_one_link(make_server):
    server = make_server(modules=["include"], config=ON + "Options +Includes\nSetOutputFilter INCLUDES\n")
    write(server, "page.html", '<!--#include virtual="/index.html" --> <!--#include virtual="/index.html" -->')
    answer = request(server, "GET", "/page.html")
    assert answer.body.count("an ordinary page") == 2
    assert links(answer) == [link(server)]


@both
def test_a_proxied_site(make_server):
    backend = make_server(http2=False, config="Redirect 302 /old /new\n")
    server = make_server(modules=["proxy", "proxy_http"],
                         config=ON + f"ProxyPass {PATH} !\nProxyPass / http://127.0.0.1:{backend.port}/\n")
    for path, status in (("/index.html", 200), ("/old", 302), ("/nothing", 404)):
        answer = request(server, "GET", path)
        assert (answer.status, links(answer)) == (status, [link(server)])
    backend.stop()
    answer = request(server, "GET", "/index.html")
    assert (answer.status, links(answer)) == (503, [link(server)])


@pytest.fixture
def fpm(make_server):
    server = make_server(modules=["proxy", "proxy_fcgi"], start=False, config=ON +
                         '<FilesMatch "\\.php$">\nSetHandler "proxy:unix:DIR/php.sock|fcgi://localhost"\n</FilesMatch>\n'
                         "DirectoryIndex index.php\n")
    with open(server.config_file) as f:
        text = f.read().replace("DIR/", f"{server.dir}/")
    with open(server.config_file, "w") as f:
        f.write(text)
    pool = f"{server.dir}/php-fpm.conf"
    user = "user = www-data\ngroup = www-data\nlisten.owner = www-data\n" if server.root else ""
    with open(pool, "w") as f:
        f.write(f"[global]\nerror_log = {server.dir}/php-fpm.log\n[www]\n{user}listen = {server.dir}/php.sock\n"
                "pm = static\npm.max_children = 2\n")
    process = subprocess.Popen([PHP_FPM, "-F", "-n", "-y", pool], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server.start()
    wait_for(lambda: os.path.exists(f"{server.dir}/php.sock"), "PHP-FPM listens")
    yield server
    process.terminate()
    process.wait()


@both
@pytest.mark.skipif(not os.path.exists(PHP_FPM), reason="php8.2-fpm is not installed")
def test_pages_of_php(fpm):
    write(fpm, "plain.php", "<?php echo 'hello';")
    write(fpm, "own.php", f"<?php header('Link: {OWN}; rel=\"mercure\"'); echo 'x';")
    write(fpm, "style.php", "<?php header('Link: </s.css>; rel=preload'); echo 'x';")
    write(fpm, "moved.php", "<?php header('Location: /elsewhere', true, 303);")
    write(fpm, "error.php", "<?php http_response_code(500); echo 'broken';")
    write(fpm, "missing.php", f"<?php http_response_code(404); header('Link: {OWN}; rel=mercure');")
    for path, status, wanted in (("plain.php", 200, link(fpm)), ("own.php", 200, f'{OWN}; rel="mercure"'),
                                 ("style.php", 200, link(fpm)), ("moved.php", 303, link(fpm)),
                                 ("error.php", 500, link(fpm)), ("missing.php", 404, f"{OWN}; rel=mercure"),
                                 ("no.php", 404, link(fpm))):
        answer = request(fpm, "GET", f"/{path}")
        assert (answer.status, links(answer)) == (status, [wanted]), path
    assert "</s.css>; rel=preload" in request(fpm, "GET", "/style.php").headers.get_all("Link")


# --- RFC 9728 ---

@both
def test_authorization_servers_and_the_cookie_are_in_the_document(make_server):
    server = make_server(config="MercureAuthorizationServer https://id.example.com\n"
                                "MercureAuthorizationServer https://two.example.com/realms/a https://three.example.com\n"
                                "MercureCookieName t\n")
    assert json.loads(request(server, "GET", METADATA).body) == {
        "resource": f"{server.origin}{PATH}",
        "authorization_servers": ["https://id.example.com", "https://two.example.com/realms/a", "https://three.example.com"],
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["https://mercure.rocks/authorization-detail"],
        "mercure_cookie": "t",
    }


def test_htaccess_names_its_own_authorization_servers(make_server):
    server = make_server(config="MercureAuthorizationServer https://id.example.com\n")
    write(server, ".htaccess", "MercureAuthorizationServer https://tenant.example.com\n")
    assert json.loads(request(server, "GET", METADATA).body)["authorization_servers"] == ["https://tenant.example.com"]


@both
@pytest.mark.parametrize("method,status", [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("POST", 405), ("QUERY", 405),
                                           ("PUT", 405), ("PATCH", 405), ("DELETE", 405)])
def test_methods_of_the_document(server, method, status):
    answer = request(server, method, METADATA, body=b"" if method in ("POST", "PUT", "QUERY", "PATCH") else None)
    assert answer.status == status
    if status != 200:
        assert answer.headers["Allow"] == "GET, HEAD"


@both
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "PROPFIND", "MKCOL", "query", "NONSENSE"])
def test_methods_that_the_hub_does_not_have(server, method):
    answer = request(server, method, f"{PATH}?match=a")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST, QUERY")


@both
def test_options_says_what_there_is(server):
    answer = request(server, "OPTIONS", PATH)
    assert (answer.status, answer.headers["Allow"], answer.body) == (204, "GET, HEAD, POST, QUERY", "")


def test_a_hub_of_a_location_needs_one_for_its_metadata(make_server):
    alone = f"<Location {PATH}>\nMercureHub On\n</Location>\n"
    server = make_server(hub=alone)
    assert (request(server, "OPTIONS", PATH).status, request(server, "GET", METADATA).status) == (204, 404)
    server = make_server(hub=alone + alone.replace(PATH, METADATA))
    assert (request(server, "OPTIONS", PATH).status, request(server, "GET", METADATA).status) == (204, 200)


# --- the origin, behind proxies ---

PRELUDE = b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 80\r\n"


class Client:
    """Sends each request with the same headers, as a proxy or somebody who says to be one would."""

    def __init__(self, server, headers, host=None, prelude=b""):
        self.server, self.headers, self.host, self.prelude = server, headers, host or f"localhost:{server.port}", prelude

    def connect(self):
        sock = connect(self.server)
        sock.sendall(self.prelude)
        return sock

    def ask(self, method, path, headers=None, body=None):
        if self.server.http2:
            answer = request(self.server, method, path, {**self.headers, **(headers or {})}, body, self.host)
            return answer.status, answer.headers, answer.body
        conn = http.client.HTTPConnection("127.0.0.1")
        conn.sock = self.connect()
        try:
            conn.putrequest(method, path, skip_host=True)
            for name, value in {"Host": self.host, **self.headers, **(headers or {})}.items():
                conn.putheader(name, value)
            if body is not None:
                conn.putheader("Content-Length", str(len(body)))
            conn.endheaders(body)
            response = conn.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            conn.close()

    def token(self, origin):
        return sign(claims(self.server, ["*"], ["*"], aud=f"{origin}{PATH}"))

    def publish(self, topic, origin):
        status, _, body = self.ask("POST", PATH, {"Authorization": f"Bearer {self.token(origin)}",
                                                  "Content-Type": "application/x-www-form-urlencoded"},
                                   f"topic={topic}&data=x".encode())
        return status, body


def check_origin(client, origin):
    """Everything that rests on the origin says that it is this one."""
    status, headers, _ = client.ask("GET", "/index.html")
    assert (status, headers.get_all("Link")) == (200, [link(client.server, origin)])
    status, _, body = client.ask("GET", METADATA)
    assert (status, json.loads(body)["resource"]) == (200, f"{origin}{PATH}")
    status, headers, _ = client.ask("POST", PATH, {"Content-Type": "application/x-www-form-urlencoded"}, b"topic=a")
    assert (status, headers["WWW-Authenticate"]) == (401, f'Bearer resource_metadata="{origin}{METADATA}"')
    assert client.publish("a", origin)[0] == 200, "the audience of tokens"
    for other in ("https://evil.example", "http://www.example.com:8081"):
        assert client.publish("a", other)[0] == 401
    # A relative pattern is one of this origin's topics, and of no other.
    sock = None if client.server.http2 else client.connect()
    stream = Stream(client.server, [], headers=client.headers, host=client.host, sock=sock,
                    query="&match_urlpattern=/news/:id")
    assert client.publish("https://other.example/news/1", origin)[0] == 200
    status, sent = client.publish(f"{origin}/news/2", origin)
    assert (status, stream.take(1)) == (200, [{"id": sent, "data": "x"}])
    stream.close()


XFF = {"X-Forwarded-For": "198.51.100.7"}
HTTPS = {"X-Forwarded-Proto": "https"}
WWW = {"X-Forwarded-Host": "www.example.com"}
TRUSTED = "RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n"
DIRECT = "http://localhost:PORT"


def make(make_server, config, modules=("remoteip",), **options):
    return make_server(modules=list(modules), config=ON + config, **options)


@pytest.mark.parametrize("proxy", ["RemoteIPInternalProxy 127.0.0.1", "RemoteIPTrustedProxy 127.0.0.0/8"])
@pytest.mark.parametrize("headers,host,origin", [
    ({**XFF, **HTTPS, **WWW}, None, "https://www.example.com"),
    ({**XFF, **HTTPS}, "www.example.com", "https://www.example.com"),
    ({**XFF, **HTTPS}, "www.example.com:8443", "https://www.example.com:8443"),
    ({**XFF, **WWW}, None, "http://www.example.com"),
    ({**XFF, "X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "WWW.Example.COM:443"}, None, "https://www.example.com"),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "www.example.com:8443"}, None, "https://www.example.com:8443"),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "[2001:db8::1]:8443"}, None, "https://[2001:db8::1]:8443"),
    # what is no scheme and no host is as if it were not there
    ({**XFF, **HTTPS, "X-Forwarded-Host": "evil.example, www.example.com"}, "two.example", "https://two.example"),
    ({**XFF, "X-Forwarded-Proto": "https, http"}, None, DIRECT),
    ({**XFF, "X-Forwarded-Proto": "gopher", **WWW}, None, "http://www.example.com"),
    ({**XFF, "X-Forwarded-Proto": "", "X-Forwarded-Host": ""}, None, DIRECT),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "evil.example/path"}, "two.example", "https://two.example"),
    ({**XFF, **HTTPS, "X-Forwarded-Host": 'a">;rel="mercure'}, "two.example", "https://two.example"),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "me@evil.example"}, "two.example", "https://two.example"),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "evil.example:99999"}, "two.example", "https://two.example"),
    # without the client's address nothing is taken from the proxy
    ({**HTTPS, **WWW}, None, DIRECT),
])
def test_a_proxy_that_remoteip_trusts(make_server, proxy, headers, host, origin):
    server = make(make_server, f"RemoteIPHeader X-Forwarded-For\n{proxy}\n")
    check_origin(Client(server, headers, host), origin.replace("PORT", str(server.port)))


@pytest.mark.parametrize("config,modules", [
    ("", []), ("", ["remoteip"]), ("RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 192.0.2.1\n", ["remoteip"]),
    ("RemoteIPHeader X-Real-IP\nRemoteIPTrustedProxy 127.0.0.1\n", ["remoteip"]),
], ids=["no remoteip", "remoteip idle", "another proxy is trusted", "another header"])
def test_nobody_else_is_believed(make_server, config, modules):
    server = make(make_server, config, modules)
    check_origin(Client(server, {**XFF, **HTTPS, **WWW, "Forwarded": "proto=https;host=evil.example",
                                 "X-Forwarded-Port": "443", "X-Forwarded-Ssl": "on", "HTTPS": "on", "X-Forwarded-Server": "x"}),
                 f"http://localhost:{server.port}")


def test_an_address_that_remoteip_does_not_take_is_no_leave(make_server):
    server = make(make_server, "RemoteIPHeader X-Forwarded-For\nRemoteIPTrustedProxy 127.0.0.1\n")
    for address in ("10.0.0.1", "not-an-address"):  # a TrustedProxy may not name a private one
        check_origin(Client(server, {"X-Forwarded-For": address, **HTTPS, **WWW}), f"http://localhost:{server.port}")


def test_the_proxy_protocol_vouches_for_no_header(make_server):
    server = make(make_server, "RemoteIPProxyProtocol On\n" + TRUSTED)
    client = Client(server, {**XFF, **HTTPS, **WWW}, prelude=PRELUDE)
    check_origin(client, f"http://localhost:{server.port}")
    wait_for(lambda: "192.0.2.7 200 " in server.access(), "the address is that of the PROXY protocol")


def test_one_connection_of_a_proxy_serves_many_clients(make_server):
    server = make(make_server, TRUSTED)
    conn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for headers, origin in (({**XFF, **HTTPS, **WWW}, "https://www.example.com"), ({**HTTPS, **WWW}, None),
                            ({**XFF, **HTTPS}, "https://localhost"), ({}, None)):
        conn.request("GET", METADATA, headers={"Host": "localhost", **headers})
        assert json.loads(conn.getresponse().read())["resource"] == f"{origin or 'http://localhost'}{PATH}"
    conn.close()


@protocols("tls", "h2")
def test_over_tls(make_server):
    server = make(make_server, TRUSTED)
    check_origin(Client(server, {}), f"https://localhost:{server.port}")
    check_origin(Client(server, {}, "www.example.com"), "https://www.example.com")
    check_origin(Client(server, {**XFF, "X-Forwarded-Proto": "http"}, "www.example.com"), "http://www.example.com")


def test_over_http2(make_server):
    server = make(make_server, TRUSTED + "Protocols h2 http/1.1\n", ["remoteip", "http2"], tls=True)

    def resource(*headers):
        arguments = [argument for header in headers for argument in ("-H", header)]
        text = subprocess.run(["curl", "-sk", "--http2", "--resolve", f"localhost:{server.port}:127.0.0.1", *arguments,
                               f"https://localhost:{server.port}{METADATA}"], capture_output=True, check=True).stdout
        return json.loads(text)["resource"]

    assert resource("X-Forwarded-For: 198.51.100.7", "X-Forwarded-Host: www.example.com") == f"https://www.example.com{PATH}"
    assert resource("X-Forwarded-Host: www.example.com") == f"https://localhost:{server.port}{PATH}"


@pytest.mark.parametrize("config,headers,host,origin", [
    ("SetEnvIf X-Forwarded-Proto https HTTPS=on", HTTPS, "www.example.com", "https://www.example.com"),
    ("SetEnvIf X-Forwarded-Proto https HTTPS=on", {**HTTPS, "X-Forwarded-Host": "evil.example"}, "www.example.com:8443",
     "https://www.example.com:8443"),
    ("SetEnvIf X-Forwarded-Proto https HTTPS=on", {"X-Forwarded-Proto": "http"}, "www.example.com", "http://www.example.com"),
    ("SetEnvIf X-Forwarded-Proto https HTTPS=on\nUseCanonicalName On\nServerName www.example.com", HTTPS, "evil.example:81",
     "https://www.example.com"),
    ("SetEnv HTTPS off", {}, "www.example.com", "http://www.example.com"),
    ("ServerName https://www.example.com", {}, "www.example.com", "https://www.example.com"),
    ("ServerName https://www.example.com:443", {}, "www.example.com", "https://www.example.com"),
    ("ServerName https://www.example.com:8443", {}, "www.example.com:8443", "https://www.example.com:8443"),
    ("ServerName https://www.example.com\nUseCanonicalName On", {}, "evil.example:81", "https://www.example.com"),
    ("ServerName http://www.example.com:80\nUseCanonicalName On", {**HTTPS, **WWW}, "evil.example:81", "http://www.example.com"),
])
def test_what_the_administrator_says(make_server, config, headers, host, origin):
    server = make(make_server, config + "\n", [])
    check_origin(Client(server, headers, host), origin)


def test_absolute_uri_beats_the_host_header(make_server):
    server = make(make_server, "SetEnvIf X-Forwarded-Proto https HTTPS=on\n", [])
    status, _, body = Client(server, HTTPS, "evil.example").ask("GET", f"http://www.example.com:82{METADATA}")
    assert (status, json.loads(body)["resource"]) == (200, f"https://www.example.com:82{PATH}")


def test_without_a_host_it_is_the_server_name(make_server):
    server = make(make_server, "ServerName www.example.com\n", [])
    sock = connect(server)
    sock.sendall(f"GET {METADATA} HTTP/1.0\r\n\r\n".encode())
    body = sock.makefile("rb").read().decode().split("\r\n\r\n", 1)[1]
    sock.close()
    assert json.loads(body)["resource"] in (f"http://www.example.com{PATH}", f"http://www.example.com:{server.port}{PATH}")


# --- MercurePublicURLs ---

@pytest.mark.parametrize("headers,host,status", [
    ({**XFF, **HTTPS, **WWW}, None, 200), ({**XFF, **HTTPS}, "www.example.com", 200), ({**XFF, **HTTPS}, "two.example:8443", 200),
    ({**XFF, **HTTPS, "X-Forwarded-Host": "evil.example"}, None, 421), ({**XFF, **WWW}, None, 421),
    ({**HTTPS, **WWW}, None, 421), ({**HTTPS}, "www.example.com", 421), ({}, None, 421), ({}, "www.example.com", 421),
    ({**XFF, **HTTPS}, "two.example", 421),
])
def test_public_urls_behind_a_proxy(make_server, headers, host, status):
    server = make(make_server, TRUSTED + "MercurePublicURLs https://www.example.com https://two.example:8443\n")
    client = Client(server, headers, host)
    assert client.ask("GET", METADATA)[0] == status
    assert client.ask("HEAD", f"{PATH}?match=a")[0] == status
    assert client.ask("QUERY", PATH, {"Content-Type": "text/plain"}, b"")[0] == (421 if status == 421 else 400)
    origin = f"https://{headers.get('X-Forwarded-Host', client.host)}"
    assert client.publish("a", origin)[0] == status
    try:
        Stream(server, "a", headers=headers, host=client.host).close()
        assert status == 200
    except Refused as refused:
        assert refused.answer.status == status == 421
    assert client.ask("GET", "/index.html")[0] == 200, "the rest of the site stays"


@both
def test_421_comes_before_the_token_and_has_no_challenge(make_server):
    server = make_server(config="MercurePublicURLs https://www.example.com\n")
    answer = publish(server, "a", bearer="bad")
    assert answer.status == 421 and "WWW-Authenticate" not in answer.headers
    server.wait_log("answers 421: a request for an origin that MercurePublicURLs does not list")


@both
def test_public_urls_may_be_ipv6(make_server):
    server = make_server(start=False)
    server.rewrite("MercureHub On", f"MercureHub On\nMercurePublicURLs {server.scheme}://[::1]:8080 {server.scheme}://[2001:DB8::1]")
    server.start()
    for host, status in (("[::1]:8080", 200), ("[2001:db8::1]", 200), ("[::1]", 421), ("localhost:8080", 421)):
        assert request(server, "GET", METADATA, host=host).status == status, host


@both
def test_public_urls_are_apart_by_virtual_host(make_server):
    server = make_server(hub="", start=False)
    hub = f"MercureHub On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"
    with open(server.config_file, "a") as f:
        for name, urls in (("one.example", f"{server.scheme}://one.example"), ("two.example", f"{server.scheme}://two.example")):
            f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {name}\nServerAlias other.example\n"
                    f"{server.tls_lines}{hub}MercurePublicURLs {urls}\n</VirtualHost>\n")
    server.start()
    for host, status in (("one.example", 200), ("two.example", 200), ("other.example", 421)):
        assert request(server, "GET", METADATA, host=host).status == status, host


@both
def test_a_stream_and_its_publisher_agree_through_a_proxy(make_server, protocol):
    """A whole site: TLS ends at a proxy of httpd, and the hub is at a back end."""
    backend = make(make_server, TRUSTED, http2=False)
    proxy = make_server(**({} if protocol else {"tls": True}), modules=["proxy", "proxy_http"], hub="",
                        config="RequestHeader set X-Forwarded-Proto https\n"
                               f"<Location />\nProxyPass http://127.0.0.1:{backend.port}/ flushpackets=on\n</Location>\n")
    origin = f"https://localhost:{proxy.port}"
    assert json.loads(request(proxy, "GET", METADATA).body)["resource"] == f"{origin}{PATH}"
    stream = Stream(proxy, "a", bearer=token(proxy, subscribe=["a"]))
    sent = published(proxy, "a", "through", fields=[("private", "1")])
    assert stream.take(1) == [{"id": sent, "data": "through"}]
    assert publish(proxy, "a", bearer=token(backend, ["*"])).status == 401, "that is for the back end's own name"
    stream.close()


@both
def test_the_link_names_a_public_url_whatever_the_client_calls_us(make_server):
    """A cache that is not keyed by Host must not hand out a hub of somebody else's."""
    server = make_server(config="MercureDiscovery On\nMercurePublicURLs https://www.example.com http://localhost "
                                "https://localhost\n")
    for host, origin in (("evil.example", "https://www.example.com"), ("localhost", f"{server.scheme}://localhost")):
        answer = request(server, "GET", "/index.html", host=host)
        assert answer.headers["Link"] == f'<{origin}{PATH}>; rel="mercure"'
