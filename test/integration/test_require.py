"""httpd's own access control on a hub's path: it decides first, as on any resource, and knows nothing of tokens."""

import base64
import os
import subprocess

import pytest

from client import PATH, Refused, Stream, publish, published, request, token
from matrix import PROTOCOLS
from server import ISSUER, SECRET, wait_for

from test_blocking import H2Stream

METADATA = f"/.well-known/oauth-protected-resource{PATH}"
COOKIE = "t"
HUB = f"MercureHub On\nMercureIssuer {ISSUER} both HS256 {SECRET}\nMercureCookieName {COOKIE}\n"
BASIC = "AuthType Basic\nAuthName site\nAuthBasicProvider file\nAuthUserFile DIR/users\n"
MODULES = ["authn_core", "authn_file", "auth_basic", "authz_user", "authz_groupfile"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def basic(user="ann", password="secret of ann"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(params=["Location", "Directory", ".htaccess", "Location h2"])
def guarded(request, make_server):
    """Start a server whose hub's path has these lines, in each of the places where they may stand."""
    where, _, protocol = request.param.partition(" ")

    def make(lines, hub=HUB, main="", **options):
        server = make_server(hub=hub, modules=MODULES + options.pop("modules", []), start=False, main=main,
                             **{**PROTOCOLS[protocol or "plain"], **options})
        subprocess.run(["htpasswd", "-bcB", "-C", "4", f"{server.dir}/users", "ann", "secret of ann"], check=True, capture_output=True)
        subprocess.run(["htpasswd", "-bB", "-C", "4", f"{server.dir}/users", "bob", "secret of bob"], check=True, capture_output=True)
        os.chmod(f"{server.dir}/users", 0o644)
        lines = lines.replace("DIR", server.dir)
        if where == ".htaccess":
            with open(f"{server.htdocs}/.htaccess", "w") as f:
                f.write(lines)
        else:
            place = PATH if where == "Location" else server.htdocs
            with open(server.config_file) as f:
                text = f.read()
            at = text.rindex("</VirtualHost>")
            with open(server.config_file, "w") as f:
                f.write(f"{text[:at]}<{where} {place}>\n{lines}\n</{where}>\n{text[at:]}")
        return server.start()
    return make


def every_way(server, headers):
    """Each way to ask the hub something, with a good token, a bad one, and none."""
    good, bad = token(server, ["a"], ["a"]), token(server, ["a"], ["a"], exp=1)
    for carried in ({}, {"Cookie": f"{COOKIE}={good}"}, {"Cookie": f"{COOKIE}={bad}"}, {"Authorization": f"Bearer {good}"},
                    {"Authorization": f"Bearer {bad}"}, {"Authorization": "Bearer"}, {"Cookie": f"{COOKIE}=not-a-token"}):
        for method, path, body in (("GET", f"{PATH}?match=a", None), ("HEAD", f"{PATH}?match=a", None), ("GET", PATH, None),
                                   ("QUERY", PATH, b"match=a"), ("POST", PATH, b"topic=a"), ("POST", PATH, b""),
                                   ("PUT", PATH, b""), ("OPTIONS", PATH, None)):
            yield request(server, method, path, {**FORM, **headers, **carried}, body)


def check_denied(server, status, headers=None):
    """The refusal is httpd's, and none of ours was asked."""
    before = server.log().count("mercure: hub")
    for answer in every_way(server, headers or {}):
        assert answer.status == status
        challenge = answer.headers.get_all("WWW-Authenticate")
        assert challenge == (['Basic realm="site"'] if status == 401 else None)
        assert answer.headers["Content-Type"].startswith("text/html")
    assert server.log().count("mercure: hub") == before


def check_let_in(server, headers=None):
    """The hub decides: by its tokens, and with its own answers."""
    headers = headers or {}
    good = {"Cookie": f"{COOKIE}={token(server, ['a'], ['a'])}", "Origin": server.origin}
    bad = {"Cookie": f"{COOKIE}={token(server, ['a'], ['a'], exp=1)}"}
    ours = f'resource_metadata="{server.origin}{METADATA}"'
    answer = request(server, "GET", f"{PATH}?match=a", headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, f"Bearer {ours}")
    answer = request(server, "GET", f"{PATH}?match=a", {**headers, **bad})
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, f'Bearer error="invalid_token", {ours}')
    answer = request(server, "POST", PATH, {**FORM, **headers, **good}, b"topic=b")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (403, f'Bearer error="insufficient_scope", {ours}')
    assert request(server, "GET", PATH, {**headers, **good}).status == 400
    assert request(server, "PUT", PATH, headers).status == 405
    stream = Stream(server, "a", headers={**headers, **good})
    answer = request(server, "POST", PATH, {**FORM, **headers, **good}, b"topic=a&data=x&private=1")
    assert answer.status == 200
    assert stream.take(1) == [{"id": answer.body, "data": "x"}]
    assert server.http2 or stream.headers["connection"] == "close", "held"
    assert "holds a worker" not in server.log()
    stream.close()


# --- rules that need no user ---

@pytest.mark.parametrize("rules,status", [
    ("Require all denied", 403), ("Require ip 192.0.2.1", 403), ("Require not ip 127.0.0.1", 403), ("Require host example.com", 403),
    ("Require env letmein", 403), ("Require expr %{HTTP_USER_AGENT} == 'friend'", 403), ("Require method GET\nRequire ip 192.0.2.1", 200),
    ("<RequireAll>\nRequire all granted\nRequire not ip 127.0.0.1\n</RequireAll>", 403),
    ("Require all granted", 200), ("Require ip 127.0.0.1", 200), ("Require local", 200), ("Require host localhost", 200),
    ("SetEnvIf Host . letmein\nRequire env letmein", 200), ("Require expr %{HTTP_HOST} =~ /localhost/", 200),
    ("<RequireAll>\nRequire all granted\nRequire not ip 192.0.2.1\n</RequireAll>", 200),
], ids=lambda v: str(v)[:40])
def test_rules_without_a_user(guarded, rules, status):
    if rules.startswith("Require not"):
        rules = f"<RequireAll>\nRequire all granted\n{rules}\n</RequireAll>"
    if "SetEnvIf" in rules:
        server = guarded(rules.split("\n")[1], config=rules.split("\n")[0] + "\n")
    else:
        server = guarded(rules)
    if "Require method" in rules:
        assert request(server, "GET", f"{PATH}?match=a").headers["WWW-Authenticate"].startswith("Bearer ")
        assert request(server, "HEAD", f"{PATH}?match=a").headers["WWW-Authenticate"].startswith("Bearer ")
        for method in ("POST", "QUERY", "PUT", "OPTIONS"):
            assert request(server, method, PATH, FORM, b"").status == 403
    elif status == 403:
        check_denied(server, 403)
    else:
        check_let_in(server)


def test_env_and_expr_look_at_the_request(guarded):
    server = guarded("Require env letmein\nRequire expr %{HTTP_USER_AGENT} == 'friend'", config="SetEnvIf X-Key ^open$ letmein\n")
    check_denied(server, 403)
    check_denied(server, 403, {"X-Key": "shut", "User-Agent": "foe"})
    check_let_in(server, {"X-Key": "open"})
    check_let_in(server, {"User-Agent": "friend"})


def test_the_address_is_that_of_remoteip(guarded):
    server = guarded("Require ip 198.51.100.0/24", modules=["remoteip"],
                     config="RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n")
    check_denied(server, 403, {"X-Forwarded-For": "192.0.2.1"})
    check_let_in(server, {"X-Forwarded-For": "198.51.100.7"})


def test_who_may_publish_by_address(guarded):
    server = guarded("<Limit POST>\nRequire ip 192.0.2.1\n</Limit>")
    assert publish(server, "a").status == 403
    assert "WWW-Authenticate" not in publish(server, "a").headers
    Stream(server, "a", bearer=token(server, subscribe=["a"])).close()


def test_limit_except_knows_query(guarded):
    server = guarded("<LimitExcept GET POST>\nRequire all denied\n</LimitExcept>")
    assert request(server, "QUERY", PATH, FORM, b"match=a").status == 403
    assert request(server, "OPTIONS", PATH).status == 403
    assert publish(server, "a").status == 200


def test_a_let_in_anonymous_subscriber_needs_no_token(guarded):
    server = guarded("Require ip 127.0.0.1", hub=HUB + "MercureAnonymous On\n")
    stream = Stream(server, "a")
    published(server, "a", "x")
    assert stream.data() == ["x"]
    stream.close()


# --- users ---

def test_basic_authentication_comes_before_tokens(guarded):
    server = guarded(BASIC + "Require valid-user")
    check_denied(server, 401)
    for wrong in (basic("ann", "wrong"), basic("eve"), {"Authorization": "Basic !"}, {"Authorization": "Basic"}):
        answer = request(server, "GET", f"{PATH}?match=a", {**wrong, "Cookie": f"{COOKIE}={token(server, subscribe=['a'])}"})
        assert (answer.status, answer.headers.get_all("WWW-Authenticate")) == (401, ['Basic realm="site"'])
    assert "mercure: hub" not in server.log()


def test_a_user_who_is_let_in_shows_the_token_in_the_cookie(guarded):
    server = guarded(BASIC + "Require valid-user")
    check_let_in(server, basic())
    wait_for(lambda: "200" in server.access(), "the access log")


def test_some_users_only(guarded):
    server = guarded(BASIC + "Require user bob")
    answer = request(server, "GET", f"{PATH}?match=a", basic())
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="site"')
    check_let_in(server, basic("bob", "secret of bob"))


def test_a_user_or_an_address(guarded):
    """Basic is asked for only where the address does not do; then a Bearer token may come in the header."""
    server = guarded(BASIC + "<RequireAny>\nRequire ip 127.0.0.1\nRequire valid-user\n</RequireAny>")
    stream = Stream(server, "a", bearer=token(server, subscribe=["a"]))
    published(server, "a", "x")
    assert stream.data() == ["x"]
    stream.close()


def test_a_user_of_a_form_may_show_the_token_in_the_header(guarded):
    server = guarded("AuthType form\nAuthName site\nAuthFormProvider file\nAuthUserFile DIR/users\nRequire valid-user",
                     modules=["request", "session", "session_cookie", "auth_form"],
                     config="Session On\nSessionCookieName session path=/\n")
    session = "session=site-user=ann&site-pw=secret+of+ann"
    bad = token(server, ["a"], exp=1)
    assert publish(server, "a").headers.get("WWW-Authenticate") is None, "httpd asks for the form"
    assert publish(server, "a", headers={"Cookie": session}).status == 200
    assert publish(server, "a", headers={"Cookie": f"{session}; {COOKIE}={bad}"}).status == 200
    assert publish(server, "a", bearer=bad, headers={"Cookie": f"{session}; {COOKIE}={token(server, ['a'])}",
                                                     "Origin": server.origin}).status == 401


def test_csrf_is_checked_for_the_cookie_of_a_user(guarded):
    server = guarded(BASIC + "Require valid-user")
    cookie = {"Cookie": f"{COOKIE}={token(server, ['a'])}"}
    answer = request(server, "POST", PATH, {**FORM, **basic(), **cookie, "Origin": "https://evil.example"}, b"topic=a")
    assert (answer.status, answer.body) == (400, "invalid_request\n")


def test_a_preflight_has_no_password(guarded):
    """A browser sends none with it, so who wants other origins and passwords lets OPTIONS in."""
    cors = "MercureCORSOrigins https://app.example\n"
    ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    server = guarded(BASIC + "Require valid-user", config=cors)
    assert request(server, "OPTIONS", PATH, ask).status == 401
    open_to_options = guarded(BASIC + "Require method OPTIONS\nRequire valid-user", config=cors)
    answer = request(open_to_options, "OPTIONS", PATH, ask)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "https://app.example")
    check_let_in(open_to_options, basic())


# --- metadata, blocking streams ---

def test_the_metadata_has_rules_of_its_own(make_server):
    server = make_server(hub=HUB, config=f"<Location {PATH}>\nRequire all denied\n</Location>\n")
    assert request(server, "GET", f"{PATH}?match=a").status == 403
    assert request(server, "GET", METADATA).status == 200
    server = make_server(hub=HUB, config=f"<Location {METADATA}>\nRequire all denied\n</Location>\n")
    assert request(server, "GET", METADATA).status == 403
    assert publish(server, "a").status == 200


@pytest.mark.parametrize("rules,status", [("Require all denied", 403), ("Require ip 127.0.0.1", 200)])
def test_blocking_streams(guarded, rules, status):
    server = guarded(rules, hub=HUB + "MercureAnonymous On\n", tls=True, http2=False, modules=["http2"], config="Protocols h2 http/1.1\n")
    stream = H2Stream(server)
    try:
        assert (stream.status, "Bearer" in str(stream.headers)) == (status, False)
        if status == 200:
            sent = published(server, "a", "x")
            assert [stream.line(), stream.line(), stream.line()] == [f"id: {sent}", "data: x", ""]
    finally:
        stream.close()


def test_a_held_stream_is_refused_before_it_is_held(guarded):
    server = guarded("Require all denied", hub=HUB + "MercureAnonymous On\n")
    for bearer in (None, "bad", token(server, subscribe=["a"])):
        with pytest.raises(Refused) as refused:
            Stream(server, "a", bearer=bearer)
        assert refused.value.answer.status == 403
        assert "www-authenticate" not in refused.value.answer.headers
