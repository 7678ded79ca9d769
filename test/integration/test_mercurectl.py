"""mercurectl token: what it makes is accepted by a real hub and by another JWT library, and what --inspect says is what
the hub says in its error log.
"""

import json
import os
import re
import subprocess
import time

import jwt
import pytest

from client import DETAIL, PATH, Refused, Stream, audience, b64, claims, publish, published, request, sign, token
from server import BUILD, ISSUER, SECRET, Server, wait_for
from test_tokens import ENV_SECRET, HMAC, NEWER_SECRET, OTHER_SECRET, PUBLIC, SECRETS, issuers, make_keys, read_from

PROGRAM = f"{BUILD}/mercurectl"
ENVIRONMENT = {**os.environ, "MERCURE_TEST_SECRET": ENV_SECRET}
ALL_SECRETS = [SECRET, ENV_SECRET, NEWER_SECRET, *SECRETS.values()]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("keys"))
    make_keys(directory)
    return directory


@pytest.fixture(scope="module")
def hub(keys):
    server = Server(hub=f"MercureHub On\nMercureAnonymous On\n{issuers(keys)}", main="LimitRequestFieldSize 40000",
                    environment={"MERCURE_TEST_SECRET": ENV_SECRET})
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def old_hub():
    server = Server(hub=f"MercureHub On\nMercureCompatibility 8\nMercureIssuer * both HS256 {SECRET}\n")
    server.start()
    yield server
    server.close()


def run(*arguments, stdin=""):
    """Run it; whatever it does, no key is in its output."""
    done = subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, text=True, env=ENVIRONMENT, timeout=30)
    assert done.returncode in (0, 1, 2), done
    for secret in ALL_SECRETS:
        assert secret not in done.stdout + done.stderr
    assert "PRIVATE KEY-----\n" not in done.stdout + done.stderr
    return done


def made(*arguments, stdin=""):
    """Make a token, which is all of the output."""
    done = run("token", *arguments, stdin=stdin)
    assert done.returncode == 0, done
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", done.stdout), done
    return done.stdout.strip()


def key_option(algorithm, keys):
    return f"file:{keys}/{PUBLIC[algorithm]}.key" if algorithm in PUBLIC else SECRETS[HMAC[algorithm]]


def made_for(server, *arguments, key=SECRET, iss=ISSUER, stdin=""):
    return made("--issuer", iss, "--audience", audience(server), "--key", key, *arguments, stdin=stdin)


def decoded(text):
    return jwt.decode(text, options={"verify_signature": False})


# --- making ---

@pytest.mark.parametrize("algorithm", [*HMAC, *PUBLIC])
def test_a_token_of_every_algorithm_publishes_and_subscribes(hub, keys, algorithm):
    iss = f"https://{ {**HMAC, **PUBLIC}[algorithm] }.example"
    text = made_for(hub, "--algorithm", algorithm, "--publish", "t", "--subscribe", "t", key=key_option(algorithm, keys), iss=iss)
    stream = Stream(hub, "t", bearer=text)
    published(hub, "t", f"secret by {algorithm}", bearer=text, fields=[("private", "on")])
    assert stream.data() == [f"secret by {algorithm}"]
    stream.close()
    assert publish(hub, "u", bearer=text).status == 403
    verifier = open(f"{keys}/{PUBLIC[algorithm]}.pem").read() if algorithm in PUBLIC else SECRETS[HMAC[algorithm]]
    payload = jwt.decode(text, verifier, algorithms=[algorithm], audience=audience(hub), issuer=iss,
                         options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]})
    assert payload["sub"] == payload["client_id"] == "mercurectl"
    assert jwt.get_unverified_header(text) == {"alg": algorithm, "typ": "at+jwt"}
    tampered = text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tampered, verifier, algorithms=[algorithm], audience=audience(hub))


def test_a_token_holds_what_was_asked_for(hub):
    before = int(time.time())
    text = made_for(hub, "--publish", "a", "--subscribe-pattern", "/b/:id", "--publish-pattern", "/c/*", "--subscribe", "*",
                    "--payload", '{"name": "Ada é", "n": [1, null]}', "--subject", "https://me.example", "--client-id", "shop",
                    "--kid", "2026", "--lifetime", "10m", "--not-before", "1h", "--audience", "https://second.example/hub")
    payload = decoded(text)
    assert before <= payload["iat"] <= time.time()
    assert payload["nbf"] == payload["iat"] + 3600 and payload["exp"] == payload["nbf"] + 600
    assert payload["aud"] == [audience(hub), "https://second.example/hub"]
    assert (payload["iss"], payload["sub"], payload["client_id"]) == (ISSUER, "https://me.example", "shop")
    assert payload["authorization_details"] == [
        {"type": DETAIL, "actions": ["publish"], "topics": [{"match": "a"}, {"match": "/c/*", "match_type": "urlpattern"}]},
        {"type": DETAIL, "actions": ["subscribe"], "topics": [{"match": "/b/:id", "match_type": "urlpattern"}, {"match": "*"}],
         "payload": {"name": "Ada é", "n": [1, None]}}]
    assert jwt.get_unverified_header(text)["kid"] == "2026"


@pytest.mark.parametrize("lifetime,seconds", [(None, 3600), ("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7200), ("30d", 2592000)])
def test_lifetimes(hub, lifetime, seconds):
    payload = decoded(made_for(hub, *(["--lifetime", lifetime] if lifetime else [])))
    assert payload["exp"] - payload["iat"] == seconds and "nbf" not in payload


def test_two_tokens_differ_in_their_jti(hub):
    assert len({decoded(made_for(hub))["jti"] for _ in range(5)}) == 5


def test_url_patterns_are_relative_to_the_hub(hub):
    text = made_for(hub, "--publish-pattern", "/books/:id")
    topic = f"http://localhost:{hub.port}/books/1"
    assert publish(hub, topic, bearer=text).status == 200
    assert publish(hub, f"{topic}/x", bearer=text).status == 403


@pytest.mark.parametrize("way", ["file", "env", "stdin", "inline"])
def test_where_a_key_may_come_from(hub, tmp_path, way):
    (tmp_path / "key").write_text(ENV_SECRET + "\n")
    option = {"file": f"file:{tmp_path}/key", "env": "env:MERCURE_TEST_SECRET", "stdin": "-", "inline": ENV_SECRET}[way]
    text = made_for(hub, "--algorithm", "HS384", "--publish", "a", iss="https://env.example", key=option, stdin=ENV_SECRET + "\n")
    assert publish(hub, "a", bearer=text).status == 200


def test_a_token_that_grants_nothing_is_made_with_a_note(hub):
    done = run("token", "--issuer", ISSUER, "--audience", audience(hub), "--key", SECRET)
    assert done.returncode == 0 and "grants nothing" in done.stderr
    Stream(hub, "a", bearer=done.stdout.strip()).close()


def test_tokens_of_protocol_0(old_hub):
    text = made("--dialect", "0.x", "--key", SECRET, "--publish", "https://x.example/{id}", "--subscribe", "*", "--payload",
                '{"a": 1}', "--lifetime", "none")
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT"}
    payload = jwt.decode(text, SECRET, algorithms=["HS256"])
    assert payload.keys() == {"iat", "jti", "mercure"}
    assert payload["mercure"] == {"publish": ["https://x.example/{id}"], "subscribe": ["*"], "payload": {"a": 1}}
    stream = Stream(old_hub, "https://x.example/1", bearer=text)
    published(old_hub, "https://x.example/1", "x", bearer=text, fields=[("private", "on")])
    assert stream.data() == ["x"]
    stream.close()
    assert publish(old_hub, "https://x.example/1/2", bearer=text).status == 403
    named = decoded(made("--compatibility", "8", "--key", SECRET, "--issuer", "https://i.example", "--subject", "me",
                         "--audience", "https://a.example"))
    assert (named["iss"], named["sub"], named["aud"]) == ("https://i.example", "me", "https://a.example")
    assert named["exp"] - named["iat"] == 3600 and named["mercure"] == {}


def test_tokens_with_targets(make_server):
    hub = make_server(hub=f"MercureHub On\nMercureCompatibility targets\nMercureIssuer * both HS256 {SECRET}\n")
    targets = made("--compatibility", "targets", "--key", SECRET, "--publish", "group", "--subscribe", "group")
    public = made("--compatibility", "targets", "--key", SECRET, "--publish-public")
    assert decoded(public)["mercure"] == {"publish": []}
    stream = Stream(hub, "a", bearer=targets)
    published(hub, "a", "for the group", bearer=targets, fields=[("target", "group")])
    published(hub, "a", "for all", bearer=public)
    assert stream.data(2) == ["for the group", "for all"]
    stream.close()
    assert publish(hub, "a", bearer=public, fields=[("target", "group")]).status == 403
    assert publish(hub, "a", bearer=targets, fields=[("target", "others")]).status == 403


GOOD = ["--issuer", ISSUER, "--audience", "https://h.example/hub", "--key", SECRET]


@pytest.mark.parametrize("arguments,sentence", [
    (["--issuer", ISSUER, "--audience", "https://h.example/"], "--key is missing"),
    (["--audience", "https://h.example/", "--key", SECRET], "--issuer is missing"),
    (["--issuer", ISSUER, "--key", SECRET], "--audience is missing"),
    ([*GOOD, "--issuer", "*"], "--issuer * names nobody"),
    ([*GOOD, "--issuer", "*", "--dialect", "0.x"], "--issuer * names nobody: leave --issuer out"),
    ([*GOOD, "--issuer", ""], "--issuer is empty"),
    ([*GOOD, "--issuer", "a\x7fb"], "--issuer holds the control character U+007F"),
    ([*GOOD, "--subject", "a\nb"], "--subject holds the control character U+000A"),
    ([*GOOD, "--audience", "a\u200eb"], "--audience holds"),
    ([*GOOD, "--key", "short"], "a secret of 5 bytes is too short for HS256: use at least 32 bytes"),
    ([*GOOD, "--key", "file:/nonexistent"], "cannot open /nonexistent: No such file"),
    ([*GOOD, "--key", "file:/dev/null"], "must have 1 to"),
    ([*GOOD, "--key", "env:MERCURE_NOT_SET"], "the environment variable MERCURE_NOT_SET is not set"),
    ([*GOOD, "--key", "-"], "the key on standard input must have 1 to"),
    ([*GOOD, "--key", "file:KEYS/rsa.key"], "a PEM file is not an HMAC secret"),
    ([*GOOD, "--algorithm", "RS256"], "a private key must be a PEM file"),
    ([*GOOD, "--key", "file:KEYS/rsa.pem", "--algorithm", "RS256"], "this is a public key or a certificate"),
    ([*GOOD, "--key", "file:KEYS/rsa.key", "--algorithm", "ES256"], "the private key is RSA, which does not fit ES256"),
    ([*GOOD, "--key", "file:KEYS/p256.key", "--algorithm", "ES384"], "the private key is EC on prime256v1, which does not fit ES384"),
    ([*GOOD, "--key", "file:KEYS/ed25519.key", "--algorithm", "PS256"], "the private key is ED25519, which does not fit PS256"),
    ([*GOOD, "--key", "file:KEYS/locked.key", "--algorithm", "RS256"], "the private key is encrypted"),
    ([*GOOD, "--algorithm", "none"], "none is not a signature algorithm"),
    ([*GOOD, "--algorithm", "HS256,HS384"], "one algorithm"),
    ([*GOOD, "--publish-pattern", "(a"], "--publish-pattern (a: the pattern's"),
    ([*GOOD, "--subscribe-pattern", "https://[/"], "--subscribe-pattern https://[/:"),
    ([*GOOD, "--publish", ""], "--publish : an empty matcher"),
    ([*GOOD, "--subscribe", "a\x01b"], "--subscribe ...: matcher holds the control character U+0001"),
    ([*GOOD, "--subscribe", "x" * 4097], "matcher of 4097 bytes, at most 4096 are allowed"),
    ([*GOOD, "--publish", b"\xff"], "--publish ...: matcher is not valid UTF-8"),
    ([*GOOD, *(["--publish", "a", "--subscribe", "b"] * 51)], "a hub would refuse this token: more than 100 topics"),
    ([*GOOD, *(["--publish", "x" * 4000] * 4)], "at most 16384 are allowed"),
    ([*GOOD, "--lifetime", "none"], "--lifetime none: every 1.0 token ends"),
    ([*GOOD, "--lifetime", "10"], "--lifetime is a duration"),
    ([*GOOD, "--lifetime", "0s"], "--lifetime is a duration"),
    ([*GOOD, "--lifetime", "-1h"], "--lifetime is a duration"),
    ([*GOOD, "--lifetime", "1w"], "--lifetime is a duration"),
    ([*GOOD, "--lifetime", "99999999999999999999d"], "--lifetime is a duration"),
    ([*GOOD, "--lifetime", "9223372036854775807s"], "--lifetime is a duration"),
    ([*GOOD, "--not-before", "tomorrow"], "--not-before is a duration"),
    ([*GOOD, "--subscribe", "a", "--payload", "[1]"], "--payload must be a JSON object"),
    ([*GOOD, "--subscribe", "a", "--payload", "{"], "--payload is no JSON"),
    ([*GOOD, "--publish", "a", "--payload", "{}"], "--payload belongs to what --subscribe grants"),
    ([*GOOD, "--publish-public"], "--publish-public goes with --compatibility targets only"),
    ([*GOOD, "--dialect", "0.x", "--publish-pattern", "/a"], "the older dialects have no URL Patterns"),
    ([*GOOD, "--dialect", "2"], "--dialect is 1.0 or 0.x"),
    ([*GOOD, "--compatibility", "7"], "--compatibility is 8 or targets"),
    ([*GOOD, "--unknown"], "mercurectl token --help"),
    ([*GOOD, "word"], "a word that belongs to no option"),
])
def test_what_cannot_be_made_is_refused_with_a_sentence(keys, arguments, sentence):
    subprocess.run(["openssl", "pkey", "-in", f"{keys}/rsa.key", "-aes256", "-passout", "pass:x", "-out", f"{keys}/locked.key"],
                   check=True, capture_output=True)
    arguments = [a.replace("KEYS", keys) if isinstance(a, str) else a for a in arguments]
    done = run("token", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert sentence in done.stderr, done.stderr
    assert "\x01" not in done.stderr


@pytest.mark.parametrize("arguments,status,text", [
    (["--help"], 0, "mercurectl COMMAND"), (["token", "--help"], 0, "--publish-pattern"), (["version"], 0, "mercurectl 0."),
    (["token", "--inspect", "--help"], 0, "--trust"), ([], 2, "mercurectl COMMAND"), (["nothing"], 2, "there is no command nothing"),
    (["token"], 2, "--key is missing")])
def test_help_and_version(arguments, status, text):
    done = run(*arguments)
    assert done.returncode == status and text in (done.stdout if status == 0 else done.stderr)


def test_an_output_that_cannot_be_written_is_a_failure(hub):
    with open("/dev/full", "w") as full:
        done = subprocess.run([PROGRAM, "token", *GOOD], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "cannot write" in done.stderr


# --- explaining ---

def inspected(text, *arguments, by_stdin=True):
    if by_stdin:
        return run("token", "--inspect", *arguments, stdin=text + "\n")
    return run("token", "--inspect", text, *arguments)


def verdict(done, role):
    found = re.search(rf"^  {role}: (\w+(?: \w+)?)[:,] (.*)$", done.stdout, re.M)
    assert found, done
    return found.groups()


def of_hub(server):
    return ["--config", server.config_file, "--hub", audience(server)]


def reason_of(server, ask, status):
    """Why the hub refuses, from its error log."""
    def logged():
        offset = os.path.getsize(server.error_log)
        assert ask() == status
        return re.findall(rf"answers {status}: (.*)$", read_from(server, offset), re.M)
    return wait_for(logged, f"a line about {status}")[0]


def status_of_subscribe(server, text):
    return request(server, "GET", f"{PATH}?match=a", {"Authorization": f"Bearer {text}"}).status


def detail(**changes):
    return [{"type": DETAIL, "actions": ["publish"], "topics": [{"match": "a"}], **changes}]


REFUSED = {
    "no token": lambda hub: "abc",
    "four parts": lambda hub: "a.b.c.d",
    "no header": lambda hub: "a.b.c",
    "no payload": lambda hub: sign(b"[1]"),
    "no base64": lambda hub: token(hub, ["a"])[:-1] + "~",
    "too long": lambda hub: token(hub, ["a"], much="x" * 13000),
    "alg none": lambda hub: sign(claims(hub, ["a"]), header={"alg": "none", "typ": "at+jwt"}),
    "no alg": lambda hub: sign(claims(hub, ["a"]), header={"typ": "at+jwt"}),
    "crit": lambda hub: sign(claims(hub, ["a"]), header={"alg": "HS256", "typ": "at+jwt", "crit": ["b64"]}),
    "typ JWT": lambda hub: sign(claims(hub, ["a"]), header={"alg": "HS256", "typ": "JWT"}),
    "unknown iss": lambda hub: token(hub, ["a"], iss="https://nobody.example"),
    "iss with control characters": lambda hub: token(hub, ["a"], iss="a\x1b[31mb"),
    "no iss": lambda hub: sign({k: v for k, v in claims(hub, ["a"]).items() if k != "iss"}),
    "other alg": lambda hub: sign(claims(hub, ["a"], iss="https://rsa.example")),
    "other key": lambda hub: sign(claims(hub, ["a"]), OTHER_SECRET),
    "aud": lambda hub: token(hub, ["a"], aud="https://elsewhere.example/"),
    "no exp": lambda hub: sign({k: v for k, v in claims(hub, ["a"]).items() if k != "exp"}),
    "exp text": lambda hub: token(hub, ["a"], exp="soon"),
    "expired": lambda hub: token(hub, ["a"], exp=int(time.time()) - 1),
    "nbf": lambda hub: token(hub, ["a"], nbf=int(time.time()) + 600),
    "details no array": lambda hub: token(hub, authorization_details={}),
    "details without type": lambda hub: token(hub, authorization_details=[{}]),
    "no actions": lambda hub: token(hub, authorization_details=detail(actions=[])),
    "no topics": lambda hub: token(hub, authorization_details=detail(topics=[])),
    "match_type": lambda hub: token(hub, authorization_details=detail(topics=[{"match": "a", "match_type": "glob"}])),
    "bad pattern": lambda hub: token(hub, authorization_details=detail(topics=[{"match": "(", "match_type": "urlpattern"}])),
    "payload": lambda hub: token(hub, authorization_details=detail(payload=1)),
    "too many topics": lambda hub: token(hub, [f"t{i}" for i in range(101)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_reason_is_the_hubs_own(hub, name):
    text = REFUSED[name](hub)
    done = inspected(text, *of_hub(hub))
    assert done.returncode == 1
    expected = {"publisher": reason_of(hub, lambda: publish(hub, "a", bearer=text).status, 401),
                "subscriber": reason_of(hub, lambda: status_of_subscribe(hub, text), 401)}
    for role in expected:
        assert verdict(done, role) == ("refused", expected[role])
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("iss,good,bad", [("https://publishers.example", "publisher", "subscriber"),
                                          ("https://subscribers.example", "subscriber", "publisher")])
def test_each_role_has_its_own_verdict(hub, iss, good, bad):
    text = token(hub, ["a"], ["a"], iss=iss)
    done = inspected(text, *of_hub(hub))
    assert done.returncode == 0
    assert verdict(done, good)[0] == "accepted"
    assert verdict(done, bad) == ("refused", f"the token's iss is {iss}: no MercureIssuer of that name for a {bad}")
    for role, status in ((good, 0), (bad, 1)):
        done = inspected(text, *of_hub(hub), "--role", role)
        assert done.returncode == status and (good if role == bad else bad) + ":" not in done.stdout


@pytest.mark.parametrize("algorithm", [*HMAC, *PUBLIC])
def test_what_is_made_is_accepted_by_inspect(hub, keys, algorithm):
    iss = f"https://{ {**HMAC, **PUBLIC}[algorithm] }.example"
    key = key_option(algorithm, keys)
    text = made_for(hub, "--algorithm", algorithm, "--publish", "t", key=key, iss=iss)
    assert inspected(text, *of_hub(hub)).returncode == 0
    hubs = f"file:{keys}/{PUBLIC[algorithm]}.pem" if algorithm in PUBLIC else key
    done = inspected(text, "--trust", f"{iss} both {algorithm} {hubs}", "--hub", audience(hub))
    assert done.returncode == 0 and verdict(done, "publisher")[0] == "accepted"


@pytest.mark.parametrize("topic,status", [("a", 200), ("b", 403), ("http://localhost:PORT/books/1", 200), ("/books/1", 200),
                                          ("*", 400), ("", 400), (PATH + "/x", 400), ("a\u0007", 400)])
def test_a_topic_is_judged_as_the_hub_does(hub, topic, status):
    topic = topic.replace("PORT", str(hub.port))
    text = made_for(hub, "--publish", "a", "--publish", "*" if status == 400 else "z", "--publish-pattern", "/books/:id")
    assert publish(hub, topic, bearer=text).status == status
    done = inspected(text, *of_hub(hub), "--role", "publisher", "--topic", topic)
    assert done.returncode == (0 if status == 200 else 1)
    if status == 200:
        assert "an update on the topic: accepted\n" in done.stdout
    else:
        reason = reason_of(hub, lambda: publish(hub, topic, bearer=text).status, status)
        said = re.search("an update on the topic: refused: (.*)", done.stdout)[1]
        assert said == reason


@pytest.mark.parametrize("topic,sent", [("a", True), ("b", False), ("/books/1", True)])
def test_a_private_update_is_judged_as_the_hub_does(hub, topic, sent):
    text = made_for(hub, "--subscribe", "a", "--subscribe-pattern", "/books/:id")
    stream = Stream(hub, [topic, "end"], bearer=text)
    published(hub, topic, "private", fields=[("private", "on")])
    published(hub, "end", "end")
    assert stream.data(2 if sent else 1) == (["private"] if sent else []) + ["end"]
    stream.close()
    done = inspected(text, *of_hub(hub), "--role", "subscriber", "--topic", topic)
    assert done.returncode == (0 if sent else 1)
    assert f"a private update on the topic: {'sent' if sent else 'not sent'} to" in done.stdout


def test_older_dialects_are_judged_as_the_hub_does(old_hub, hub):
    good = made("--dialect", "0.x", "--key", SECRET, "--publish", "a")
    for options in (of_hub(old_hub), ["--hub", audience(old_hub), "--trust", f"* both HS256 {SECRET}", "--compatibility", "8"]):
        done = inspected(good, *options, "--topic", "a")
        assert done.returncode == 0 and "an update on the topic: accepted" in done.stdout
    wrong = sign({"mercure": {"publish": "a"}}, header={"alg": "HS256", "typ": "JWT"})
    done = inspected(wrong, *of_hub(old_hub))
    assert verdict(done, "publisher")[1] == reason_of(old_hub, lambda: publish(old_hub, "a", bearer=wrong).status, 401)
    done = inspected(good, *of_hub(hub))
    assert done.returncode == 1 and "which MercureCompatibility 8 would accept" in done.stdout
    assert verdict(done, "publisher")[1] == reason_of(hub, lambda: publish(hub, "a", bearer=good).status, 401)


def test_a_configuration_is_read_as_it_stands(tmp_path, keys):
    resource = "https://www.example.com/live"
    file = tmp_path / ".htaccess"
    (tmp_path / "a b.key").write_text(OTHER_SECRET + "\n")
    file.write_text(f"# MercureIssuer https://comment.example both HS256 {SECRET}\n"
                    f"ServerRoot {tmp_path}\n"
                    f"  mercureissuer https://i.example \\\n  both \\\n HS256 \"file:a b.key\"\n"
                    f"MercureIssuer 'https://i.example' publisher RS256 'file:{keys}/rsa.pem'\n"
                    f"MercureIssuer https://v.example both HS256 ${{KEY}}\nInclude conf/*.conf\n"
                    f"MercureCompatibility 8\nMercureResourceIdentifier {resource}")
    good = sign({"iss": "https://i.example", "aud": resource, "exp": int(time.time()) + 60}, OTHER_SECRET)
    done = inspected(good, "--config", str(file))
    assert done.returncode == 0 and f"The hub {resource}\n" in done.stdout
    assert "line 8: Include is not followed" in done.stderr and "line 7: left out" in done.stderr
    for iss in ("https://comment.example", "https://v.example"):
        other = sign({"iss": iss, "aud": resource, "exp": int(time.time()) + 60})
        assert "no MercureIssuer of that name" in verdict(inspected(other, "--config", str(file)), "publisher")[1]
    old = sign({"iss": "https://i.example", "mercure": {"publish": ["*"]}}, OTHER_SECRET, header={"alg": "HS256"})
    assert inspected(old, "--config", str(file)).returncode == 0


def test_issuers_of_several_sections_are_noted(tmp_path):
    file = tmp_path / "c"
    line = f"MercureIssuer https://i.example both HS256 {SECRET}\n"
    file.write_text(f"<VirtualHost *:80>\n{line}{line}</VirtualHost>\n")
    assert inspected("a.b.c", "--config", str(file), "--hub", "https://h.example/").stderr == ""
    file.write_text(f"<VirtualHost *:80>\n{line}</VirtualHost>\n<VirtualHost *:81>\n{line}</VirtualHost>\n")
    assert "several sections" in inspected("a.b.c", "--config", str(file), "--hub", "https://h.example/").stderr


def test_keys_that_are_not_here_are_not_checked(hub, keys, tmp_path):
    file = tmp_path / "c"
    file.write_text("MercureIssuer https://url.example both RS256 jwks:https://url.example/keys\n"
                    "MercureIssuer https://gone.example both RS256 file:/nonexistent/key.pem\n"
                    "MercureIssuer https://unset.example both HS256 env:MERCURE_NOT_SET\n")
    for name, why in (("url", "at a URL, which is not fetched here"), ("gone", "cannot open /nonexistent/key.pem"),
                      ("unset", "MERCURE_NOT_SET is not set")):
        algorithm, key = ("HS256", SECRET) if name == "unset" else ("RS256", f"file:{keys}/rsa.key")
        text = made_for(hub, "--algorithm", algorithm, key=key, iss=f"https://{name}.example")
        done = inspected(text, "--config", str(file), "--hub", audience(hub))
        assert done.returncode == 1
        what, reason = verdict(done, "publisher")
        assert what == "not checked" and why in reason
    foreign = token(hub, ["a"])
    assert verdict(inspected(foreign, "--config", str(file), "--hub", audience(hub)), "publisher")[0] == "refused"


def test_key_sets_by_file(hub, keys, tmp_path):
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    public = json.loads(algorithm.to_jwk(algorithm.prepare_key(open(f"{keys}/rsa.pem").read())))
    (tmp_path / "set.json").write_text(json.dumps({"keys": [{**public, "kid": "one"}]}))
    trust = ["--trust", f"https://rsa.example both RS256 jwks:{tmp_path}/set.json", "--hub", audience(hub)]

    def with_kid(kid):
        return made_for(hub, "--algorithm", "RS256", "--kid", kid, key=f"file:{keys}/rsa.key", iss="https://rsa.example")

    assert inspected(with_kid("one"), *trust).returncode == 0
    forged = with_kid("one")[:-8] + "AAAAAAAA"
    assert "signature does not verify" in verdict(inspected(forged, *trust), "publisher")[1]
    # A key that the set lacks is no key that could not be looked for: that would be the other role's.
    roles = ["--trust", f"https://rsa.example publisher RS256 jwks:{tmp_path}/set.json", "--hub", audience(hub),
             "--trust", "https://rsa.example subscriber RS256 jwks:https://rsa.example/keys"]
    done = inspected(with_kid("two"), *roles)
    assert done.returncode == 1 and verdict(done, "subscriber")[0] == "not checked"
    what, reason = verdict(done, "publisher")
    assert what == "refused" and "the token's key is not in the key set of MercureIssuer https://rsa.example" in reason
    (tmp_path / "set.json").write_text(json.dumps({"keys": [{**public, "kid": "one", "use": "enc"}]}))
    done = inspected(with_kid("one"), *trust)
    assert done.returncode == 2 and "none of the 1 keys of the set can be used" in done.stderr


@pytest.mark.parametrize("arguments,sentence", [
    (["--trust", f"{ISSUER} both HS256 {SECRET}"], "--hub URL is missing"),
    (["--hub", "https://h.example/"], "whom does the hub trust?"),
    (["--topic", "a"], "whom does the hub trust?"),
    (["--hub", "nothing", "--trust", f"{ISSUER} both HS256 {SECRET}"], "--hub is no URL"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} both {SECRET}"], "--trust: four words are wanted"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} all HS256 {SECRET}"], "publisher, subscriber or both"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} both {SECRET} HS256"], "the third word must be algorithms"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} both HS256 short"], "--trust: a secret of 5 bytes is too short"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} both HS256 -"], "- is no key of a MercureIssuer"),
    (["--hub", "https://h.example/", "--trust", f"{ISSUER} both HS256 jwks:/nonexistent"], "HS"),
    (["--config", "/nonexistent"], "cannot open /nonexistent"),
    (["--config", "/etc/hostname"], "has no MercureIssuer"),
    (["--role", "both"], "--role is publisher or subscriber"),
    (["--publish", "a"], "mercurectl token --help"),
    (["a.b.c", "d.e.f"], "one token at a time"),
])
def test_wrong_options_of_inspect(arguments, sentence):
    done = inspected("a.b.c", *arguments)
    assert done.returncode == 2 and sentence in done.stderr and done.stdout == "", done


def test_a_token_is_explained(hub):
    now = int(time.time())
    text = sign(claims(hub, exp=now + 7230, nbf=now - 100, iat=now - 86400 * 3, authorization_details=[
        {"type": DETAIL, "actions": ["publish", "subscribe"], "topics": [{"match": "a topic"}, {"match": "*"}],
         "payload": {"a": "b"}},
        {"type": DETAIL, "actions": ["subscribe"], "topics": [{"match": "/b/:id", "match_type": "urlpattern"}]},
        {"type": "https://other.example/type"}]))
    for done in (inspected(text), inspected(text, "-"), inspected(text, by_stdin=False), inspected(f"  Bearer {text} ")):
        assert done.returncode == 0 and "The hub" not in done.stdout
        lines = [re.sub(" +", " ", line.strip()) for line in done.stdout.split("\n")]
        for wanted in ("alg HS256", "typ at+jwt: an access token, as protocol 1.0 has it", f"iss {ISSUER}", "sub a-test",
                       "publish the topic a topic", "publish every topic", "subscribe the topic a topic", "subscribe every topic",
                       "subscribe topics that match the URL Pattern /b/:id", 'payload {"a":"b"}',
                       "(other) https://other.example/type: none of Mercure's"):
            assert wanted in lines, (wanted, lines)
        words = {line.split()[0]: line for line in lines if line}
        assert re.fullmatch(rf"exp {now + 7230}: \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC, in 2 hours", words["exp"])
        assert words["nbf"].endswith(" seconds ago") or words["nbf"].endswith(" minutes ago")
        assert words["iat"].endswith(", 3 days ago")
        assert time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now + 7230)) in words["exp"]


def test_an_old_token_is_explained():
    text = sign({"mercure": {"publish": ["https://x.example/{id}", "*"], "subscribe": [], "payload": {"a": 1}}},
                header={"alg": "HS256", "typ": "JWT"})
    out = inspected(text).stdout
    for wanted in ("JWT: no access token", "topics that match the URI Template https://x.example/{id}", "every topic",
                   "nothing (empty)", '{"a":1}', "the token never ends"):
        assert wanted in out


def test_a_defect_of_the_grants_is_told_without_a_hub(hub):
    out = inspected(REFUSED["match_type"](hub)).stdout
    assert "A hub refuses the whole token: an authorization detail whose match_type is neither exact nor urlpattern" in out


def test_nothing_of_a_token_reaches_the_terminal_as_a_control_character(hub):
    evil = "\x1b]0;evil\x07\u009b31m\u202e\x7f\n"
    text = sign({**claims(hub, [evil], [evil], iss=evil, sub=evil, jti=[evil]), evil: evil,
                 "authorization_details": detail(type=DETAIL, topics=[{"match": evil, "match_type": evil}], payload={evil: evil})
                 + [{"type": evil}], "exp": 1e300},
                header={"alg": evil, "typ": "at+jwt", "kid": evil, evil: 1})
    old = sign({"mercure": {"publish": [evil], "subscribe": [evil], "payload": evil}}, header={"alg": "HS256", "typ": evil})
    for one in (text, old):
        done = inspected(one, *of_hub(hub))
        assert done.returncode == 1
        for character in "\x1b\x07\u009b\u202e\x7f":
            assert character not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["", "a", "a.b.c.d", ".", "..", "e30.e30.", b64(b"{}") + "." + b64(b"[]") + ".", "x" * 20000])
def test_what_is_no_token_is_said_so(text):
    done = inspected(text)
    if text == "e30.e30.":
        assert done.returncode == 0
    else:
        assert done.returncode == 1 and "No token: " in done.stdout
