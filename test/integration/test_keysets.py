"""Key sets of an identity provider: fetched by brokerd, rotated while streams go on, kept when the provider is gone or
answers garbage. PROTOCOL 5.
"""

import concurrent.futures
import glob
import json
import os
import signal
import subprocess
import tempfile
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from client import Refused, Stream, claims, publish, published
from provider import Key, Provider, key_set
from server import BUILD, ISSUER, SECRET, wait_for

ISS = "https://login.example"
ALL = "RS256,RS384,RS512,PS256,PS384,PS512,ES256,ES384,ES512,EdDSA"
HUB = f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"


@pytest.fixture
def open_dir():
    """A directory that brokerd and httpd's children can read: pytest's own is closed."""
    with tempfile.TemporaryDirectory(prefix="mp", dir="/tmp") as path:
        os.chmod(path, 0o755)
        yield path


@pytest.fixture
def provider(open_dir):
    one = Provider(open_dir)
    yield one
    one.close()


@pytest.fixture
def make_hub(make_server, provider):
    """make(url...) starts a server whose issuers' key sets are at these URLs; brokerd refreshes every second at most."""
    def make(*issuers, refresh=1, main="", ca=True, start=True, broker_environment="", **options):
        lines = issuers or (f"MercureIssuer {ISS} both {ALL} jwks:{provider.url()}",)
        server = make_server(hub=HUB + "\n".join(lines) + "\n", start=False, **options)
        program = os.path.join(server.dir, "brokerd")
        with open(program, "w") as f:
            f.write(f'#!/bin/sh\n{broker_environment}exec {BUILD}/brokerd --keyset-min-refresh {refresh} "$@"\n')
        os.chmod(program, 0o755)
        with open(server.config_file) as f:
            text = f.read()
        with open(server.config_file, "w") as f:
            f.write(text.replace(f"MercureBrokerProgram {BUILD}/brokerd",
                                 f"MercureBrokerProgram {program}\n{main}\n" +
                                 (f"MercureKeySetCA {provider.ca}\n" if ca else "")))
        return server.start() if start else server
    return make


def token_of(server, key, iss=ISS, header=None, **more):
    return key.sign({**claims(server, ["a"], ["a"]), "iss": iss, **more}, **(header or {}))


def status(server, key, **more):
    """What a publication with a token of this key is answered."""
    return publish(server, "a", "x", bearer=token_of(server, key, **more)).status


def becomes(server, key, wanted, seconds=10.0, **more):
    wait_for(lambda: status(server, key, **more) == wanted, f"the answer {wanted} to a token of {key.kid}", seconds)


def stored_sets(server):
    return glob.glob(f"{server.state}/keysets/*")


# --- what is accepted ---

@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_keys_of_every_kind_are_accepted(make_hub, provider, mpm):
    keys = [Key("rsa", "RS256"), Key("pss", "PS256"), Key("p256"), Key("p384", "ES384"), Key("p521", "ES512"),
            Key("ed", "EdDSA")]
    provider.serve(*keys)
    server = make_hub(mpm=mpm, **({"mpm_config": "StartServers 2\nMaxRequestWorkers 4\n"} if mpm == "prefork" else {}))
    for key in keys:
        assert status(server, key) == 200, key.kid
    for key in keys:
        stream = Stream(server, "a", bearer=token_of(server, key)) if mpm == "event" else None
        if stream:
            published(server, "a", key.kid, fields=[("private", "on")], bearer=token_of(server, keys[0]))
            assert stream.data() == [key.kid]
            stream.close()
    assert provider.count() == 1
    assert "has 6 keys (0 were skipped)" in server.log()
    assert f"the key set of {provider.url()} " in server.log()


def test_a_missing_set_of_the_other_role_says_nothing_of_a_token(make_hub, provider, open_dir):
    """503, come back, is for a token that may yet be good: not while only the subscribers' set is missing."""
    good, unknown = Key("good"), Key("unknown")
    path = os.path.join(open_dir, "publishers.json")
    with open(path, "wb") as f:
        f.write(key_set(good))
    server = make_hub(f"MercureIssuer {ISS} publisher ES256 jwks:{path}",
                      f"MercureIssuer {ISS} subscriber ES256 jwks:{provider.url('/nothing')}")
    assert status(server, good) == 200
    assert status(server, unknown) == 401
    with pytest.raises(Refused) as refused:
        Stream(server, "a", bearer=token_of(server, good))
    assert refused.value.answer.status == 503


def test_only_the_configured_set_algorithms_and_roles_count(make_hub, provider):
    good, other, evil = Key("a", "RS256"), Key("b"), Key("evil")
    provider.serve(good)
    provider.serve(other, path="/other")
    provider.serve(evil, path="/evil")
    server = make_hub(f"MercureIssuer {ISS} publisher RS256,ES256 jwks:{provider.url()}",
                      f"MercureIssuer https://other.example both ES256 jwks:{provider.url('/other')}")
    assert status(server, good) == 200
    assert status(server, other, iss="https://other.example") == 200
    assert status(server, good, iss="https://other.example") == 401  # another issuer's key
    assert status(server, other) == 401
    with pytest.raises(Refused) as refused:  # another role
        Stream(server, "a", bearer=token_of(server, good))
    assert refused.value.answer.status == 401
    good.algorithm = "PS256"  # the key's own kind, but not listed
    assert status(server, good) == 401
    header = {"jku": provider.url("/evil"), "jwk": evil.jwk(), "x5u": provider.url("/evil")}
    assert status(server, evil, header=header) == 401
    assert provider.count("/evil") == 0


def test_a_public_key_is_no_hmac_secret(make_hub, provider):
    key = Key("a", "RS256")
    provider.serve(key, {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct"})
    server = make_hub()
    assert status(server, key) == 200
    assert "has 1 keys (1 were skipped)" in server.log()
    pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret, kid in ((pem, "a"), (b"secret" * 6, "oct")):
        head = jwt.utils.base64url_encode(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": kid}).encode())
        body = jwt.utils.base64url_encode(json.dumps({**claims(server, ["a"]), "iss": ISS}).encode())
        text = head + b"." + body
        signature = jwt.utils.base64url_encode(jwt.get_algorithm_by_name("HS256").sign(text, secret)
                                               if hasattr(jwt, "get_algorithm_by_name") else hmac_of(text, secret))
        assert publish(server, "a", "x", bearer=(text + b"." + signature).decode()).status == 401


def hmac_of(text, secret):
    import hashlib
    import hmac
    return hmac.new(secret, text, hashlib.sha256).digest()


# --- rotation ---

def test_keys_rotate_while_streams_go_on(make_hub, provider):
    old, new = Key("old", "RS256"), Key("new")
    provider.serve(old)
    server = make_hub()
    children = server.child_pids()
    stream = Stream(server, "a", bearer=token_of(server, old))
    kept = token_of(server, old)
    assert publish(server, "a", "1", bearer=kept).status == 200
    assert publish(server, "a", "2", bearer=kept).status == 200  # now it is a cached one
    provider.serve(old, new)
    fetched = provider.count()
    assert status(server, new) == 200  # the very first token with the new key waits for the fetch
    assert provider.count() == fetched + 1
    assert publish(server, "a", "3", bearer=kept).status == 200
    provider.serve(new)
    unknown = Key("unknown")
    wait_for(lambda: status(server, unknown) == 401 and provider.count() > fetched + 1, "a fetch for want of a key")
    wait_for(lambda: publish(server, "a", "4", bearer=kept).status == 401, "a removed key's token is refused, also a cached one")
    assert status(server, old) == 401
    assert status(server, new) == 200
    published(server, "a", "last")
    data = []
    while "last" not in data:
        data += stream.data()
    assert data[:2] == ["1", "2"]
    assert not stream.ended
    assert server.child_pids() == children
    stream.close()


def test_a_set_is_refreshed_on_schedule_as_cache_control_says(make_hub, provider):
    short, long, unsaid, none = Key("s"), Key("l"), Key("u"), Key("n")
    provider.serve(short, path="/short", Cache_Control="public, max-age=1")
    provider.serve(none, path="/none", Cache_Control="no-store")
    provider.serve(long, path="/long", Cache_Control="max-age=3600")
    provider.serve(unsaid, path="/unsaid")
    server = make_hub(*(f"MercureIssuer https://{name}.example both ES256 jwks:{provider.url('/' + name)}"
                        for name in ("short", "long", "unsaid", "none")))
    for key, name in ((short, "short"), (long, "long"), (unsaid, "unsaid"), (none, "none")):
        assert status(server, key, iss=f"https://{name}.example") == 200
    wait_for(lambda: provider.count("/short") >= 3 and provider.count("/none") >= 3, "refreshes every two seconds")
    assert provider.count("/long") == 1
    assert provider.count("/unsaid") == 1
    fresh = Key("fresh")
    provider.serve(fresh, path="/short")
    becomes(server, short, 401, iss="https://short.example")  # without any token that names an unknown key
    assert status(server, fresh, iss="https://short.example") == 200


def test_a_flood_of_unknown_keys_fetches_once_in_the_interval(make_hub, provider):
    known, unknown = Key("known"), Key("unknown")
    provider.serve(known)
    server = make_hub(refresh=3600)
    assert status(server, known) == 200
    assert provider.count() == 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: status(server, unknown), range(80)))
        assert set(answers) == {401}
        wait_for(lambda: provider.count() == 2, "one fetch for want of a key")
        began = time.monotonic()
        while time.monotonic() - began < 2.5:  # children ask brokerd once a second: it must say no
            assert set(pool.map(lambda n: status(server, unknown), range(20))) == {401}
    assert provider.count() == 2
    assert status(server, known) == 200


def test_a_key_that_comes_within_the_interval_is_fetched_at_its_end(make_hub, provider):
    known, new = Key("known"), Key("new")
    provider.serve(known)
    server = make_hub(refresh=3)
    assert status(server, known) == 200
    assert status(server, Key("unknown")) == 401
    assert provider.count() == 2
    began = time.monotonic()
    provider.serve(known, new)
    assert status(server, new) == 401
    becomes(server, new, 200)
    assert provider.count() == 3
    assert time.monotonic() - began > 2


def test_one_provider_that_hangs_does_not_hold_up_another(make_hub, provider):
    key, new = Key("a"), Key("b")
    provider.serve(key)
    provider.answers["/hangs"] = provider.hang
    server = make_hub(f"MercureIssuer https://hangs.example both ES256 jwks:{provider.url('/hangs')}",
                      f"MercureIssuer {ISS} both ES256 jwks:{provider.url()}")
    began = time.monotonic()
    answer = publish(server, "a", "x", bearer=token_of(server, key, iss="https://hangs.example"))
    waited = time.monotonic() - began
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")  # its set was never there
    assert 1.5 < waited < 4
    began = time.monotonic()
    assert status(server, key, iss="https://hangs.example") == 503
    assert time.monotonic() - began < 1  # nobody waits again
    assert status(server, key) == 200
    provider.serve(key, new)
    assert status(server, new) == 200
    began = time.monotonic()
    server.stop()  # brokerd does not wait for the one that hangs
    assert time.monotonic() - began < 5
    assert "brokerd: stopped" in server.log()


def test_a_burst_of_tokens_with_a_new_key_is_not_refused_for_long(make_hub, provider):
    old, new = Key("old"), Key("new")
    provider.serve(old)
    server = make_hub()
    assert status(server, old) == 200
    provider.serve(old, new)
    fetched = provider.count()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: status(server, new), range(16)))
        assert set(answers) <= {200, 401} and 200 in answers  # a few wait for the fetch, others are refused meanwhile
        assert set(pool.map(lambda n: status(server, new), range(16))) == {200}
    assert provider.count() == fetched + 1


# --- the provider is gone, or out of its mind ---

def test_known_keys_outlive_the_provider_brokerd_and_httpd(make_hub, provider):
    key, new = Key("a", "EdDSA"), Key("b", "ES384")
    provider.serve(key)
    server = make_hub()
    stream = Stream(server, "a", bearer=token_of(server, key))
    assert status(server, key) == 200
    provider.stop()
    assert status(server, new) == 401
    server.wait_log("cannot refresh the key set")
    assert status(server, key) == 200
    os.kill(server.broker_pid(), signal.SIGKILL)
    server.wait_log("brokerd has ended")
    wait_for(lambda: server.log().count("brokerd: ready") == 2, "brokerd is back")
    becomes(server, key, 200, 20)
    assert not stream.ended
    stream.close()
    server.graceful()
    becomes(server, key, 200, 20)
    server.stop()
    server.start()
    assert status(server, key) == 200
    assert status(server, new) == 401
    provider.serve(new)
    provider.start()
    becomes(server, new, 200, 15)
    wait_for(lambda: status(server, key) == 401, "the key that the provider no longer has is refused")
    assert "SSL" not in server.log()


def test_a_transfer_that_takes_too_long_is_given_up(make_hub, provider):
    key = Key("a")

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        while not provider.released.wait(0.2):
            handler.wfile.write(b" ")

    for name in ("hangs", "drips"):
        provider.serve(key, path=f"/{name}", Cache_Control="max-age=1")
    server = make_hub(f"MercureIssuer https://hangs.example both ES256 jwks:{provider.url('/hangs')}",
                      f"MercureIssuer https://drips.example both ES256 jwks:{provider.url('/drips')}")
    for name, answer in (("hangs", provider.hang), ("drips", drip)):
        assert status(server, key, iss=f"https://{name}.example") == 200
        provider.answers[f"/{name}"] = answer
    for name in ("hangs", "drips"):
        server.wait_log(f"the key set of {provider.url('/' + name)}, the last good one stays in use: Timeout", 20)
        assert status(server, key, iss=f"https://{name}.example") == 200


SECRET_QUERY = "key=a-secret-of-the-url"


def answers_badly(provider):
    private = {**Key("a").jwk(), "d": "c2VjcmV0"}
    cut = key_set(Key("cut"))
    return {
        "garbage": (200, {}, os.urandom(1000)),
        "html": (200, {"Content-Type": "text/html"}, b"<html><body>Please log in</body></html>"),
        "nothing": (200, {}, b""),
        "no keys": (200, {}, b'{"keys":[]}'),
        "no set": (200, {}, b'{"issuer":"https://login.example","jwks_uri":"https://login.example/jwks"}'),
        "private": (200, {}, key_set(private)),
        "oversize": (200, {}, key_set(Key("big", x5c=["A" * 300000]))),
        "oversize, unannounced": (200, {"Content-Length": None}, key_set(Key("big", x5c=["A" * 300000]))),
        "cut off": (200, {"Content-Length": str(len(cut) + 10)}, cut),
        "not found": (404, {}, key_set(Key("a"))),
        "error": (500, {}, key_set(Key("a"))),
        "no content": (204, {}, b""),
        "to http": (302, {"Location": f"http://localhost:{provider.port}/good"}, b""),
        "to a file": (302, {"Location": "file:///etc/passwd"}, b""),
        "to a private address": (302, {"Location": "https://10.11.12.13/good"}, b""),
        "to link-local": (307, {"Location": "https://169.254.169.254/latest/meta-data"}, b""),
        "in a circle": (302, {"Location": provider.url("/jwks")}, b""),
    }


def test_bad_answers_leave_the_last_good_set_in_use(make_hub, provider):
    key, new = Key("a"), Key("new")
    provider.serve(key)
    provider.serve(new, path="/good")
    server = make_hub(f"MercureIssuer {ISS} both {ALL} jwks:{provider.url()}?{SECRET_QUERY}")
    assert status(server, key) == 200
    stream = Stream(server, "a", bearer=token_of(server, key))
    before = [open(name, "rb").read() for name in stored_sets(server)]
    for name, answer in answers_badly(provider).items():
        fetched = provider.count()
        provider.answers["/jwks"] = answer

        def refused():
            assert status(server, new) == 401, name
            return provider.count() > fetched

        wait_for(refused, f"a fetch of {name}")
        assert status(server, key) == 200, name
    assert [open(name, "rb").read() for name in stored_sets(server)] == before
    assert provider.count("/good") == 0
    assert f"cannot refresh the key set of {provider.url()}, the last good one stays in use: " in server.log()
    provider.serve(new)
    becomes(server, new, 200)
    assert not stream.ended
    stream.close()
    assert SECRET_QUERY not in server.log() and "a-secret-of-the-url" not in server.log()


def test_redirections_to_https_are_followed_three_times(make_hub, provider):
    key = Key("a")
    provider.serve(key, path="/4")
    for n in range(1, 4):
        provider.answers[f"/{n}"] = (302, {"Location": f"/{n + 1}" if n < 3 else provider.url("/4")}, b"")
    provider.answers["/0"] = (302, {"Location": "/1"}, b"")
    server = make_hub(f"MercureIssuer {ISS} both ES256 jwks:{provider.url('/1')}",
                      f"MercureIssuer https://four.example both ES256 jwks:{provider.url('/0')}")
    assert status(server, key) == 200
    assert status(server, key, iss="https://four.example") == 503
    server.wait_log(f"cannot refresh the key set of {provider.url('/0')}")


@pytest.mark.parametrize("answer,reason", [
    ("garbage", "this is no JWK Set"),
    ("oversize", "its answer has more than 262144 bytes"),
    ("oversize, unannounced", "its answer has more than 262144 bytes"),
    ("error", "it answers 500"),
    ("to http", "it redirects to something that is not https"),
    ("to a private address", "its address is not a public one"),
    ("to link-local", "its address is not a public one"),
])
def test_a_provider_without_a_good_set_is_told_in_the_log_and_answered_503(make_hub, provider, answer, reason):
    key = Key("a")
    provider.answers["/jwks"] = answers_badly(provider)[answer]
    server = make_hub()
    answered = publish(server, "a", "x", bearer=token_of(server, key))
    assert (answered.status, answered.headers["Retry-After"]) == (503, "5")
    server.wait_log(reason)
    assert status(server, Key("b"), iss="https://elsewhere.example") == 401
    assert publish(server, "a", "x").status == 200  # other issuers go on
    provider.serve(key)
    becomes(server, key, 200)


# --- what may be connected to ---

def test_a_name_that_leads_inside_is_fetched_only_when_the_admin_says_so(make_hub, provider):
    key = Key("a")
    provider.serve(key)
    line = f"MercureIssuer {ISS} both ES256 jwks:{provider.url(host='idp.localhost')}"
    server = make_hub(line)
    assert status(server, key) == 503
    server.wait_log("its address is not a public one: if it is meant to be private, say MercureKeySetPrivate On")
    assert provider.requests == []
    with open(server.config_file) as f:
        text = f.read()
    with open(server.config_file, "w") as f:
        f.write(text.replace("MercureKeySetCA", "MercureKeySetPrivate On\nMercureKeySetCA"))
    server.graceful()  # which starts another brokerd
    becomes(server, key, 200)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "0", "10.1.2.3", "192.168.1.1", "169.254.169.254",
                                  "[::ffff:127.0.0.1]", "[::]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]"])
def test_other_spellings_of_inner_addresses_are_refused(make_hub, provider, host):
    provider.serve(Key("a"))
    server = make_hub(f"MercureIssuer {ISS} both ES256 jwks:{provider.url(host=host)}")
    assert status(server, Key("a")) == 503
    server.wait_log("its address is not a public one")
    assert provider.requests == []


def test_a_certificate_that_is_not_trusted_is_refused(make_hub, provider):
    provider.serve(Key("a"))
    server = make_hub(ca=False)
    assert status(server, Key("a")) == 503
    server.wait_log("the last good one stays in use: SSL peer certificate")
    assert provider.requests == []


def test_a_certificate_for_another_name_is_refused(make_hub, provider):
    provider.serve(Key("a"))
    server = make_hub(f"MercureIssuer {ISS} both ES256 jwks:{provider.url(host='127.0.0.2')}")
    provider.stop()
    provider.address = "127.0.0.2"
    provider.start()
    assert status(server, Key("a")) == 503
    server.wait_log("the last good one stays in use: SSL peer certificate")
    assert provider.requests == []


def test_http_is_for_loopback_and_never_redirected_to(make_hub, provider, open_dir):
    key = Key("a")
    plain = Provider(open_dir, tls=False)
    plain.serve(key)
    provider.serve(key)
    plain.answers["/to-http"] = (302, {"Location": plain.url()}, b"")
    plain.answers["/to-https"] = (302, {"Location": provider.url()}, b"")
    urls = {"name": plain.url(), "address": plain.url(host="127.0.0.1"), "https": plain.url("/to-https"),
            "http": plain.url("/to-http")}
    try:
        server = make_hub(*(f"MercureIssuer https://{name}.example both ES256 jwks:{url}" for name, url in urls.items()))
        for name in ("name", "address", "https"):
            assert status(server, key, iss=f"https://{name}.example") == 200
        assert status(server, key, iss="https://http.example") == 503
        server.wait_log("it redirects to something that is not https")
        assert plain.count() == 2
    finally:
        plain.close()


def test_no_proxy_of_the_environment_is_used(make_hub, provider):
    key = Key("a")
    provider.serve(key)
    server = make_hub(broker_environment="export https_proxy=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9\n")
    assert status(server, key) == 200


# --- files ---

def replace(path, content):
    with open(f"{path}.new", "wb") as f:
        f.write(content)
    os.chmod(f"{path}.new", 0o644)
    os.rename(f"{path}.new", path)


def test_a_file_is_read_again_when_it_changes(make_server, open_dir):
    path, old, new = f"{open_dir}/keys.json", Key("old"), Key("new")
    replace(path, key_set(old))
    server = make_server(hub=f"{HUB}MercureIssuer {ISS} both ES256 jwks:{path}\n")
    assert status(server, old) == 200
    stream = Stream(server, "a", bearer=token_of(server, old))
    replace(path, key_set(new))
    becomes(server, new, 200)
    assert status(server, old) == 401
    for content in (b"garbage", b"", key_set(Key("big", x5c=["A" * 300000]))):
        replace(path, content)
        logged = server.log().count("cannot be used, the last good one stays in use")
        wait_for(lambda: status(server, new) == 200 and
                 server.log().count("cannot be used, the last good one stays in use") > logged, "a line in the log")
    os.unlink(path)
    wait_for(lambda: status(server, new) == 200 and "cannot read the key set" in server.log(), "a line in the log")
    replace(path, key_set(old))
    becomes(server, old, 200)
    assert not stream.ended
    stream.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file that httpd's children cannot read")
def test_a_file_that_only_the_parent_can_read_is_used_as_it_was(make_server, open_dir):
    path, key = f"{open_dir}/keys.json", Key("a")
    replace(path, key_set(key))
    os.chmod(path, 0o600)
    server = make_server(hub=f"{HUB}MercureIssuer {ISS} both ES256 jwks:{path}\n")
    assert status(server, key) == 200
    server.wait_log(f"cannot read the key set {path} again")


# --- .htaccess ---

@pytest.fixture
def tenant(make_server):
    def make(line):
        server = make_server(hub="", start=False)
        with open(f"{server.htdocs}/.htaccess", "w") as f:
            f.write(f"MercureHub On\n{line}\n")
        return server
    return make


def test_a_tenant_s_own_file_is_taken_and_no_url(tenant, provider):
    key, new = Key("a"), Key("new")
    server = tenant("MercureIssuer https://login.example both ES256 jwks:keys.json")
    replace(f"{server.dir}/keys.json", key_set(key))
    server.start()
    assert status(server, key) == 200
    replace(f"{server.dir}/keys.json", key_set(new))
    assert status(server, key) == 401
    assert status(server, new) == 200
    with open(f"{server.htdocs}/.htaccess", "w") as f:
        f.write(f"MercureHub On\nMercureIssuer {ISS} both ES256 jwks:{provider.url()}\n")
    assert status(server, key) == 500
    assert "jwks: with a URL is not allowed in .htaccess files" in server.log()
    assert provider.requests == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two owners")
def test_a_tenant_s_key_set_must_be_its_own(tenant):
    server = tenant("MercureIssuer https://login.example both ES256 jwks:keys.json")
    replace(f"{server.dir}/keys.json", key_set(Key("a")))
    os.chown(f"{server.dir}/keys.json", 65534, 65534)
    server.start()
    assert status(server, Key("a")) == 500
    assert "must belong to the owner of the .htaccess file" in server.log()


# --- secrets, and who links what ---

def test_no_token_key_or_credential_gets_into_a_log(make_hub, provider):
    key, unknown = Key("kid-of-a-key", "RS256"), Key("kid-that-nobody-knows")
    provider.serve(key)
    server = make_hub(f"MercureIssuer {ISS} both {ALL} jwks:{provider.url()}?{SECRET_QUERY}",
                      main="LogLevel trace8 http:trace3")
    tokens = [token_of(server, key), token_of(server, unknown), token_of(server, key, exp=1)]
    for text in tokens:
        publish(server, "a", "x", bearer=text)
    provider.stop()
    another = Key("another")
    wait_for(lambda: status(server, another) == 401 and "cannot refresh the key set" in server.log(), "a failed fetch")
    server.stop()
    secrets = [SECRET_QUERY, key.kid, unknown.kid, key.jwk()["n"], unknown.jwk()["x"]]
    for text in secrets + [part for t in tokens for part in t.split(".")[1:]]:
        assert text not in server.log()
        assert text not in server.access()


def test_the_state_directory_holds_the_set_closed_to_others(make_hub, provider):
    key = Key("a")
    provider.serve(key)
    server = make_hub()
    assert status(server, key) == 200
    assert len(stored_sets(server)) == 1
    assert os.stat(stored_sets(server)[0]).st_mode & 0o777 == 0o600
    assert os.stat(f"{server.state}/keysets").st_mode & 0o777 == 0o700
    assert open(stored_sets(server)[0], "rb").read() == key_set(key)


@pytest.mark.parametrize("seconds", ["0", "-1", "3601", "soon", ""])
def test_brokerd_wants_a_sensible_interval(tmp_path, seconds):
    result = subprocess.run([f"{BUILD}/brokerd", "--state", str(tmp_path), "--socket-dir", str(tmp_path),
                             "--keyset-min-refresh", seconds], capture_output=True, text=True, timeout=10)
    assert result.returncode == 2
    assert "--keyset-min-refresh wants 1 to 3600 seconds" in result.stderr


def test_the_module_is_not_linked_with_libcurl():
    def needed(name):
        return subprocess.run(["readelf", "-d", f"{BUILD}/{name}"], capture_output=True, text=True, check=True).stdout

    assert "libcurl" in needed("brokerd")
    assert "libcurl" not in needed("mod_mercure.so")
