"""A PHP site that publishes: demo/mercure.php, the demo's pages, and the script that runs them."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from demo import BUILD, ISSUER, OTHER_SECRET, PATH, ROOT, TOPIC, free_port, php, wait_for

SECRET = "a-secret-for-the-tests-of-php-that-is-long-enough"
HUB = "$hub = new Mercure(getenv('URL'), getenv('ISSUER'), getenv('SECRET'), 'a-client');"
DETAIL = "https://mercure.rocks/authorization-detail"
CURL, STREAM = (), ("-d", "disable_functions=curl_init")


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- the helper alone ---


def test_token_has_the_claims_of_an_access_token_and_is_signed_with_the_secret():
    before = int(time.time())
    token, other = php(HUB + "echo $hub->token(publish: ['a'], subscribe: ['b', 'c'], seconds: 90), ' ', $hub->token();",
                       URL="https://h.example/hub", ISSUER=ISSUER, SECRET=SECRET).split()
    head, body, signature = token.split(".")
    assert json.loads(part(head)) == {"typ": "at+jwt", "alg": "HS256"}
    assert part(signature) == hmac.new(SECRET.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    claims = json.loads(part(body))
    issued, jti = claims.pop("iat"), claims.pop("jti")
    assert before <= issued <= time.time()
    assert len(jti) == 32 and jti != json.loads(part(other.split(".")[1]))["jti"]
    assert claims == {
        "iss": ISSUER, "aud": "https://h.example/hub", "exp": issued + 90, "sub": "a-client", "client_id": "a-client",
        "authorization_details": [
            {"type": DETAIL, "actions": ["publish"], "topics": [{"match": "a"}]},
            {"type": DETAIL, "actions": ["subscribe"], "topics": [{"match": "b"}, {"match": "c"}]}]}


@pytest.mark.parametrize("transport", [CURL, STREAM], ids=["curl", "stream"])
def test_helper_publishes_every_field(demo, transport):
    secret = demo.read("secret").strip()
    with_fields = HUB + ("echo $hub->publish(['https://demo.example/other', '" + TOPIC + "'], \"a\\nb\", type: 'a-type', "
                         "id: 'urn:test:' . getenv('ID'), retry: 2500);")
    stream = demo.subscribe()
    name = "stream" if transport else "curl"
    assert php(with_fields, *transport, URL=demo.hub, ISSUER=ISSUER, SECRET=secret, ID=name) == f"urn:test:{name}"
    assert stream.take() == [{"event": "a-type", "retry": "2500", "id": f"urn:test:{name}", "data": "a\nb"}]
    stream.close()


CAUGHT = "try { %s } catch (MercureError $e) { echo $e->getCode(), ' ', $e->getMessage(); }"


@pytest.mark.parametrize("transport", [CURL, STREAM], ids=["curl", "stream"])
def test_helper_says_what_went_wrong(demo, transport):
    right = {"URL": demo.hub, "ISSUER": ISSUER, "SECRET": demo.read("secret").strip()}
    publish = HUB + CAUGHT % "$hub->publish('https://demo.example/x', 'x');"
    assert php(publish, *transport, **{**right, "SECRET": OTHER_SECRET}).startswith("401 The hub does not accept")
    assert php(publish, *transport, **{**right, "ISSUER": "https://stranger.example"}).startswith("401 ")
    assert php(HUB + CAUGHT % "$hub->publish('*', 'x');", *transport, **right).startswith("400 ")
    assert php(HUB + CAUGHT % "$hub->publish('a', str_repeat('x', 2000000));", *transport, **right).startswith("413 ")
    gone = demo.url.replace(str(demo.port), "9") + PATH  # the discard port: nobody listens
    assert php(publish, *transport, **{**right, "URL": gone}).startswith("0 The hub cannot be reached")


@pytest.mark.parametrize("transport", [CURL, STREAM], ids=["curl", "stream"])
@pytest.mark.parametrize("status, more, said", [
    ("403 Forbidden", "", "403 This site's token does not allow it"),
    ("503 Service Unavailable", "Retry-After: 7\r\n", "503 The hub cannot take the update now; try again soon. 7"),
    ("302 Found", "Location: /\r\n", "302 The hub answered 302"),
])
def test_helper_tells_each_refusal(transport, status, more, said):
    """Against a stub: these answers need a hub in trouble."""
    code = HUB + CAUGHT.replace("getMessage()", "getMessage(), ' ', $e->retryAfter") % "$hub->publish('a', 'x');"
    with socket.create_server(("127.0.0.1", 0)) as stub:
        stub.settimeout(10)
        url = f"http://127.0.0.1:{stub.getsockname()[1]}/hub"

        def answer():
            conn, _ = stub.accept()
            with conn:
                while b"data=x" not in conn.recv(65536):
                    pass
                conn.sendall(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())

        thread = threading.Thread(target=answer)
        thread.start()
        assert php(code, *transport, URL=url, ISSUER=ISSUER, SECRET=SECRET).startswith(said)
        thread.join()


# --- the pages ---


def test_form_publishes_and_a_subscriber_gets_the_update(demo):
    stream = demo.subscribe()
    status, headers, body = demo.post("hello")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert stream.take() == [{"id": json.loads(body)["id"], "data": "hello"}]
    stream.close()


def test_form_works_without_javascript(demo):
    stream = demo.subscribe()
    status, headers, _ = demo.post("plain form", accept="text/html")
    event = stream.take()[0]
    assert status == 303 and event["data"] == "plain form"
    status, _, page = demo.request("GET", "/" + headers["Location"].removeprefix("./"))
    assert status == 200 and f"Published as <code>{event['id']}</code>" in page
    assert "<script>" not in demo.request("GET", "/?published=%3Cscript%3E")[2]
    stream.close()


@pytest.mark.parametrize("message, wanted", [
    ("<b>\"it's\" & é 漢字 😀 %41 +\t\\</b>", None),
    ("one\ntwo\r\nthree\rfour\n\nsix\n", "one\ntwo\nthree\nfour\n\nsix\n"),
    ("data: no\nid: 5\n: comment\nevent: x", None),
    ("", None),
    (" leading and trailing ", None),
    ("0123456789abcde\n" * 6400, None),
], ids=["special", "newlines", "like-sse", "empty", "spaces", "100kB"])
def test_message_survives(demo, message, wanted):
    stream = demo.subscribe()
    demo.published(message)
    assert stream.data() == [message if wanted is None else wanted]
    stream.close()


def test_private_message_needs_the_token_of_the_page(demo):
    anonymous, visitor = demo.subscribe(), demo.subscribe(bearer=demo.visitor_token())
    demo.published("for the few", private=True)
    demo.published("for all")
    assert visitor.data(2) == ["for the few", "for all"]
    assert anonymous.data() == ["for all"]
    anonymous.close()
    visitor.close()


def test_visitor_token_is_out_of_the_reach_of_scripts_and_cannot_publish(demo):
    _, headers, _ = demo.request("GET", "/")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and f"path={PATH}" in cookie
    status, _, _ = demo.request("POST", PATH, f"topic={TOPIC}&data=x".encode(), {
        "Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {demo.visitor_token()}"})
    assert status == 403


def test_publish_page_refuses_what_is_not_its_form(demo):
    assert demo.request("GET", "/publish.php")[0] == 405
    assert demo.request("POST", "/publish.php", b"message[]=x", {
        "Content-Type": "application/x-www-form-urlencoded"})[0] == 400
    assert demo.post("x", headers={"Origin": "https://evil.example"})[0] == 403
    status, _, body = demo.request("POST", "/publish.php", b"message=%ff", {
        "Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"})
    assert status == 400 and "malformed" in json.loads(body)["error"]
    assert demo.request("GET", "/mercure.php")[0] == 404


def test_wrong_secret_shows_an_error(make_demo):
    demo = make_demo(config=f"<Location {PATH}>\nMercureIssuer {ISSUER} both HS256 {OTHER_SECRET}\n</Location>")
    status, _, body = demo.post("x")
    assert status == 502 and "does not accept this site's token" in json.loads(body)["error"]
    status, headers, page = demo.post("x", accept="text/html")
    assert status == 502 and headers["Content-Type"].startswith("text/html")
    assert "does not accept this site&#039;s token" in page
    assert "Fatal" not in page and OTHER_SECRET not in page
    assert "Fatal" not in demo.read("php-fpm.log") + demo.log()


# --- the script ---


def runs(pid):
    """Not so for a zombie, which a container without an init may keep."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids):
    return not any(runs(pid) for pid in pids)


@pytest.mark.parametrize("how", ["terminal", "SIGINT", "SIGTERM"])
def test_script_stops_everything_and_leaves_nothing(make_demo, how):
    demo = make_demo()
    stream = demo.subscribe()
    pids = demo.pids()
    names = {open(f"/proc/{pid}/comm").read().strip() for pid in pids}
    assert {"apache2", "brokerd"} <= names and any(n.startswith("php-fpm") for n in names), names
    before = time.monotonic()
    if how == "terminal":
        demo.kill_group()
    assert demo.stop(signal.SIGTERM if how == "SIGTERM" else signal.SIGINT) == 0
    assert time.monotonic() - before < 5
    assert not os.path.exists(demo.dir)
    wait_for(lambda: gone(pids), "all processes are gone", 2)
    stream.wait_end()


def test_a_killed_script_leaves_no_process(make_demo):
    demo = make_demo()
    pids = demo.pids()
    demo.process.kill()
    demo.process.wait()
    wait_for(lambda: gone(pids), "all processes are gone")
    subprocess.run(["rm", "-rf", demo.dir], check=True)
    demo.close = lambda: None


def run(**environment):
    environment = {"DEMO_TLS_PORT": str(free_port()), **environment}
    return subprocess.run([os.path.join(ROOT, "demo", "run.sh")], env=dict(os.environ, **environment),
                          capture_output=True, text=True, timeout=20)


def directories(port):
    """The demo's temporary directories for that port."""
    found = []
    for name in os.listdir("/tmp"):
        if name.startswith("mercure-demo."):
            try:
                with open(f"/tmp/{name}/httpd.conf") as f:
                    found += [f"/tmp/{name}"] if f"Listen 127.0.0.1:{port}\n" in f.read() else []
            except FileNotFoundError:
                pass  # it goes just now
    return found


def test_script_says_that_the_port_is_taken(demo):
    done = run(DEMO_PORT=str(demo.port))
    assert done.returncode == 1 and f"Port {demo.port} on localhost is taken" in done.stderr
    assert directories(demo.port) == [demo.dir]
    assert demo.request("GET", "/")[0] == 200


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", ""])
def test_script_wants_a_port_number(port):
    done = run(DEMO_PORT=port, MERCURE_BUILD="no-such-directory")
    assert done.returncode == 1 and ("DEMO_PORT must be" in done.stderr) == (port != "")


@pytest.mark.parametrize("wrong, said", [
    ({"DEMO_EXTRA_CONFIG": "MercureHub Perhaps"}, ("httpd did not start", "MercureHub must be On or Off")),
    ({"DEMO_EXTRA_CONFIG": "MercureHub Off"}, ("does not answer after 1 seconds", "hub: HTTP/1.1 404")),
    ({"MERCURE_BUILD": "no-such-directory"}, ("no-such-directory/mod_mercure.so is missing",)),
], ids=["configuration", "no-hub", "not-built"])
def test_script_says_what_did_not_start_and_leaves_nothing(wrong, said):
    port = free_port()
    done = run(DEMO_PORT=str(port), DEMO_WAIT="1", **wrong)
    assert done.returncode == 1
    for words in said:
        assert words in done.stderr, done.stderr
    assert directories(port) == []


def test_script_says_that_brokerd_does_not_start(tmp_path):
    os.symlink(os.path.join(BUILD, "mod_mercure.so"), tmp_path / "mod_mercure.so")
    os.symlink("/bin/false", tmp_path / "brokerd")
    done = run(DEMO_PORT=str(free_port()), DEMO_WAIT="1", MERCURE_BUILD=str(tmp_path))
    assert done.returncode == 1
    assert "hub: HTTP/1.1 503" in done.stderr and "brokerd has ended (" in done.stderr, done.stderr
