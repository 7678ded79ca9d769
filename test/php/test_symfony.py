"""Symfony's Mercure component, unchanged, against a hub with MercureCompatibility 8: in PHP-FPM, behind httpd."""

import base64
import json
import os
import re

import pytest

from symfony_site import BOOK, PATH, Site

from client import Stream, form, request  # noqa: E402

pytestmark = pytest.mark.skipif(not os.path.exists("/usr/share/php/Symfony/Component/Mercure/Hub.php"),
                                reason="php-symfony-mercure is not installed")


@pytest.fixture(scope="module")
def site():
    running = Site()
    yield running
    running.close()


def cookie_of(site):
    return re.match(r"mercureAuthorization=([^;]+)", site.cookie()).group(1)


def subscribe(site, headers=None, query="&topic=https://site.example/books/%7Bid%7D", **more):
    return Stream(site.server, [], query=query, headers=headers, **more)


def test_the_page_names_the_hub_and_sets_the_components_cookie(site):
    answer = request(site.server, "GET", "/")
    assert answer.status == 200, answer.body
    assert answer.headers["Link"] == f'<{site.hub}>; rel="mercure"'
    words = {word.strip().lower() for word in answer.headers["Set-Cookie"].split(";")[1:]}
    assert {f"path={PATH}", "secure", "httponly", "samesite=strict"} <= words
    head, payload, _ = (base64.urlsafe_b64decode(part + "==") for part in cookie_of(site).split("."))
    assert json.loads(head)["typ"] == "JWT"
    assert json.loads(payload)["mercure"] == {"publish": [], "subscribe": ["https://site.example/books/{id}"]}


def test_every_field_of_an_update_arrives(site):
    stream = subscribe(site)
    sent = site.published("two\nlines & 漢字", id="urn:site:1", type="changed", retry="1500")
    assert sent == "urn:site:1"
    assert stream.take() == [{"event": "changed", "retry": "1500", "id": "urn:site:1", "data": "two\nlines & 漢字"}]
    sent = site.published("with alternates", topics=["https://elsewhere.example/", BOOK])
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", sent)
    assert stream.take() == [{"id": sent, "data": "with alternates"}]
    stream.close()


def test_private_updates_are_for_the_cookies_holder(site):
    visitor = subscribe(site, {"Cookie": f"mercureAuthorization={cookie_of(site)}"})
    anonymous = subscribe(site)
    everything = subscribe(site, {"Cookie": f"mercureAuthorization={cookie_of(site)}"}, query="&topic=*")
    site.published("of another shelf", topics=["https://site.example/shelves/1"], private="on")
    site.published("private", private="on")
    site.published("public")
    assert visitor.data(2) == ["private", "public"]
    assert anonymous.data() == ["public"]
    assert everything.data(2) == ["private", "public"]
    for stream in (visitor, anonymous, everything):
        stream.close()


def test_missed_private_updates_are_replayed_to_the_cookies_holder(site):
    cursor = site.published("before")
    site.published("missed", private="on")
    site.published("missed too")
    headers = {"Cookie": f"mercureAuthorization={cookie_of(site)}"}
    for more in ({"last_event_id": cursor}, {"query": f"&topic={BOOK}&lastEventID={cursor}"}):
        stream = subscribe(site, headers, **more)
        assert stream.headers["last-event-id"] == cursor
        assert stream.data(2) == ["missed", "missed too"]
        stream.close()


def test_the_visitors_cookie_publishes_nothing(site):
    answer = request(site.server, "POST", PATH, {"Content-Type": "application/x-www-form-urlencoded", "Origin": site.url,
                                                 "Cookie": f"mercureAuthorization={cookie_of(site)}"},
                     form([("topic", BOOK)]))
    assert answer.status == 403 and 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("compatibility,issuer", [("", "https://site.example"), ("MercureCompatibility targets", "*")],
                         ids=["off", "targets"])
def test_what_the_component_sees_of_another_hub(compatibility, issuer):
    site = Site(compatibility=compatibility, issuer=issuer)
    try:
        answer = site.publish("x")
        if compatibility:
            assert answer.status == 200  # its token's array is there, and the update has no targets
        else:
            assert answer.status == 502 and "401" in answer.body
            assert "a token with a mercure claim is one of protocol 0.x, which MercureCompatibility 8" in site.server.log()
    finally:
        site.close()
