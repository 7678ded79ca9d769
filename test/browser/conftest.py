"""Fixtures: `demo`, started with DEMO_PORT free and stopped at the end; `browser`, a headless Chromium; `page`, the demo's
page open in it, with no other tab and no cookie of another test."""

import os
import shutil
import sys
import tempfile

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "php")]

from demo import Demo, wait_for  # noqa: E402
from page import Page  # noqa: E402

# Chromium as root wants no sandbox; the rest keeps it from talking to anybody but the demo.
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-dev-shm-usage", "--window-size=1200,900"]


def start_browser(profile):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in [*ARGUMENTS, f"--user-data-dir={profile}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


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
        return Page(browser, demo, browser.current_window_handle)

    yield open_it
    for handle in browser.window_handles:
        if handle != first:
            browser.switch_to.window(handle)
            browser.delete_all_cookies()
            browser.close()
    browser.switch_to.window(first)
    wait_for(lambda: len(browser.window_handles) == 1, "the tabs are closed")
