"""HTTP/2 in a real browser: twenty EventSources of one tab share one connection with everything else that the tab does."""

import re

import pytest

from chromium import start_browser
from client import published, token
from demo import wait_for
from page import Page
from server import PATH, Server

CONFIG = r"""
Protocols h2 http/1.1
MercureHTTP2 On
CustomLog ports.log "%a:%{remote}p %>s \"%r\""
"""
STREAMS = 20
TOPICS = [f"https://site.example/{number}" for number in range(STREAMS)]
ALL = "https://site.example/all"

# One EventSource for each topic, which also watches ALL; window.seen[n] is what number n got, window.opened[n] how often it opened.
SUBSCRIBE = """
    const [hub, topics, all] = arguments;
    window.seen = topics.map(() => []);
    window.opened = topics.map(() => 0);
    window.sources = topics.map((topic, number) => {
        const query = new URLSearchParams([['match', topic], ['match', all]]);
        const source = new EventSource(`${hub}?${query}`);
        source.onopen = () => { opened[number] += 1; };
        source.onmessage = (event) => { seen[number].push(event.data); };
        return source;
    });
"""

# Publish with fetch(), one update after the other; between them get a large file and load a page into a frame.
PUBLISH_AND_LOAD = """
    const [hub, topics, bearer, messages] = arguments;
    window.done = (async () => {
        const result = { ids: [], sizes: [], titles: [] };
        const publish = async (topic, data) => {
            const answer = await fetch(hub, { method: 'POST', headers: { Authorization: `Bearer ${bearer}` },
                                              body: new URLSearchParams({ topic, data }) });
            if (!answer.ok) throw new Error(`publish: ${answer.status}`);
            result.ids.push(await answer.text());
        };
        for (const message of messages) {
            await publish(message.topic, message.data);
            if (result.ids.length % 10 === 0) {
                const file = await fetch('/large.bin', { cache: 'no-store' });
                result.sizes.push((await file.arrayBuffer()).byteLength);
                const frame = document.createElement('iframe');
                const loaded = new Promise((resolve) => { frame.onload = resolve; });
                frame.src = `/index.html?${result.ids.length}`;
                document.body.append(frame);
                await loaded;
                result.titles.push(frame.contentDocument.body.textContent.trim());
                frame.remove();
            }
        }
        return result;
    })().catch((error) => ({ error: String(error) })).then((result) => { window.result = result; });
"""


@pytest.fixture(scope="module")
def lenient_browser(tmp_path_factory):
    """A browser that takes the tests' self-signed certificates."""
    driver = start_browser(tmp_path_factory.mktemp("profile"), "--ignore-certificate-errors")
    yield driver
    driver.quit()


def connections(log):
    """The browser's ports from which an access log has requests over HTTP/2: one for each connection that carried any. (A browser
    may open a second connection in advance, and leave it idle.)
    """
    return set(re.findall(r'127\.0\.0\.1:(\d+) \d+ "[^"]* HTTP/2\.0"', log))


class Tab:
    """A page of the server, with its streams."""

    def __init__(self, browser, server):
        self.browser, self.server = browser, server
        self.hub = f"https://localhost:{server.port}{PATH}"
        browser.get(f"https://localhost:{server.port}/index.html")
        browser.execute_script(SUBSCRIBE, self.hub, TOPICS, ALL)
        self.wait_opened(1)

    def look(self, code):
        return self.browser.execute_script(f"return {code};")

    def access(self):
        with open(f"{self.server.dir}/ports.log") as f:
            return f.read()

    def wait_opened(self, times, seconds=15):
        try:
            wait_for(lambda: min(self.look("opened")) >= times, f"every stream has opened {times} times", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.look('opened')}\n{self.server.log()[-3000:]}") from None

    def wait_seen(self, wanted, seconds=15):
        """Wait until every stream has as many updates as it should have, then compare."""
        try:
            wait_for(lambda: all(len(s) >= len(w) for s, w in zip(self.look("seen"), wanted)), "updates", seconds)
        except AssertionError:
            pass
        assert self.look("seen") == wanted, self.server.log()[-3000:]


@pytest.fixture
def open_tab(lenient_browser):
    servers = []

    def make(**options):
        server = Server(tls=True, config=CONFIG, **options)
        servers.append(server)
        with open(f"{server.htdocs}/large.bin", "wb") as f:
            f.write(b"x" * 1_000_000)
        return Tab(lenient_browser, server.start())

    yield make
    lenient_browser.get("about:blank")  # the streams end with their page
    for server in servers:
        server.close()


def test_twenty_streams_of_a_tab_share_its_connection_with_publishing_and_pages(open_tab):
    tab = open_tab()
    assert tab.look("performance.getEntriesByType('navigation')[0].nextHopProtocol") == "h2"
    messages = [{"topic": ALL if n % 2 else TOPICS[n % STREAMS], "data": f"message {n}"} for n in range(60)]
    tab.browser.execute_script(PUBLISH_AND_LOAD, tab.hub, TOPICS, token(tab.server, publish=["*"]), messages)
    result = wait_for(lambda: tab.look("window.result"), "the tab has published", 30)
    assert "error" not in result, (result, tab.server.log()[-3000:])
    assert len(set(result["ids"])) == len(messages) and all(i.startswith("urn:uuid:") for i in result["ids"])
    assert result["sizes"] == [1_000_000] * 6 and result["titles"] == ["an ordinary page"] * 6
    tab.wait_seen([[m["data"] for m in messages if m["topic"] in (topic, ALL)] for topic in TOPICS])
    assert tab.look("opened") == [1] * STREAMS, "no stream had to come back"
    assert set(tab.look("performance.getEntriesByType('resource').map(e => e.nextHopProtocol)")) == {"h2"}
    assert len(connections(tab.access())) == 1


def test_after_a_graceful_restart_all_twenty_come_back_and_miss_nothing(open_tab):
    tab = open_tab()
    wanted = [["before"] for _ in TOPICS]
    published(tab.server, ALL, "before", fields=[("retry", "500")])
    tab.wait_seen(wanted)
    before = connections(tab.access())
    tab.server.graceful()
    for number, topic in enumerate(TOPICS):
        published(tab.server, topic, f"for {number}")
        wanted[number].append(f"for {number}")
        if number % 5 == 0:
            published(tab.server, ALL, f"for all {number}")
            for seen in wanted:
                seen.append(f"for all {number}")
    tab.wait_opened(2)
    published(tab.server, ALL, "back")
    tab.wait_seen([[*seen, "back"] for seen in wanted])
    assert len(before) == 1 and len(connections(tab.access()) - before) == 1, "one connection carries it all again"


# --- the demo's page ---


@pytest.fixture
def https_page(lenient_browser, demo):
    lenient_browser.get_log("browser")  # what other tests left
    lenient_browser.switch_to.new_window("tab")
    page = Page(lenient_browser, demo, lenient_browser.current_window_handle, demo.https_url)
    yield page
    lenient_browser.delete_all_cookies()
    lenient_browser.get("about:blank")


def tiles(page):
    return page.script("return [...document.querySelectorAll('#tiles button')].map(b => Number(b.dataset.count));")


def open_streams(page):
    return int(page.element("#streams").text)


def test_demo_over_https_has_a_stream_for_each_topic(demo, https_page):
    page = https_page.settle()
    assert page.element("#protocol").text == "This page came by HTTP/2: 13 live streams share one connection."
    assert open_streams(page) == 13
    assert len(set(re.findall(rf'"GET {PATH}\?match=([^&]*)&[^"]* HTTP/2\.0"', demo.read("access.log")))) == 13
    assert len(connections(demo.read("access.log"))) == 1
    page.publish("over HTTP/2", private=True)
    page.wait_texts(["over HTTP/2"])
    before = tiles(page)
    for number in (1, 12, 12):
        page.element(f"#tiles button[value='{number}']").click()
    before[0] += 1
    before[11] += 2
    wait_for(lambda: tiles(page) == before, "the topics count what was published")
    assert page.errors() == [] and not page.was_reloaded()


def test_demo_over_plain_http_has_one_stream_for_all_topics(demo, open_page):
    page = open_page(demo).settle()
    assert page.element("#protocol").text.startswith("This page came by HTTP/1.1: one live stream for all topics")
    assert open_streams(page) == 1
    assert page.element(".other a").get_attribute("href") == demo.https_url + "/"
    before = tiles(page)
    page.element("#tiles button[value='7']").click()
    before[6] += 1
    wait_for(lambda: tiles(page) == before, "the topic counts what was published")
    assert page.errors() == [] and not page.was_reloaded()
