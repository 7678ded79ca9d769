"""Several hubs in one server, what a tenant may say in its .htaccess file, and how a hub lives with the rest of a site."""

import json
import os
import types

import pytest

from client import PATH, Refused, Stream, claims, publish, published, request, sign, token
from matrix import http1_only, protocols
from server import ISSUER, SECRET, certificate, free_port

OTHER_SECRET = "the-secret-of-the-second-tenant-which-is-as-long-as-it-must-be-for-hs512"
HUB = f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"
OTHER_HUB = f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {OTHER_SECRET}\n"
pytestmark = protocols("plain", "h2")
METADATA = f"/.well-known/oauth-protected-resource{PATH}"


def append(server, text):
    with open(server.config_file, "a") as f:
        f.write(text)


def virtual_host(server, name, lines, port=None, root=None):
    append(server, f"<VirtualHost 127.0.0.1:{port or server.port}>\nServerName {name}\n"
                   f"DocumentRoot {root or server.htdocs}\n{'' if port else server.tls_lines}{lines}\n</VirtualHost>\n")


class Site:
    """One virtual host of a server, as its clients see it."""

    def __init__(self, server, name, secret=SECRET, path=PATH):
        self.server, self.secret, self.path = server, secret, path
        self.host = f"{name}:{server.port}"

    def token(self, publish=(), subscribe=()):
        return sign(claims(self.server, publish, subscribe, aud=f"{self.server.scheme}://{self.host}{self.path}"), self.secret)

    def publish(self, topic, data="", **more):
        return publish(self.server, topic, data, bearer=self.token(["*"]), host=self.host, path=self.path, **more)

    def published(self, topic, data="", **more):
        answer = self.publish(topic, data, **more)
        assert answer.status == 200, (answer.status, answer.body, self.server.log()[-1000:])
        return answer.body

    def stream(self, topics, grants=(), **more):
        return Stream(self.server, topics, bearer=self.token([], grants) if grants else None, host=self.host,
                      path=self.path, **more)


@pytest.fixture
def two(make_server):
    """A server with two hubs, whose keys are different."""
    server = make_server(hub="", start=False)
    virtual_host(server, "one.example", HUB)
    virtual_host(server, "two.example", OTHER_HUB)
    server.start()
    return Site(server, "one.example"), Site(server, "two.example", OTHER_SECRET)


# --- hubs are apart ---

def test_hubs_share_brokerd_and_see_nothing_of_each_other(two):
    one, two = two
    assert [name for _, name in one.server.processes()].count("brokerd") == 1
    first, second = one.stream(["a", "*"], ["*"]), two.stream(["a", "*"], ["*"])
    for private in ((), [("private", "on")]):
        one.published("a", "of one", fields=[("id", "same"), *private])
        two.published("a", "of two", fields=[("id", "same"), *private])
        assert first.take() == [{"id": "same", "data": "of one"}]
        assert second.take() == [{"id": "same", "data": "of two"}]
    first.close()
    second.close()


def test_the_history_of_another_hub_is_unknown(two):
    one, two = two
    of_one = one.published("a", "of one")
    stream = two.stream("a", last_event_id=of_one)
    assert stream.headers["mercure-last-event-id"] == "earliest"
    two.published("a", "of two")
    assert stream.data() == ["of two"]
    stream.close()
    stream = two.stream("*", ["*"], last_event_id="earliest")
    two.published("a", "the last")
    assert stream.data(2) == ["of two", "the last"]
    stream.close()


def test_the_same_id_is_a_place_of_its_own_in_each_hub(two):
    one, two = two
    for n in range(3):
        one.published("a", f"one {n}", fields=[("id", str(n))])
    for n in range(3):
        two.published("a", f"two {n}", fields=[("id", str(2 - n))])
    assert one.stream("a", last_event_id="1").data() == ["one 2"]
    assert two.stream("a", last_event_id="2").data(2) == ["two 1", "two 2"]


def test_a_token_of_one_hub_is_refused_by_another(two):
    one, two = two
    for key in (SECRET, OTHER_SECRET):
        for audience in (one, two):
            text = sign(claims(one.server, ["*"], aud=f"{one.server.scheme}://{audience.host}{PATH}"), key)
            for site in (one, two):
                good = key == site.secret and audience is site
                assert publish(site.server, "a", bearer=text, host=site.host).status == (200 if good else 401)


@http1_only
def test_one_name_on_two_ports_is_one_hub(make_server):
    server = make_server(modules=["socache_shmcb", "ssl"], start=False)
    port = free_port()
    cert, key = certificate(server.dir)
    append(server, f"Listen 127.0.0.1:{port}\n")
    virtual_host(server, "localhost", f"SSLEngine On\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\n{HUB}", port)
    server.start()
    secure = types.SimpleNamespace(port=port, tls=True, http2=False, log=server.log)
    plain_stream, secure_stream = Stream(server, "a"), Stream(secure, "a")
    first = published(server, "a", "over http")
    published(secure, "a", "over https")
    assert plain_stream.data(2) == secure_stream.data(2) == ["over http", "over https"]
    replayed = Stream(secure, "a", last_event_id=first)
    assert replayed.headers["mercure-last-event-id"] == first
    assert replayed.data() == ["over https"]
    for stream in (plain_stream, secure_stream, replayed):
        stream.close()
    assert publish(secure, "a", bearer=token(server, ["*"])).status == 401, "the scheme is part of the identifier"


def test_a_hub_name_makes_one_hub_of_two_hosts(make_server):
    server = make_server(hub="", start=False)
    for name, hub in (("one.example", "shared"), ("two.example", "shared"), ("three.example", "other")):
        virtual_host(server, name, f"{HUB}MercureHubName {hub}")
    server.start()
    one, two, three = (Site(server, f"{name}.example") for name in ("one", "two", "three"))
    streams = [site.stream("a") for site in (one, two, three)]
    one.published("a", "from one")
    three.published("a", "from three")
    assert streams[0].data() == streams[1].data() == ["from one"]
    assert streams[2].data() == ["from three"]
    for stream in streams:
        stream.close()


def test_without_a_hub_there_is_none(make_server):
    server = make_server(hub="", config="MercureAnonymous On")
    assert request(server, "GET", f"{PATH}?match=a").status == 404
    assert publish(server, "a").status in (404, 405)
    assert request(server, "GET", METADATA).status == 404
    assert request(server, "GET", "/index.html").body == "an ordinary page\n"


# --- .htaccess ---

@pytest.fixture
def tenant(make_server):
    """make(htaccess, admin) starts a server whose virtual host has an .htaccess file in its document root."""
    def make(htaccess, admin="", allow="AuthConfig", other="", **options):
        server = make_server(hub="", start=False, **options)
        with open(os.path.join(server.htdocs, ".htaccess"), "w") as f:
            f.write(htaccess)
        append(server, f"<Directory {server.htdocs}>\nRequire all granted\nAllowOverride {allow}\n</Directory>\n")
        virtual_host(server, "tenant.example", admin)
        if other:
            virtual_host(server, "other.example", other, root="/nowhere")
        server.start()
        return Site(server, "tenant.example")
    return make


def check_round_trip(site):
    stream = site.stream("a", ["a"])
    site.published("a", "hello", fields=[("private", "on")])
    assert stream.data() == ["hello"]
    stream.close()


def test_a_tenant_makes_its_own_hub(tenant):
    check_round_trip(tenant(HUB))


@http1_only
def test_a_tenant_without_allowoverride_authconfig_is_refused(tenant):
    site = tenant(HUB, allow="FileInfo")
    answer = request(site.server, "GET", f"{PATH}?match=a", host=site.host)
    assert answer.status == 500
    assert "MercureHub not allowed here" in site.server.log()


@http1_only
@pytest.mark.parametrize("line,reason", [
    ("MercureHubName ../other", "MercureHubName wants letters, digits"),
    ("MercureHubName other.example/x", "MercureHubName wants letters, digits"),
    ("MercurePath /hub", "MercurePath not allowed here"),
    ("MercureStateDir /tmp", "MercureStateDir not allowed here"),
    ("MercureBroker spawn", "MercureBroker not allowed here"),
    ("MercureBrokerProgram /bin/true", "MercureBrokerProgram not allowed here"),
    ("MercureDurability async", "MercureDurability not allowed here"),
    ("MercurePublicURLs https://example.com", "MercurePublicURLs not allowed here"),
    ("MercureResourceIdentifier https://example.com/", "MercureResourceIdentifier not allowed here"),
    ("MercureHeartbeat 1", "MercureHeartbeat not allowed here"),
    ("MercureMaxLifetime 0", "MercureMaxLifetime not allowed here"),
    ("MercureDispatchTimeout 0", "MercureDispatchTimeout not allowed here"),
    ("MercureMaxPending 1G", "MercureMaxPending not allowed here"),
    (f"MercureIssuer {ISSUER} both HS256 env:PATH", "env: is not allowed in .htaccess files"),
    (f"MercureIssuer {ISSUER} both HS256 env:MERCURE_UNSET", "env: is not allowed in .htaccess files"),
    (f"MercureIssuer {ISSUER} both HS256 file:/dev/zero", "must be a regular file"),
    (f"MercureIssuer {ISSUER} both HS256 file:/dev/null", "must be a regular file"),
    (f"MercureIssuer {ISSUER} both HS256 file:/tmp", "must be a regular file"),
    (f"MercureIssuer {ISSUER} both HS256 file:/nonexistent", "cannot open the key file"),
])
def test_what_a_tenant_may_not_say_is_500(tenant, line, reason):
    site = tenant(f"{HUB}{line}\n")
    assert request(site.server, "GET", f"{PATH}?match=a", host=site.host).status == 500
    assert reason in site.server.log()
    assert site.server.environment["PATH"] not in site.server.log()


def key_files(server):
    """Key files in the server's directory, for the tenant, whose uid is 65534, and for another one."""
    for name, owner in (("own", 65534), ("others", 65533)):
        path = os.path.join(server.dir, name)
        with open(path, "w") as f:
            f.write(OTHER_SECRET + "\n")
        os.chown(path, owner, owner)
        os.chmod(path, 0o644)
    os.symlink(os.path.join(server.dir, "others"), os.path.join(server.dir, "link"))
    os.mkfifo(os.path.join(server.dir, "fifo"))
    os.chown(os.path.join(server.dir, "fifo"), 65534, 65534)
    os.chmod(os.path.join(server.dir, "fifo"), 0o644)
    os.chown(os.path.join(server.htdocs, ".htaccess"), 65534, 65534)


@http1_only
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of several owners")
@pytest.mark.parametrize("file,reason", [
    ("own", None),
    ("others", "must belong to the owner of the .htaccess file"),
    ("link", "must belong to the owner of the .htaccess file"),
    ("fifo", "must be a regular file"),
    ("httpd.conf", "must belong to the owner of the .htaccess file"),
])
def test_a_tenant_reads_key_files_of_its_own_only(tenant, file, reason):
    site = tenant("")
    with open(os.path.join(site.server.htdocs, ".htaccess"), "w") as f:
        f.write(f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 file:{site.server.dir}/{file}\n")
    key_files(site.server)
    if reason is None:
        site.secret = OTHER_SECRET
        check_round_trip(site)
    else:
        assert request(site.server, "GET", f"{PATH}?match=a", host=site.host).status == 500
        assert reason in site.server.log()


@pytest.mark.parametrize("name", ["other.example", "shared", "tenant.example"])
def test_a_tenants_hub_name_reaches_no_hub_of_others(tenant, name):
    shared = "MercureHubName shared\n" if name == "shared" else ""
    site = tenant(f"{HUB}MercureHubName {name}\n", other=OTHER_HUB + shared)
    other = Site(site.server, "other.example", OTHER_SECRET)
    theirs, ours = other.stream("*", ["*"]), site.stream("*", ["*"])
    id = other.published("a", "theirs")
    site.published("a", "ours")
    other.published("a", "theirs too")
    site.published("a", "ours too")
    assert theirs.data(2) == ["theirs", "theirs too"]
    assert ours.data(2) == ["ours", "ours too"]
    assert site.stream("*", last_event_id=id).headers["mercure-last-event-id"] == "earliest"
    theirs.close()
    ours.close()


IDENTITIES = [
    "{}",
    "<Files *>\n{}</Files>\n",
    "<If \"true\">\n{}</If>\n",
    "<FilesMatch .*>\n{}</FilesMatch>\n",
]


@pytest.mark.parametrize("way", IDENTITIES, ids=["plain", "files", "if", "files-match"])
@pytest.mark.parametrize("admin", ["", "MercureHubName shared\n"], ids=["", "shared"])
def test_tenants_of_one_virtual_host_are_kept_apart_in_whatever_section(make_server, way, admin):
    """Directories for hosts: both tenants' hubs have the same host's name and path."""
    server = make_server(hub="", start=False, modules=["vhost_alias"])
    for name, hub in (("one.example", HUB), ("two.example", OTHER_HUB)):
        os.makedirs(os.path.join(server.htdocs, name))
        with open(os.path.join(server.htdocs, name, ".htaccess"), "w") as f:
            f.write(way.format(hub))
    append(server, f"<Directory {server.htdocs}>\nRequire all granted\nAllowOverride AuthConfig\n</Directory>\n"
                   f"<VirtualHost 127.0.0.1:{server.port}>\nServerName hosting.example\n{server.tls_lines}ServerAlias *.example\n"
                   f"UseCanonicalName Off\nVirtualDocumentRoot {server.htdocs}/%0\n{admin}</VirtualHost>\n")
    server.start()
    one, two = Site(server, "one.example"), Site(server, "two.example", OTHER_SECRET)
    spy = one.stream("*", ["*"])
    stream = two.stream("*", ["*"])
    two.published("a", "the secret of two", fields=[("private", "on")])
    one.published("a", "the end")
    assert spy.data() == ["the end"]
    assert stream.data() == ["the secret of two"]


@http1_only
@pytest.mark.parametrize("line", ["MercureAnonymous On", "MercureCORSOrigins https://evil.example", "MercureCookieName x",
                                  "MercurePublishOrigins https://evil.example", "MercureCompatibility 8"])
def test_who_opens_a_hub_in_htaccess_opens_one_of_its_own(tenant, line):
    """The administrator's hub may be shared with other hosts: a tenant of one does not decide who uses it."""
    closed = f"MercureHub On\nMercureHubName shared\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"
    site = tenant(line + "\n", admin=closed, other=closed)
    other = Site(site.server, "other.example")
    stream, theirs = site.stream("*", ["*"]), other.stream("*", ["*"])
    other.published("a", "of the shared hub")
    site.published("a", "of the tenant's")
    other.published("a", "end")
    assert stream.data() == ["of the tenant's"]
    assert theirs.data(2) == ["of the shared hub", "end"]


def streams_let_in(site, most=6):
    """How many streams a hub takes, up to `most`."""
    streams = []
    try:
        while len(streams) < most:
            streams.append(site.stream("a"))
    except Refused as refused:
        assert refused.answer.status == 429
    for stream in streams:
        stream.close()
    return len(streams)


LIFT = [
    "{}",
    "<Files *>\n{}\n</Files>",
    "<If \"true\">\n{}\n</If>",
    "<Files *>\nMercureAnonymous On\n</Files>\n<Files *>\n{}\n</Files>",
    "<If \"true\">\nMercureAnonymous On\n</If>\n<If \"true\">\n{}\n</If>",
]
LIFT_IDS = ["plain", "files", "if", "second-files", "second-if"]


@http1_only
@pytest.mark.parametrize("way", LIFT, ids=LIFT_IDS)
@pytest.mark.parametrize("value,most", [("0", 3), ("5", 3), ("1000000000", 3), ("2", 2)])
def test_a_tenant_only_tightens_the_number_of_subscribers(tenant, way, value, most):
    site = tenant(HUB + way.format(f"MercureMaxSubscribers {value}") + "\n", admin="MercureMaxSubscribers 3")
    assert streams_let_in(site) == most


@pytest.mark.parametrize("value,most", [("0", 3), ("5", 3), ("2", 2)])
def test_a_tenant_only_tightens_the_number_of_subscribers_per_client(tenant, value, most):
    site = tenant(f"{HUB}MercureMaxSubscribersPerClient {value}\n", admin="MercureMaxSubscribersPerClient 3")
    assert streams_let_in(site) == most


@http1_only
@pytest.mark.parametrize("way", LIFT, ids=LIFT_IDS)
@pytest.mark.parametrize("admin,value,most", [("MercureMaxBody 1000", "32M", 1000), ("MercureMaxBody 1000", "500", 500),
                                              ("", "32M", 1 << 20)])
def test_a_tenant_only_tightens_the_size_of_a_body(tenant, way, admin, value, most):
    site = tenant(HUB + way.format(f"MercureMaxBody {value}") + "\n", admin=admin)
    assert site.publish("", body=b"topic=a&data=".ljust(most, b"x")).status == 200
    assert site.publish("", body=b"topic=a&data=".ljust(most + 1, b"x")).status == 413


@http1_only
@pytest.mark.parametrize("way", LIFT, ids=LIFT_IDS)
@pytest.mark.parametrize("value,kept", [("0", 3), ("10", 3), ("2", 2)])
def test_a_tenant_only_tightens_the_history(tenant, way, value, kept):
    site = tenant(HUB + way.format(f"MercureHistory events={value}") + "\n", admin="MercureHistory events=3")
    for n in range(6):
        site.published("a", str(n))
    stream = site.stream("a", last_event_id="earliest")
    assert stream.data() == [str(6 - kept)]
    stream.close()


def test_what_the_admin_says_of_the_location_stands_above_the_tenant(tenant):
    site = tenant(f"{HUB}MercureMaxSubscribers 5\n", admin=f"<Location {PATH}>\nMercureMaxSubscribers 2\n</Location>")
    assert streams_let_in(site) == 2


def test_a_tenants_issuers_replace_those_of_the_admin(tenant):
    site = tenant(f"MercureIssuer {ISSUER} both HS256 {OTHER_SECRET}\n", admin=HUB)
    assert site.publish("a").status == 401
    site.secret = OTHER_SECRET
    check_round_trip(site)


# --- where the hub is ---

def test_the_path_moves_the_hub(make_server):
    server = make_server(hub="", start=False)
    virtual_host(server, "moved.example", f"{HUB}MercurePath /live/hub")
    server.start()
    site = Site(server, "moved.example", path="/live/hub")
    check_round_trip(site)
    assert request(server, "GET", f"{PATH}?match=a", host=site.host).status == 404
    assert request(server, "GET", "/live/hub/?match=a", host=site.host).status == 404
    assert site.publish("/live/hub/x").status == 400, "the reserved namespace moves too"
    assert site.publish(f"{PATH}/x").status == 200
    document = json.loads(request(server, "GET", "/.well-known/oauth-protected-resource/live/hub", host=site.host).body)
    assert document["resource"] == f"{server.scheme}://{site.host}/live/hub"
    assert request(server, "GET", METADATA, host=site.host).status == 404


def test_an_origin_that_is_not_listed_is_421(make_server):
    server = make_server(config="MercurePublicURLs @OWN@ https://www.example.com:444", start=False)
    server.rewrite("@OWN@", server.origin)
    server.start()
    published(server, "a", "x")
    for host in (f"elsewhere.example:{server.port}", "localhost", f"127.0.0.1:{server.port}", "www.example.com"):
        assert request(server, "GET", f"{PATH}?match=a", host=host).status == 421
        assert publish(server, "a", "x", host=host).status == 421
        assert request(server, "GET", METADATA, host=host).status == 421
    assert request(server, "GET", "/index.html", host="elsewhere.example").status == 200, "the rest of the site stays"


def test_the_resource_identifier_is_what_the_audience_must_hold(make_server):
    server = make_server(config="MercureResourceIdentifier https://public.example/hub")
    assert publish(server, "a").status == 401
    assert publish(server, "a", bearer=token(server, ["*"], aud="https://public.example/hub")).status == 200
    assert json.loads(request(server, "GET", METADATA).body)["resource"] == "https://public.example/hub"


def test_the_metadata_document(server):
    answer = request(server, "GET", METADATA)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body) == {
        "resource": f"{server.origin}{PATH}",
        "bearer_methods_supported": ["header"],
        "authorization_details_types_supported": ["https://mercure.rocks/authorization-detail"],
        "mercure_cookie": "__Secure-mercure_access_token",
    }
    head = request(server, "HEAD", METADATA)
    assert (head.status, head.body) == (200, "")
    answer = request(server, "POST", METADATA, body=b"")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


# --- the rest of the site ---

WORDPRESS = """RewriteEngine On
RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]
RewriteBase /
RewriteRule ^index\\.html$ - [L]
RewriteCond %{REQUEST_FILENAME} !-f
RewriteCond %{REQUEST_FILENAME} !-d
RewriteRule . /index.html [L]
"""


def check_beside_the_site(site, page="an ordinary page\n"):
    check_round_trip(site)
    assert request(site.server, "GET", METADATA, host=site.host).body.startswith("{")
    assert request(site.server, "GET", "/any/page", host=site.host).body == page


def test_a_front_controller_in_htaccess_leaves_the_hub(tenant):
    check_beside_the_site(tenant(WORDPRESS, admin=HUB, allow="All"))


def test_a_front_controller_and_the_hub_in_the_same_htaccess(tenant):
    check_beside_the_site(tenant(WORDPRESS + HUB, allow="All"))


@pytest.mark.parametrize("hub_in", ["admin", "htaccess"])
def test_a_front_controller_that_replaces_the_query_leaves_the_hubs(tenant, hub_in):
    rules = WORDPRESS.replace("RewriteRule . /index.html [L]", "RewriteRule ^(.*)$ /index.html?/$1 [L]")
    assert rules != WORDPRESS
    check_beside_the_site(tenant(rules + HUB, allow="All") if hub_in == "htaccess" else tenant(rules, admin=HUB, allow="All"))


@pytest.mark.parametrize("rule", [
    "RewriteRule . /index.html [L]",
    "RewriteRule ^ /index.html [PT,L]",
    "RewriteRule ^/.*$ /index.html [QSA,END]",
    "RewriteRule ^(.*)$ /index.html?path=$1 [PT,L]",
    "FallbackResource /index.html",
    "ErrorDocument 404 /index.html",
])
def test_a_front_controller_in_the_server_leaves_the_hub(make_server, rule):
    server = make_server(hub="", start=False)
    virtual_host(server, "site.example", f"{HUB}RewriteEngine On\n{rule}")
    server.start()
    check_beside_the_site(Site(server, "site.example"))


@http1_only
def test_a_proxy_for_the_whole_site_leaves_the_hub(make_server):
    server = make_server(hub="", modules=["proxy", "proxy_http"], start=False)
    virtual_host(server, "site.example", f"{HUB}ProxyPass / http://127.0.0.1:{server.port}/\nProxyPassReverse / "
                                         f"http://127.0.0.1:{server.port}/")
    server.start()
    site = Site(server, "site.example")
    check_round_trip(site)
    assert request(server, "GET", METADATA, host=site.host).body.startswith("{")
    assert request(server, "GET", "/index.html", host=site.host).body == "an ordinary page\n"


@pytest.mark.parametrize("location", [f"<Location {PATH}>\n{{}}\n</Location>", "<Location />\n{}\n</Location>",
                                      "<LocationMatch mercure>\n{}\n</LocationMatch>"])
@pytest.mark.parametrize("require,status", [("Require all denied", 403), ("Require ip 192.0.2.0/24", 403),
                                            ("Require ip 127.0.0.1", 200), ("Require not ip 127.0.0.1", 403),
                                            ("Require method GET POST", 200)])
def test_the_access_rules_of_the_path_apply(make_server, location, require, status):
    if "not" in require:
        require = f"<RequireAll>\nRequire all granted\n{require}\n</RequireAll>"
    server = make_server(config=location.format(require))
    assert publish(server, "a").status == status
    if status == 200:
        Stream(server, "a").close()
    else:
        with pytest.raises(Refused) as refused:
            Stream(server, "a")
        assert refused.value.answer.status == status


def test_access_rules_of_a_tenant_apply(tenant):
    site = tenant(f"{HUB}Require all denied\n")
    assert request(site.server, "GET", f"{PATH}?match=a", host=site.host).status == 403
    assert site.publish("a").status == 403


def test_a_hub_reached_by_an_ipv6_address(make_server):
    """The brackets belong to the origin: in the resource identifier, and in what relative patterns are relative to."""
    server = make_server(config="MercurePublishOrigins http://[::2]:8080\n")
    host = f"[::1]:{server.port}"
    hub = f"{server.scheme}://{host}{PATH}"
    answer = request(server, "GET", METADATA, host=host)
    assert json.loads(answer.body)["resource"] == hub
    stream = Stream(server, [], query="&match_urlpattern=/books/:id", host=host)
    bearer = sign(claims(server, ["*"], aud=hub))
    published(server, f"{server.scheme}://{host}/books/1", "1", bearer=bearer, host=host)
    assert stream.data() == ["1"]
    for origin, status in (("http://[::2]:8080", 200), (f"{server.scheme}://{host}", 200), ("http://[::3]:8080", 400)):
        cookie = {"Cookie": f"__Secure-mercure_access_token={bearer}", "Origin": origin}
        assert publish(server, "a", bearer="", headers=cookie, host=host).status == status, origin
