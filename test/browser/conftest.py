"""Fixtures: `demo`, started with DEMO_PORT free and stopped at the end; `browser`, a headless Chromium; `page`, the demo's
page open in it, with no other tab and no cookie of another test."""

import os
import shutil
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "php")]

from chromium import start_browser  # noqa: E402
from demo import Demo, wait_for  # noqa: E402
from page import Page  # noqa: E402


@pytest.fixture(scope="session")
def browser():
    profile = tempfile.mkdtemp(prefix="mercure-browser.")
    driver = None
    try:
        driver = start_browser(profile)
        yield driver
    finally:
        if driver is not None:
            driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def demo():
    running = Demo()
    yield running
    running.close()


@pytest.fixture(scope="module")
def short_demo():
    """The server ends each stream after 1.6 to 2 seconds."""
    running = Demo(config="MercureMaxLifetime 2")
    yield running
    running.close()


@pytest.fixture
def open_page(browser):
    """Open the page of a demo in a new tab; all are closed at the end."""
    first = browser.current_window_handle

    def open_it(demo):
        browser.switch_to.new_window("tab")
        browser.get_log("browser")  # what others have left
        return Page(browser, demo, browser.current_window_handle)

    yield open_it
    for handle in browser.window_handles:
        if handle != first:
            browser.switch_to.window(handle)
            browser.delete_all_cookies()
            browser.close()
    browser.switch_to.window(first)
    wait_for(lambda: len(browser.window_handles) == 1, "the tabs are closed")
