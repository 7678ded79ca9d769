"""The demo's page in a real browser, with a real EventSource."""

import re

import pytest

from demo import PATH, wait_for

UUID = re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_page_opens_and_its_stream_is_open(demo, open_page):
    page = open_page(demo)
    page.wait_state("open")
    assert page.element("h1").text == "Live updates with Mercure"
    assert demo.subscriptions() == ["-"]
    assert "$hub->publish(" in page.element(".about pre").text
    assert page.errors() == []


def test_message_of_the_form_appears_without_a_reload(demo, open_page):
    page = open_page(demo).settle()
    count = page.count()
    message = "from the form\nin two lines <img src=x onerror=alert(1)> & 漢字"
    page.publish(message)
    page.wait_texts([message])
    _, event_id, private = page.updates()[-1]
    assert UUID.fullmatch(event_id) and not private
    wait_for(lambda: page.result() == f"Published as {event_id}", "the form says the id")
    assert page.count() == count + 1
    assert page.element("#message").get_attribute("value") == ""
    assert not page.was_reloaded()
    assert page.errors() == []


def test_two_tabs_both_get_it(demo, open_page):
    one = open_page(demo).settle()
    two = open_page(demo)
    two.wait_state("open")
    one.publish("from one")
    two.mark = one.mark
    two.wait_texts(["from one"])
    two.publish("from two")
    for page in (one, two):
        page.wait_texts(["from one", "from two"])
        assert not page.was_reloaded()
    assert one.updates() == two.updates()


def test_private_message_is_for_the_page_and_not_for_an_anonymous_subscriber(demo, open_page):
    page = open_page(demo).settle()
    anonymous = demo.subscribe()
    page.publish("between us", private=True)
    page.wait_texts(["between us"])
    demo.published("for all")
    page.wait_texts(["between us", "for all"])
    assert [private for _, _, private in page.updates()] == [True, False]
    assert anonymous.data() == ["for all"]
    assert page.script("return document.cookie;") == "", "a script must not see the token"
    anonymous.close()


def test_new_page_shows_what_the_hub_still_has(demo, open_page):
    first = open_page(demo).settle()
    demo.published("")  # an empty message is one too
    demo.published("the last one")
    first.wait_texts(["", "the last one"])
    second = open_page(demo)
    wait_for(lambda: second.all_updates() == first.all_updates(), "the history in the new page")


def test_page_shows_a_refusal_and_keeps_the_message(demo, open_page):
    page = open_page(demo).settle()
    # More than the hub takes; no person types that much.
    page.script("document.getElementById('message').value = 'x'.repeat(1200000);")
    page.element("#publish button").click()
    wait_for(lambda: "larger than the hub takes" in page.result(), "the refusal in the page")
    assert page.script("return document.getElementById('message').value.length;") == 1200000
    assert page.texts() == []


@pytest.mark.parametrize("width", [320, 390, 1200])
def test_page_fits_its_width(demo, open_page, browser, width):
    page = open_page(demo).settle()
    page.turn_to().execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                   {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500})
    long_word = "aWordThatIsMuchTooLongForALine" * 20
    demo.published(long_word)
    page.wait_texts([long_word])
    for inside, wide in page.script("""
            return [document.documentElement, ...document.querySelectorAll('.card, .text, pre')]
                .map(e => [e.clientWidth, e.scrollWidth]);"""):
        assert wide == inside <= width, "something is wider than its place"


# --- reconnecting ---


def test_nothing_is_lost_or_repeated_while_the_browser_reconnects(short_demo, open_page):
    page = open_page(short_demo).settle()
    requests = len(short_demo.subscriptions())
    # Begin with a fresh stream, so that this one does not end before the test is there.
    page.wait_state("reconnecting")
    page.wait_state("open")
    short_demo.published("while open")
    page.wait_texts(["while open"])
    last_id = page.updates()[-1][1]
    ended = page.stream_requests()
    page.wait_state("reconnecting")
    away = [f"while away {number}" for number in range(6)]
    for number, message in enumerate(away):
        short_demo.published(message, private=number % 2 == 1)
    assert page.texts() == ["while open"], "the stream has ended, so nothing can have come yet"
    page.wait_state("open")
    page.wait_texts(["while open", *away])
    short_demo.published("open again")
    page.wait_texts(["while open", *away, "open again"])
    ids = [event_id for _, event_id, _ in page.all_updates()]
    assert len(set(ids)) == len(ids)
    assert short_demo.subscriptions()[requests + 1:] == [last_id], "one new request, with the cursor"
    assert page.stream_requests() == ended + 1
    assert not page.was_reloaded()


def test_page_gets_a_new_token_when_the_hub_refuses_its_old_one(short_demo, open_page):
    page = open_page(short_demo).settle()
    # As after a restart of the hub with another secret: 401, and an EventSource that has given up.
    page.turn_to().execute_cdp_cmd("Network.setCookie", {
        "url": short_demo.hub, "path": PATH, "name": "demo_access_token", "value": "no.good.token", "httpOnly": True})
    page.wait_state("reconnecting")
    short_demo.published("for holders of a token", private=True)
    wait_for(lambda: " 401 " in short_demo.read("access.log"), "the hub refuses the old token")
    page.wait_state("open")
    page.wait_texts(["for holders of a token"])
    assert not page.was_reloaded()
