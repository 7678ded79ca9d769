"""The page of a Symfony site in a real browser: an EventSource with topic= and the component's cookie, over HTTPS, that
loses nothing and gets nothing twice when its stream ends.
"""

import os

import pytest

from chromium import start_browser
from demo import wait_for
from symfony_site import Site

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/share/php/Symfony/Component/Mercure/Hub.php"),
                                reason="php-symfony-mercure is not installed")


@pytest.fixture(scope="module")
def trusting(tmp_path_factory):
    """A browser that takes the tests' self-signed certificate."""
    driver = start_browser(tmp_path_factory.mktemp("profile"), "--ignore-certificate-errors")
    yield driver
    driver.quit()


@pytest.fixture
def make_page(trusting):
    pages = []

    def make(query="", **options):
        pages.append(Books(trusting, Site(**options), query))
        return pages[-1]

    yield make
    trusting.get("about:blank")  # the stream ends with its page
    trusting.execute_cdp_cmd("Network.clearBrowserCookies", {})
    for page in pages:
        page.site.close()


class Books:
    """The site's page, open, with its stream."""

    def __init__(self, browser, site, query):
        self.browser, self.site = browser, site
        browser.get(f"{site.url}/{query}")
        browser.execute_script("window.neverReloaded = true;")
        wait_for(lambda: self.opened() > 0, "the stream is open")

    def script(self, code):
        return self.browser.execute_script(code)

    def opened(self):
        return self.script("return window.opened ?? 0;")

    def state(self):
        return self.script("return window.source?.readyState;")

    def texts(self):
        return self.script("return [...document.querySelectorAll('#updates li')].map(li => li.textContent);")

    def wait_texts(self, wanted, seconds=15):
        try:
            wait_for(lambda: len(self.texts()) >= len(wanted), "updates in the page", seconds)
        except AssertionError:
            pass
        assert self.texts() == wanted, self.site.server.log()[-2000:]

    def ids(self):
        return self.script("return [...document.querySelectorAll('#updates li')].map(li => li.dataset.id);")

    def wait_away(self):
        """Wait until the browser has seen the end of its stream; it comes back two seconds later."""
        wait_for(lambda: self.state() == 0, "the browser reconnects", 30)


def test_the_page_gets_public_and_private_updates(make_page):
    page = make_page()
    assert page.script("return document.cookie;") == "", "the cookie is out of the reach of scripts"
    page.site.published("public")
    page.site.published("private", private="on")
    page.site.published("private, elsewhere", topics=["https://site.example/shelves/1"], private="on")
    page.site.published("last")
    page.wait_texts(["public", "private", "last"])


def test_a_page_without_the_cookie_gets_public_updates_only(make_page):
    page = make_page("?anonymous")
    page.site.published("private", private="on")
    page.site.published("public")
    page.wait_texts(["public"])


@pytest.mark.parametrize("how", ["lifetime", "graceful", "restart of brokerd and httpd"])
def test_missed_updates_come_once_after_a_reconnection(make_page, how):
    # A connection that the browser opened in advance keeps a child of httpd from ending: not for long, here.
    page = make_page(main="MercureMaxLifetime 3" if how == "lifetime" else "RequestReadTimeout header=2")
    site, opened = page.site, page.opened()
    site.published("while open", retry="2000")
    page.wait_texts(["while open"])
    if how == "graceful":
        site.server.graceful()
    elif how != "lifetime":
        site.server.stop()
        site.server.start()
    page.wait_away()
    away = [f"away {i}" for i in range(4)]
    for i, data in enumerate(away):
        site.published(data, **({"private": "on"} if i % 2 else {}))
    assert page.texts() == ["while open"], "the stream has ended, so nothing can have come yet"
    page.wait_texts(["while open", *away])
    assert page.opened() > opened
    site.published("open again", private="on")
    page.wait_texts(["while open", *away, "open again"])
    ids = page.ids()
    assert len(set(ids)) == len(ids)
    assert page.script("return window.neverReloaded;") is True
    assert "mercureAuthorization" not in site.server.log()
