"""Tokens: what is accepted, how each defect is answered, and that the reason goes to the error log only. PROTOCOL 5."""

import hashlib
import hmac
import json
import os
import subprocess
import time

import jwt
import pytest

from client import (DETAIL, PATH, Refused, Stream, audience, b64, claims, form, publish, published, request, sign,
                    token)
from matrix import protocols
from server import ISSUER, SECRET, Server, wait_for

FILE_SECRET = "a-secret-that-stands-in-a-file-and-ends-with-a-newline-there-12345678"
ENV_SECRET = "a-secret-that-comes-from-the-environment-and-is-long-enough-1234567890"
OTHER_SECRET = "the-secret-of-another-issuer-which-is-as-long-as-it-must-be-for-hs512!!"
NEWER_SECRET = "the-newer-secret-of-the-issuer-that-has-two-keys-at-the-same-time-12345"
CLOSED = "closed.example"  # a virtual host: no anonymous subscribers, a cookie of its own, an origin that may publish
COOKIE = "__Secure-mercure_access_token"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
pytestmark = protocols("plain", "h2")

# algorithm -> the issuer's iss, and the name of its key
RSA = {"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "PS384": "rsa", "PS512": "rsa"}
PUBLIC = {**RSA, "ES256": "p256", "ES384": "p384", "ES512": "p521", "EdDSA": "ed25519"}
HMAC = {"HS256": "file", "HS384": "env", "HS512": "inline"}
SECRETS = {"file": FILE_SECRET, "env": ENV_SECRET, "inline": OTHER_SECRET}


def make_keys(directory):
    """Private and public PEM files, made by openssl as an administrator would."""
    for name, options in (("rsa", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
                          ("p256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
                          ("p384", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
                          ("p521", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"]),
                          ("ed25519", ["-algorithm", "ED25519"])):
        private, public = f"{directory}/{name}.key", f"{directory}/{name}.pem"
        subprocess.run(["openssl", "genpkey", *options, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    with open(f"{directory}/secret", "w") as f:
        f.write(FILE_SECRET + "\n")


def issuers(directory):
    lines = [f"MercureIssuer {ISSUER} both HS256 {SECRET}",
             f"MercureIssuer https://rsa.example both RS256,RS384,RS512,PS256,PS384,PS512 file:{directory}/rsa.pem",
             f"MercureIssuer https://p256.example both ES256 file:{directory}/p256.pem",
             f"MercureIssuer https://p384.example both ES384 file:{directory}/p384.pem",
             f"MercureIssuer https://p521.example both ES512 file:{directory}/p521.pem",
             f"MercureIssuer https://ed25519.example both EdDSA file:{directory}/ed25519.pem",
             f"MercureIssuer https://file.example both HS256 file:{directory}/secret",
             "MercureIssuer https://env.example both HS384 env:MERCURE_TEST_SECRET",
             f"MercureIssuer https://inline.example both HS512 {OTHER_SECRET}",
             f"MercureIssuer https://publishers.example publisher HS256 {SECRET}",
             f"MercureIssuer https://subscribers.example subscriber HS256 {SECRET}",
             f"MercureIssuer https://two-keys.example both HS256 {SECRET}",
             f"MercureIssuer https://two-keys.example both HS256 {NEWER_SECRET}",
             f"MercureIssuer https://split.example publisher HS256 {SECRET}",
             f"MercureIssuer https://split.example subscriber HS256 {NEWER_SECRET}"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("keys"))
    make_keys(directory)
    return directory


@pytest.fixture(scope="module")
def hub(keys, protocol):
    server = Server(**protocol, hub=f"MercureHub On\nMercureAnonymous On\n{issuers(keys)}", main="LimitRequestFieldSize 40000",
                    environment={"MERCURE_TEST_SECRET": ENV_SECRET})
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {CLOSED}\n{server.tls_lines}MercureHub On\nMercureCookieName my_cookie\n"
                f"MercurePublishOrigins https://app.example http://other.example:8080\n"
                f"MercureIssuer {ISSUER} both HS256 {SECRET}\n</VirtualHost>\n")
    server.start()
    yield server
    server.close()


def read_from(server, offset):
    with open(server.error_log, errors="replace") as f:
        f.seek(offset)
        return f.read()


def check_refused(server, ask, status, error, reason, resource=None):
    """`ask` makes a request. Its answer, its challenge, its body and its line in the error log are as they should be."""
    resource = resource or f"{server.origin}/.well-known/oauth-protected-resource{PATH}"

    def lines_of_request():
        offset = os.path.getsize(server.error_log)
        answer = ask()
        return answer, [line for line in read_from(server, offset).split("\n") if f"answers {status}" in line]

    def logged():
        found[:] = lines_of_request()
        return found[1]

    found = []
    wait_for(logged, f"a line about {status}")  # the hub writes 20 such lines a second, so it may take a further request
    answer, lines = found
    assert answer.status == status, (answer.status, answer.body)
    challenge = "Bearer " + (f'error="{error}", ' if error else "") + f'resource_metadata="{resource}"'
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.body == (f"{error}\n" if error else "Unauthorized\n")
    assert len(lines) == 1 and reason in lines[0], lines


def check_publish(server, headers, status, error, reason, **more):
    check_refused(server, lambda: request(server, "POST", PATH, {**FORM, **headers}, form([("topic", "a")]), **more),
                  status, error, reason)


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


def signed(payload, algorithm, directory, header=None):
    """A token signed by one of the keys, PyJWT's way."""
    key = SECRETS[HMAC[algorithm]] if algorithm in HMAC else open(f"{directory}/{PUBLIC[algorithm]}.key").read()
    return jwt.encode(payload, key, algorithm=algorithm, headers={"typ": "at+jwt", **(header or {})})


def mac(head, payload, secret):
    """A JWS over bytes as they are."""
    text = b64(head) + "." + b64(payload)
    return text + "." + b64(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


HEAD = b'{"alg":"HS256","typ":"at+jwt"}'


# --- the algorithms ---

@pytest.mark.parametrize("algorithm", [*HMAC, *PUBLIC])
def test_every_algorithm_publishes_and_subscribes(hub, keys, algorithm):
    iss = f"https://{ {**HMAC, **PUBLIC}[algorithm] }.example"
    good = signed(claims(hub, ["t"], ["t"], iss=iss), algorithm, keys)
    stream = Stream(hub, "t", bearer=good)
    published(hub, "t", f"secret by {algorithm}", bearer=good, fields=[("private", "on")])
    assert stream.data() == [f"secret by {algorithm}"]
    stream.close()


@pytest.mark.parametrize("algorithm", [*HMAC, *PUBLIC])
def test_a_signature_that_was_changed_is_refused(hub, keys, algorithm):
    iss = f"https://{ {**HMAC, **PUBLIC}[algorithm] }.example"
    text = signed(claims(hub, ["a"], iss=iss), algorithm, keys)
    at = text.rindex(".") + 10
    changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1:]
    assert publish(hub, "a", bearer=text).status == 200
    check_publish(hub, bearer(changed), 401, "invalid_token", f"signature does not verify with any key of MercureIssuer {iss}")


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "PS256", "ES256", "EdDSA"])
def test_a_payload_that_was_changed_is_refused(hub, keys, algorithm):
    iss = f"https://{ {**HMAC, **PUBLIC}[algorithm] }.example"
    head, _, signature = signed(claims(hub, ["b"], iss=iss), algorithm, keys).split(".")
    forged = b64(json.dumps(claims(hub, ["*"], iss=iss)).encode())
    check_publish(hub, bearer(f"{head}.{forged}.{signature}"), 401, "invalid_token", "signature does not verify")


@pytest.mark.parametrize("algorithm,iss,reason", [
    ("RS256", "https://p256.example", "alg is not among those of MercureIssuer https://p256.example"),
    ("ES384", "https://p256.example", "alg is not among those of MercureIssuer https://p256.example"),
    ("EdDSA", "https://rsa.example", "alg is not among those of MercureIssuer https://rsa.example"),
    ("HS512", "https://file.example", "alg is not among those of MercureIssuer https://file.example"),
    ("HS256", "https://rsa.example", "alg is not among those of MercureIssuer https://rsa.example"),
    ("HS256", ISSUER, f"signature does not verify with any key of MercureIssuer {ISSUER}"),
])
def test_the_key_of_another_issuer_is_refused(hub, keys, algorithm, iss, reason):
    check_publish(hub, bearer(signed(claims(hub, ["a"], iss=iss), algorithm, keys)), 401, "invalid_token", reason)


@pytest.mark.parametrize("end", ["", "\n"], ids=["without newline", "with newline"])
@pytest.mark.parametrize("key", ["rsa", "p256", "ed25519"])
def test_an_hmac_over_a_public_key_is_refused(hub, keys, key, end):
    pem = open(f"{keys}/{key}.pem").read().strip() + end
    forged = sign(claims(hub, ["a"], iss=f"https://{key}.example"), pem)
    check_publish(hub, bearer(forged), 401, "invalid_token", f"alg is not among those of MercureIssuer https://{key}.example")


def test_a_key_inside_of_the_token_is_not_used(hub, keys):
    attacker = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                    f"{keys}/attacker.key"], check=True, capture_output=True)
    private = attacker.prepare_key(open(f"{keys}/attacker.key").read())
    numbers = private.public_key().public_numbers()
    header = {"typ": "at+jwt", "jku": "https://attacker.example/keys", "x5u": "https://attacker.example/cert",
              "jwk": {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32, "big")),
                      "y": b64(numbers.y.to_bytes(32, "big"))}}
    forged = jwt.encode(claims(hub, ["a"], iss="https://p256.example"), private, algorithm="ES256", headers=header)
    check_publish(hub, bearer(forged), 401, "invalid_token", "signature does not verify")


@pytest.mark.parametrize("header", [{"kid": "unknown"}, {"kid": "../../etc/passwd"}, {"jku": "https://a.example"},
                                    {"x5u": "https://a.example"}, {"jwk": {"kty": "oct", "k": "AAAA"}}])
def test_hints_in_the_header_change_nothing(hub, header):
    good = sign(claims(hub, ["a"]), header={"alg": "HS256", "typ": "at+jwt", **header})
    assert publish(hub, "a", bearer=good).status == 200


# --- issuers and roles ---

def test_an_issuer_may_have_two_keys(hub):
    payload = claims(hub, ["a"], iss="https://two-keys.example")
    assert publish(hub, "a", bearer=sign(payload, SECRET)).status == 200
    assert publish(hub, "a", bearer=sign(payload, NEWER_SECRET)).status == 200
    check_publish(hub, bearer(sign(payload, OTHER_SECRET)), 401, "invalid_token", "signature does not verify")


def check_subscribe(hub, text, reason):
    check_refused(hub, lambda: request(hub, "GET", f"{PATH}?match=a", bearer(text)), 401, "invalid_token", reason)


def test_a_publishers_issuer_lets_nobody_subscribe(hub):
    text = token(hub, ["a"], ["a"], iss="https://publishers.example")
    assert publish(hub, "a", bearer=text).status == 200
    check_subscribe(hub, text, "no MercureIssuer of that name for a subscriber")


def test_a_subscribers_issuer_lets_nobody_publish(hub):
    text = token(hub, ["a"], ["a"], iss="https://subscribers.example")
    Stream(hub, "a", bearer=text).close()
    check_publish(hub, bearer(text), 401, "invalid_token", "no MercureIssuer of that name for a publisher")


def test_a_key_of_one_role_does_not_serve_the_other(hub):
    payload = claims(hub, ["a"], ["a"], iss="https://split.example")
    assert publish(hub, "a", bearer=sign(payload, SECRET)).status == 200
    Stream(hub, "a", bearer=sign(payload, NEWER_SECRET)).close()
    check_publish(hub, bearer(sign(payload, NEWER_SECRET)), 401, "invalid_token", "signature does not verify")
    check_subscribe(hub, sign(payload, SECRET), "signature does not verify")


def test_a_bad_token_is_refused_where_none_is_needed(hub):
    check_subscribe(hub, "a.b.c", "header is not a JSON object")


# --- presentation ---

@pytest.mark.parametrize("headers,status,error,reason", [
    ({}, 401, None, "without a token"),
    ({"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}, 401, None, "without a token"),
    ({"Authorization": "Digest username=x"}, 401, None, "without a token"),
    ({"Authorization": "Bearerx abc"}, 401, None, "without a token"),
    ({"Authorization": ""}, 401, None, "without a token"),
    ({"Authorization": "Bearer"}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer "}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer a b"}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer a,b"}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": 'Bearer "a.b.c"'}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer é"}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer ="}, 400, "invalid_request", "no well-formed Bearer token"),
    ({"Authorization": "Bearer a"}, 401, "invalid_token", "it has not three parts"),
    ({"Authorization": "Bearer a.b"}, 401, "invalid_token", "it has not three parts"),
    ({"Authorization": "Bearer a.b.c.d"}, 401, "invalid_token", "it has not three parts"),
    ({"Authorization": "Bearer a.b.c.d.e"}, 401, "invalid_token", "it has not three parts"),
    ({"Authorization": "Bearer .."}, 401, "invalid_token", "header is not a JSON object"),
    ({"Authorization": "Bearer a.b.c"}, 401, "invalid_token", "header is not a JSON object"),
    ({"Cookie": f"{COOKIE}="}, 401, "invalid_token", "it has not three parts"),
    ({"Cookie": f"{COOKIE}=a.b"}, 401, "invalid_token", "it has not three parts"),
    ({"Cookie": "mercureAuthorization=a.b.c"}, 401, None, "without a token"),
    ({"Cookie": "my_cookie=a.b.c"}, 401, None, "without a token"),
])
def test_presentations_that_are_refused(hub, headers, status, error, reason):
    check_publish(hub, {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}, status, error, reason)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_is_accepted_in_any_case(hub, scheme):
    answer = publish(hub, "a", bearer=False, headers={"Authorization": f"{scheme} {token(hub, ['a'])}"})
    assert answer.status == 200


def test_two_authorization_headers_are_400(hub):
    text = token(hub, ["a"])
    headers = [("Authorization", f"Bearer {text}")] * 2 + list(FORM.items())
    assert request(hub, "POST", PATH, headers, b"topic=a").status == 400


def test_a_token_in_the_query_or_in_the_form_is_none(hub):
    text = token(hub, ["a"], ["a"])
    for name in ("access_token", "authorization"):
        answer = request(hub, "POST", f"{PATH}?{name}={text}", FORM, form([("topic", "a"), (name, text)]))
        assert answer.status == 401
        assert "error=" not in answer.headers["WWW-Authenticate"]


def test_no_anonymous_subscriber_is_401_without_an_error(hub):
    host = f"{CLOSED}:{hub.port}"
    check_refused(hub, lambda: request(hub, "GET", f"{PATH}?match=a", host=host), 401, None, "MercureAnonymous is Off",
                  resource=f"{hub.scheme}://{host}/.well-known/oauth-protected-resource{PATH}")


def test_a_granted_nothing_is_insufficient_scope(hub):
    for details in ([], ["b"]):
        check_publish(hub, bearer(token(hub, details)), 403, "insufficient_scope", "does not grant publish on every topic")


# --- the token's header, claims and details ---

def altered(hub, remove=(), **changed):
    payload = claims(hub, ["a"], ["a"])
    payload.update(changed)
    for name in remove:
        del payload[name]
    return sign(payload)


@pytest.mark.parametrize("header,reason", [
    ({"alg": "none", "typ": "at+jwt"}, "alg is none"),
    ({"alg": "None", "typ": "at+jwt"}, "alg is None"),
    ({"alg": "hs256", "typ": "at+jwt"}, "alg is hs256"),
    ({"alg": "HS1", "typ": "at+jwt"}, "alg is HS1"),
    ({"alg": "ES256K", "typ": "at+jwt"}, "alg is ES256K"),
    ({"alg": ["HS256"], "typ": "at+jwt"}, "alg is (none)"),
    ({"typ": "at+jwt"}, "alg is (none)"),
    ({"alg": "HS384", "typ": "at+jwt"}, f"alg is not among those of MercureIssuer {ISSUER}"),
    ({"alg": "HS256"}, "typ is (none)"),
    ({"alg": "HS256", "typ": "JWT"}, "typ is JWT"),
    ({"alg": "HS256", "typ": "application/jwt"}, "typ is"),
    ({"alg": "HS256", "typ": "at+jwt2"}, "typ is at+jwt2"),
    ({"alg": "HS256", "typ": 1}, "typ is (none)"),
    ({"alg": "HS256", "typ": "x\n[fake] line"}, "typ is x?[fake] line"),
    ({"alg": "HS256", "typ": "at+jwt", "crit": ["exp"]}, "crit"),
    ([], "header is not a JSON object"),
])
def test_headers_that_are_refused(hub, header, reason):
    check_publish(hub, bearer(sign(claims(hub, ["a"]), header=header)), 401, "invalid_token", reason)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "Application/AT+JWT"])
def test_the_type_is_accepted_in_any_case(hub, typ):
    assert publish(hub, "a", bearer=sign(claims(hub, ["a"]), header={"alg": "HS256", "typ": typ})).status == 200


def test_alg_none_without_a_signature_is_refused(hub):
    text = b64(b'{"alg":"none","typ":"at+jwt"}') + "." + b64(json.dumps(claims(hub, ["a"])).encode()) + "."
    check_publish(hub, bearer(text), 401, "invalid_token", "alg is none")


def test_no_signature_is_refused(hub):
    text = token(hub, ["a"])
    check_publish(hub, bearer(text[:text.rindex(".") + 1]), 401, "invalid_token", "signature is not base64url")


@pytest.mark.parametrize("head,payload,reason", [
    (b"{", b"{}", "header is not a JSON object"),
    (b'{"alg":"HS256","alg":"HS256","typ":"at+jwt"}', b"{}", "header is not a JSON object"),
    (HEAD, b"{", "payload is not a JSON object"),
    (HEAD, b"", "payload is not a JSON object"),
    (HEAD, b"[]", "payload is not a JSON object"),
    (HEAD, b"null", "payload is not a JSON object"),
    (HEAD, b'"text"', "payload is not a JSON object"),
    (HEAD, b"{} {}", "payload is not a JSON object"),
    (HEAD, b'{"iss":"\xff"}', "payload is not a JSON object"),
    (HEAD, b'{"exp":1,"exp":2}', "payload is not a JSON object"),
    (HEAD, b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", "payload is not a JSON object"),
    (HEAD, b"{}", "iss is (none)"),
], ids=lambda value: str(value)[:30])
def test_broken_json_is_refused(hub, head, payload, reason):
    check_publish(hub, bearer(mac(head, payload, SECRET)), 401, "invalid_token", reason)


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("change", ["{}=", "{}+", "{}A", "{}AAA"])
def test_parts_that_are_not_base64url_are_refused(hub, part, change):
    parts = token(hub, ["a"]).split(".")
    parts[part] = change.format(parts[part])
    answer = publish(hub, "a", bearer=".".join(parts))
    assert answer.status in (400, 401), "a = inside of a token is no well-formed presentation"


@pytest.mark.parametrize("changed,reason", [
    ({"iss": "https://nobody.example"}, "iss is https://nobody.example: no MercureIssuer of that name"),
    ({"iss": ISSUER + "/"}, f"iss is {ISSUER}/: no MercureIssuer of that name"),
    ({"iss": ISSUER.upper()}, "no MercureIssuer of that name"),
    ({"iss": [ISSUER]}, "iss is (none): no MercureIssuer of that name"),
    ({"iss": ISSUER + "\0"}, "payload is not a JSON object"),
    ({"iss": "*"}, "iss is *: no MercureIssuer of that name"),
    ({"aud": "https://elsewhere.example/.well-known/mercure"}, "aud does not hold this hub's resource identifier"),
    ({"aud": ""}, "aud does not hold"),
    ({"aud": []}, "aud does not hold"),
    ({"aud": None}, "aud does not hold"),
    ({"aud": [1, {}]}, "aud does not hold"),
    ({"aud": "*"}, "aud does not hold"),
    ({"exp": 1}, "has expired"),
    ({"exp": -1e300}, "has expired"),
    ({"exp": 0}, "has expired"),
    ({"exp": "9999999999"}, "has no exp"),
    ({"exp": None}, "has no exp"),
    ({"exp": True}, "has no exp"),
    ({"nbf": 9999999999}, "is not valid yet"),
    ({"nbf": "0"}, "is not valid yet"),
    ({"nbf": None}, "is not valid yet"),
])
def test_claims_that_are_refused(hub, changed, reason):
    check_publish(hub, bearer(altered(hub, **changed)), 401, "invalid_token", reason)


@pytest.mark.parametrize("name,reason", [("iss", "iss is (none)"), ("aud", "aud does not hold"), ("exp", "has no exp")])
def test_claims_that_must_be_there(hub, name, reason):
    check_publish(hub, bearer(altered(hub, remove=[name])), 401, "invalid_token", reason)


@pytest.mark.parametrize("change", ["{}/", "{}?", "{} ", "{}#"])
def test_an_audience_that_is_nearly_the_hubs_is_refused(hub, change):
    check_publish(hub, bearer(altered(hub, aud=change.format(audience(hub)))), 401, "invalid_token", "aud does not hold")


def test_the_audience_of_another_port_or_scheme_is_refused(hub):
    for aud in (f"{hub.scheme}://localhost{PATH}", f"{'http' if hub.tls else 'https'}://localhost:{hub.port}{PATH}",
                f"{hub.scheme}://127.0.0.1:{hub.port}{PATH}"):
        check_publish(hub, bearer(altered(hub, aud=aud)), 401, "invalid_token", "aud does not hold")


def test_an_audience_may_be_one_of_several(hub):
    assert publish(hub, "a", bearer=altered(hub, aud=["https://x.example", audience(hub)])).status == 200


def test_the_clock_counts_to_the_second(hub):
    now = time.time()
    check_publish(hub, bearer(altered(hub, exp=now - 1)), 401, "invalid_token", "has expired")
    check_publish(hub, bearer(altered(hub, nbf=now + 60)), 401, "invalid_token", "is not valid yet")
    assert publish(hub, "a", bearer=altered(hub, exp=now + 5.5, nbf=now + 5)).status == 200


def test_a_token_that_was_accepted_is_refused_once_it_has_expired(hub):
    text = altered(hub, exp=time.time() + 1.2)
    assert publish(hub, "a", bearer=text).status == 200
    wait_for(lambda: publish(hub, "a", bearer=text).status == 401, "the token expires", 4)


def test_a_very_late_expiry_is_accepted(hub):
    assert publish(hub, "a", bearer=altered(hub, exp=1e300)).status == 200
    Stream(hub, "a", bearer=altered(hub, exp=2**62)).close()


def padded(hub, length):
    """A good token of exactly so many bytes."""
    for more in range(3 * length // 4 - 600, 3 * length // 4):
        text = altered(hub, pad="x" * more)
        if len(text) == length:
            return text
    raise AssertionError(f"no padding gives {length} bytes")


def test_a_token_of_16_kib_is_accepted_and_a_longer_one_is_not(hub):
    assert publish(hub, "a", bearer=padded(hub, 16384)).status == 200
    longer = altered(hub, pad="x" * 13000)
    check_publish(hub, bearer(longer), 401, "invalid_token", f"a token of {len(longer)} bytes, at most 16384")
    just_longer = padded(hub, 16384) + "A"
    check_publish(hub, bearer(just_longer), 401, "invalid_token", "a token of 16385 bytes, at most 16384")


def detail(**changed):
    one = {"type": DETAIL, "actions": ["publish"], "topics": [{"match": "a"}], **changed}
    return {name: value for name, value in one.items() if value != "removed"}


@pytest.mark.parametrize("details,reason", [
    ({}, "authorization_details is no array"),
    ("publish", "authorization_details is no array"),
    (None, "authorization_details is no array"),
    (["publish"], "without a type"),
    ([detail(type="removed")], "without a type"),
    ([detail(type=1)], "without a type"),
    ([detail(actions="removed")], "without an array of actions"),
    ([detail(actions=[])], "without an array of actions"),
    ([detail(actions="publish")], "without an array of actions"),
    ([detail(actions=["publish", 1])], "action that is no string"),
    ([detail(topics="removed")], "without an array of topics"),
    ([detail(topics=[])], "without an array of topics"),
    ([detail(topics={"match": "a"})], "without an array of topics"),
    ([detail(topics=["a"])], "no object with match"),
    ([detail(topics=[{}])], "no object with match"),
    ([detail(topics=[{"match": 1}])], "no object with match"),
    ([detail(topics=[{"match": "a", "match_type": 1}])], "match_type is no string"),
    ([detail(topics=[{"match": "a", "match_type": None}])], "match_type is no string"),
    ([detail(topics=[{"match": "/(", "match_type": "urlpattern"}])], "pattern"),
    ([detail(topics=[{"match": "https://[", "match_type": "urlpattern"}])], "pattern"),
    ([detail(topics=[{"match": "", "match_type": "urlpattern"}])], "an empty matcher"),
    ([detail(topics=[{"match": "a", "match_type": "URLPattern"}])], "match_type is neither exact nor urlpattern"),
    ([detail(topics=[{"match": "a", "match_type": "Exact"}])], "match_type is neither exact nor urlpattern"),
    ([detail(topics=[{"match": "a\n"}])], "control character U+000A"),
    ([detail(topics=[{"match": "a\u200b"}])], "format character U+200B"),
    ([detail(topics=[{"match": "x" * 4097}])], "matcher of 4097 bytes"),
    ([detail(payload=[])], "payload is no object"),
    ([detail(payload="x")], "payload is no object"),
    ([detail(), detail(topics=[{"match": "b"}, {}])], "no object with match"),
    ([detail()] * 101, "more than 100 authorization details"),
    ([detail(topics=[{"match": "a"}] * 101)], "more than 100 topics"),
    ([detail(topics=[{"match": "a"}] * 51)] * 2, "more than 100 topics"),
])
def test_details_that_make_the_whole_token_invalid(hub, details, reason):
    check_publish(hub, bearer(altered(hub, authorization_details=details)), 401, "invalid_token", reason)


@pytest.mark.parametrize("details", [
    [detail(topics=[{"match": "a", "match_type": "exact"}])],
    [detail(topics=[{"match": "*"}])],
    [detail(topics=[{"match": "a", "other": 1}], other=1)],
    [detail(actions=["fly", "publish"])],
    [detail(payload={"name": "x"})],
    [{"type": "https://elsewhere.example/", "actions": 1, "topics": "x"}, detail()],
    [{"type": "https://elsewhere.example/"}] * 200 + [detail()],
    [detail(topics=[{"match": "b"}]), detail()],
    [detail(topics=[{"match": f"t{n}"} for n in range(99)] + [{"match": "a"}])],
    [detail()] * 100,
])
def test_details_that_grant(hub, details):
    assert publish(hub, "a", bearer=altered(hub, authorization_details=details)).status == 200


@pytest.mark.parametrize("details", [
    [],
    [detail(actions=["fly"])],
    [detail(actions=["Publish"])],
    [detail(actions=["subscribe"])],
    [detail(type=DETAIL + "/")],
    [detail(topics=[{"match": "b"}])],
    [detail(topics=[{"match": "a*"}])],
    [detail(topics=[{"match": "A"}])],
    [detail(topics=[{"match": "a/"}])],
])
def test_details_that_do_not_grant(hub, details):
    answer = publish(hub, "a", bearer=altered(hub, authorization_details=details))
    assert (answer.status, answer.body) == (403, "insufficient_scope\n")


def test_no_details_grant_nothing(hub):
    assert publish(hub, "a", bearer=altered(hub, remove=["authorization_details"])).status == 403


# --- the cookie ---

def test_the_cookie_subscribes(hub):
    stream = Stream(hub, "c", headers={"Cookie": f"x=y; {COOKIE}={token(hub, subscribe=['c'])}; z=1"})
    published(hub, "c", "secret", fields=[("private", "on")])
    assert stream.data() == ["secret"]
    stream.close()


def test_the_header_beats_the_cookie(hub):
    own = {"Origin": hub.origin}
    good, bad = token(hub, ["a"]), token(hub, ["a"], exp=1)
    assert publish(hub, "a", bearer=good, headers={"Cookie": f"{COOKIE}={bad}"}).status == 200
    assert publish(hub, "a", bearer=bad, headers={"Cookie": f"{COOKIE}={good}", **own}).status == 401
    other = publish(hub, "a", bearer=False, headers={"Cookie": f"{COOKIE}={good}", "Authorization": "Basic eDp5", **own})
    assert other.status == 401
    assert "error=" not in other.headers["WWW-Authenticate"]


@pytest.mark.parametrize("headers,status", [
    ({"Origin": "OWN"}, 200),
    ({"Origin": "SHOUTED"}, 200),
    ({"Referer": "OWN/a/page?q#f"}, 200),
    ({"Referer": "OWN"}, 200),
    ({"Origin": "OWN", "Referer": "https://evil.example/"}, 200),
    ({}, 400),
    ({"Origin": ""}, 400),
    ({"Origin": "null"}, 400),
    ({"Origin": "https://evil.example"}, 400),
    ({"Origin": "OTHER://localhost:PORT"}, 400),
    ({"Origin": "SCHEME://localhost"}, 400),
    ({"Origin": "OWN.evil.example"}, 400),
    ({"Origin": "OWN@evil.example"}, 400),
    ({"Origin": "http://evil.example/OWN"}, 400),
    ({"Origin": "null", "Referer": "OWN/"}, 400),
    ({"Origin": "https://evil.example", "Referer": "OWN/"}, 400),
    ({"Origin": "https://app.example"}, 400),
    ({"Referer": "https://evil.example/OWN/"}, 400),
    ({"Referer": "https://evil.example/?OWN/"}, 400),
    ({"Referer": "OWN@evil.example/"}, 400),
    ({"Referer": "localhost:PORT"}, 400),
    ({"Referer": ""}, 400),
])
def test_a_publication_by_cookie_must_come_from_the_own_origin(hub, headers, status):
    cookie = {"Cookie": f"{COOKIE}={token(hub, ['a'])}"}
    words = {"OWN": hub.origin, "SHOUTED": hub.origin.upper(), "SCHEME": hub.scheme, "PORT": str(hub.port),
             "OTHER": "http" if hub.tls else "https"}
    for word, meaning in words.items():
        headers = {name: value.replace(word, meaning) for name, value in headers.items()}
    answer = publish(hub, "a", bearer=False, headers={**cookie, **headers})
    assert answer.status == status
    if status == 400:
        assert answer.body == "invalid_request\n"
        assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("origin,status", [
    ("https://app.example", 200),
    ("https://app.example:443", 200),
    ("https://APP.example", 200),
    ("http://other.example:8080", 200),
    ("http://app.example", 400),
    ("http://other.example", 400),
    ("https://sub.app.example", 400),
    ("https://app.example.evil.example", 400),
    ("https://app.example:8443", 400),
    ("null", 400),
])
def test_origins_that_are_listed_may_publish_by_cookie(hub, origin, status):
    host = f"{CLOSED}:{hub.port}"
    text = token(hub, ["a"], aud=f"{hub.scheme}://{host}{PATH}")
    assert publish(hub, "a", bearer=False, host=host, headers={"Cookie": f"my_cookie={text}", "Origin": origin}).status == status


def test_a_cookie_of_another_name_than_the_configured_one_is_no_token(hub):
    host = f"{CLOSED}:{hub.port}"
    text = token(hub, ["a"], ["a"], aud=f"{hub.scheme}://{host}{PATH}")
    Stream(hub, "a", host=host, headers={"Cookie": f"my_cookie={text}"}).close()
    with pytest.raises(Refused) as refused:
        Stream(hub, "a", host=host, headers={"Cookie": f"{COOKIE}={text}"})
    assert refused.value.answer.status == 401


# --- secrets stay secret ---

def test_no_token_and_no_secret_gets_into_a_log(make_server):
    # At http:trace4 httpd's own core writes every request header into the error log: that line is none of the hub's.
    server = make_server(main="LogLevel trace8 http:trace3")
    good, expired = token(server, ["a"], ["a"]), token(server, ["a"], exp=1)
    wrong = token(server, ["a"], aud="https://elsewhere.example/")
    forged = sign(claims(server, ["a"]), OTHER_SECRET)
    tokens = [good, expired, wrong, forged, "not-a-jwt-but-secret", sign(b"{broken but secret"), sign([1, "secret"])]
    for text in tokens:
        publish(server, "a", bearer=text)
        publish(server, "a", bearer=False, headers={"Cookie": f"{COOKIE}={text}"})
        request(server, "GET", f"{PATH}?match=", bearer(text))
    stream = Stream(server, "a", bearer=good)
    published(server, "a", "x")
    stream.take()
    stream.close()
    server.stop()
    assert "answers 401" in server.log()
    for text in [SECRET, OTHER_SECRET, *tokens, *(part for t in tokens for part in t.split(".") if len(part) > 8)]:
        assert text not in server.log()
        assert text not in server.access()


def test_no_line_at_all_holds_a_token_at_debug(make_server):
    server = make_server(main="LogLevel debug")
    tokens = [token(server, ["a"]), token(server, ["a"], exp=1), token(server, ["b"])]
    for text in tokens:
        publish(server, "a", bearer=text)
        publish(server, "a", bearer=False, headers={"Cookie": f"{COOKIE}={text}"})
    server.stop()
    for text in [SECRET, *tokens]:
        assert text not in server.log()
        assert text not in server.access()
