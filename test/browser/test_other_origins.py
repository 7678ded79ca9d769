"""Pages of another origin than the hub's, in a real browser: what MercureCORSOrigins lets them do and see.

The hub is at https://localhost:PORT. Its pages come from https://localhost:OTHER (another origin of the same site, to which SameSite
cookies go) or http://127.0.0.1:OTHER (another site).
"""

import shutil
import tempfile

import pytest
from chromium import start_browser
from client import PATH, published, token
from origins import COOKIE, certificate, hub, page_origin
from server import wait_for

EVENT_SOURCE = """
    const [url, credentials] = arguments;
    window.seen = [];
    window.source = new EventSource(url, {withCredentials: credentials});
    source.onopen = () => seen.push('open');
    source.onmessage = e => seen.push(e.data);
    source.onerror = () => seen.push('error ' + source.readyState);
"""

# Ends at the first error, or when the body does.
FETCH = """
    const [url, options] = arguments;
    window.seen = [];
    window.left = new AbortController();
    (async () => {
        const answer = await fetch(url, {...options, signal: left.signal});
        seen.push(answer.status);
        window.headers = Object.fromEntries(answer.headers);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        window.text = '';
        for (;;) {
            const {done, value} = await reader.read();
            if (done) break;
            text += value;
        }
        seen.push('end');
    })().catch(e => seen.push(e.name));
"""


@pytest.fixture(scope="module")
def tls():
    """The certificate of the tests; the browser of this file accepts any."""
    directory = tempfile.mkdtemp(prefix="mercure-origins.")
    yield certificate(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def lenient_browser():
    profile = tempfile.mkdtemp(prefix="mercure-browser.")
    driver = start_browser(profile, "--ignore-certificate-errors")
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def app(tls):
    with page_origin("localhost", tls) as origin:
        yield origin


@pytest.fixture(scope="module")
def stranger(tls):
    with page_origin("localhost", tls) as origin:
        yield origin


@pytest.fixture(scope="module")
def other_site():
    with page_origin("127.0.0.1") as origin:
        yield origin


@pytest.fixture(scope="module")
def listed(app):
    """A hub for subscribers with a token, which lists the app's origin."""
    with hub(app, anonymous=False) as server:
        yield server


@pytest.fixture(scope="module")
def starred(app):
    """A hub that lists anybody, for anonymous subscribers."""
    with hub("*") as server:
        yield server


class Page:
    """A page of some origin, which talks to a hub."""

    def __init__(self, browser, origin, server):
        self.browser, self.server = browser, server
        self.url = f"https://localhost:{server.port}{PATH}"
        browser.get(origin + "/page")
        browser.get_log("browser")

    def give_cookie(self, value):
        self.browser.execute_cdp_cmd("Network.setCookie", {"url": self.url, "path": PATH, "name": COOKIE, "value": value,
                                                           "secure": True, "httpOnly": True, "sameSite": "Strict"})

    def subscribe(self, credentials, topic="a"):
        self.browser.execute_script(EVENT_SOURCE, f"{self.url}?match={topic}", credentials)

    def fetch(self, path="?match=a", **options):
        self.browser.execute_script(FETCH, self.url + path, options)

    def look(self, code):
        return self.browser.execute_script(f"return {code};")

    def wait_seen(self, *wanted):
        wait_for(lambda: len(self.look("seen")) >= len(wanted), f"{wanted} in the page")
        assert self.look("seen") == list(wanted), self.errors()

    def errors(self):
        return [line["message"] for line in self.browser.get_log("browser")]

    def requests(self, method):
        """How many requests of this method the hub has had."""
        return self.server.access().count(f'"{method} {PATH}')


@pytest.fixture
def visit(lenient_browser):
    def make(origin, server):
        return Page(lenient_browser, origin, server)

    yield make
    lenient_browser.execute_script("window.source?.close(); window.left?.abort();")
    lenient_browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    lenient_browser.get("about:blank")


# --- EventSource ---

def test_listed_origin_subscribes_with_its_cookie(visit, app, listed):
    page = visit(app, listed)
    page.give_cookie(token(listed, subscribe=["a"]))
    page.subscribe(True)
    page.wait_seen("open")
    published(listed, "a", "for the holder", fields=[("private", "on")])
    page.wait_seen("open", "for the holder")


def test_listed_origin_without_credentials_sends_no_cookie(visit, app, listed):
    page = visit(app, listed)
    page.give_cookie(token(listed, subscribe=["a"]))
    page.subscribe(False)
    page.wait_seen("error 2")
    listed.wait_log("answers 401: a subscription without a token")


@pytest.mark.parametrize("credentials", [True, False])
def test_an_origin_that_is_not_listed_sees_a_failure(visit, stranger, app, listed, credentials):
    page = visit(stranger, listed)
    page.give_cookie(token(listed, subscribe=["a"]))
    page.subscribe(credentials)
    page.wait_seen("error 2")
    assert any("blocked by CORS policy" in line for line in page.errors())
    published(listed, "a", "not for strangers")
    assert page.look("seen") == ["error 2"]


def test_star_works_without_credentials(visit, other_site, starred):
    page = visit(other_site, starred)
    page.subscribe(False)
    page.wait_seen("open")
    published(starred, "a", "for anybody")
    page.wait_seen("open", "for anybody")


def test_star_fails_with_credentials(visit, other_site, starred):
    page = visit(other_site, starred)
    page.subscribe(True)
    page.wait_seen("error 2")
    assert any("must not be the wildcard '*'" in line for line in page.errors())


def test_beside_star_a_listed_origin_keeps_its_cookie(visit, app, other_site):
    with hub(f"* {app}", anonymous=False) as server:
        page = visit(app, server)
        page.give_cookie(token(server, subscribe=["a"]))
        page.subscribe(True)
        page.wait_seen("open")
        stranger = visit(other_site, server)
        stranger.subscribe(True)
        stranger.wait_seen("error 2")


# --- fetch() ---

def bearer(server, **grants):
    return {"Authorization": f"Bearer {token(server, **grants)}"}


def test_listed_origin_streams_with_the_authorization_header(visit, app, listed):
    page = visit(app, listed)
    before = page.requests("OPTIONS")
    page.fetch(headers={**bearer(listed, subscribe=["a"]), "Last-Event-ID": "earliest", "Cache-Control": "no-cache"})
    page.wait_seen(200)
    for data in ("one", "two"):
        sent = published(listed, "a", data, fields=[("private", "on")])
        wait_for(lambda: f"id: {sent}\ndata: {data}\n\n" in page.look("text"), f"{data} in the page, while the stream is open")
    assert page.look("seen") == [200], "it goes on"
    assert page.requests("OPTIONS") == before + 1, "the preflight"
    assert "mercure-last-event-id" in page.look("headers")


def test_query_and_post_have_preflights_too(visit, app, listed):
    page = visit(app, listed)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    page.fetch("", method="QUERY", body="match=a", headers={**form, **bearer(listed, subscribe=["a"])})
    page.wait_seen(200)
    wait_for(lambda: page.look("text") != "", "the first comment")
    # On another topic, whose update the first fetch does not add to the text.
    page.fetch("", method="POST", body="topic=b&data=from+the+page", headers={**form, **bearer(listed, publish=["b"])})
    page.wait_seen(200, "end")
    assert page.look("text").startswith("urn:uuid:")


def test_an_origin_that_is_not_listed_does_not_get_past_the_preflight(visit, stranger, listed):
    page = visit(stranger, listed)
    before = page.requests("GET"), page.requests("POST")
    page.fetch(headers=bearer(listed, subscribe=["a"]))
    page.wait_seen("TypeError")
    assert any("preflight" in line and "blocked by CORS policy" in line for line in page.errors())
    page.fetch("", method="POST", body="topic=a", headers={**bearer(listed, publish=["a"]),
                                                         "Content-Type": "application/x-www-form-urlencoded"})
    page.wait_seen("TypeError")
    assert (page.requests("GET"), page.requests("POST")) == before


def test_star_takes_the_authorization_header(visit, other_site, starred):
    """A token in the header is no credential of the browser's: whoever has it may use it from anywhere."""
    page = visit(other_site, starred)
    page.fetch(headers=bearer(starred, subscribe=["a"]))
    page.wait_seen(200)
    sent = published(starred, "a", "secret", fields=[("private", "on")])
    wait_for(lambda: f"id: {sent}\ndata: secret" in page.look("text"), "the private update")


def test_star_with_credentials_fails_in_fetch(visit, other_site, starred):
    page = visit(other_site, starred)
    page.fetch(credentials="include")
    page.wait_seen("TypeError")


# --- errors ---

@pytest.mark.parametrize("path,options,status,body", [
    ("?match=a", {}, 401, "Unauthorized\n"),
    ("?match=a", {"headers": {"Authorization": "Bearer not.a.token"}}, 401, "invalid_token\n"),
    ("?match=a", {"method": "PUT"}, None, None),  # the preflight does not allow it
    ("", {"method": "POST", "body": "topic=a", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 401, "Unauthorized\n"),
    ("", {"headers": {"Authorization": "TOKEN"}}, 400, "Bad Request\n"),
])
def test_listed_origin_sees_why_it_was_refused(visit, app, listed, path, options, status, body):
    page = visit(app, listed)
    if options.get("headers", {}).get("Authorization") == "TOKEN":
        options = {"headers": bearer(listed, subscribe=["a"])}
    page.fetch(path, **options)
    if status is None:
        page.wait_seen("TypeError")
        return
    page.wait_seen(status, "end")
    assert page.look("text") == body
    # Link and Mercure-Last-Event-ID are exposed, and what the Fetch standard always lets through; the challenge is not.
    assert sorted(page.look("headers")) == ["cache-control", "content-length", "content-type"]


def test_listed_origin_sees_a_refusal_of_httpd_itself(visit, app):
    with hub(app, config=f"<Location {PATH}>\nRequire expr %{{REQUEST_METHOD}} == 'OPTIONS'\n</Location>\n") as server:
        page = visit(app, server)
        page.fetch(headers=bearer(server, subscribe=["a"]))
        page.wait_seen(403, "end")
        assert "You don't have permission" in page.look("text")


def test_the_metadata_is_readable_and_link_is_exposed(visit, app):
    with hub(app, config="MercureDiscovery On\n") as server:
        page = visit(app, server)
        page.url = page.url.replace(PATH, f"/.well-known/oauth-protected-resource{PATH}")
        page.fetch("")
        page.wait_seen(200, "end")
        assert f'"resource":"https://localhost:{server.port}{PATH}"' in page.look("text")
        assert page.look("headers")["link"] == f"<https://localhost:{server.port}{PATH}>; rel=\"mercure\""
