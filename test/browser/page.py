"""The demo's page as a person sees and uses it."""

import itertools

from demo import wait_for
from selenium.webdriver.common.by import By


_numbers = itertools.count(1)


class Page:
    def __init__(self, browser, demo, handle, url=None):
        self.browser, self.demo, self.handle = browser, demo, handle
        browser.get((url or demo.url) + "/")
        # Would be lost by a reload.
        browser.execute_script("window.neverReloaded = true;")

    def turn_to(self):
        self.browser.switch_to.window(self.handle)
        return self.browser

    def element(self, selector):
        return self.turn_to().find_element(By.CSS_SELECTOR, selector)

    def script(self, code, *arguments):
        return self.turn_to().execute_script(code, *arguments)

    # --- doing ---

    def publish(self, message, private=False):
        self.element("#message").send_keys(message)
        if private:
            self.element("#private").click()
        self.element("#publish button").click()

    # --- looking ---

    def state(self):
        return self.element("#state").text

    def wait_state(self, name, seconds=10):
        wait_for(lambda: self.state() == name, f"the page's state is {name}", seconds)

    def settle(self):
        """Wait until the stream is open and all that was published before is in the page: from here on its updates count."""
        mark = f"mark {next(_numbers)}"
        self.wait_state("open")
        self.demo.published(mark)
        wait_for(lambda: mark in [text for text, _, _ in self.all_updates()], "the mark in the page")
        self.mark = mark
        return self

    def all_updates(self):
        """What the page shows, oldest first: (text, event id, private)."""
        return [tuple(row) for row in self.script("""
            return [...document.querySelectorAll('#updates li')].reverse().map(li =>
                [li.querySelector('.text').textContent, li.querySelector('.id').textContent,
                 li.querySelector('.badge') !== null]);""")]

    def updates(self):
        """What came since settle()."""
        rows = self.all_updates()
        return rows[[text for text, _, _ in rows].index(self.mark) + 1:]

    def texts(self):
        return [text for text, _, _ in self.updates()]

    def wait_texts(self, wanted, seconds=10):
        """Wait for as many updates since settle(), then compare."""
        try:
            wait_for(lambda: len(self.texts()) >= len(wanted), "updates in the page", seconds)
        except AssertionError:
            pass
        assert self.texts() == wanted, (self.state(), self.demo.log()[-2000:])

    def count(self):
        return int(self.element("#count").text)

    def result(self):
        return self.element("#result").text

    def was_reloaded(self):
        return self.script("return window.neverReloaded !== true;")

    def stream_requests(self):
        """The requests for a stream that have ended, by the browser's own account."""
        return self.script("return performance.getEntriesByType('resource')"
                           ".filter(e => e.initiatorType === 'eventsource' || e.name.includes('match=')).length;")

    def errors(self):
        """Errors in the browser's console since the last look, such as a blocked or missing resource."""
        return [line["message"] for line in self.turn_to().get_log("browser") if line["level"] == "SEVERE"]
