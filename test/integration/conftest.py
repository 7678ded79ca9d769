"""Fixtures: `make_server` starts private servers and stops them, checking that no process crashed."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from server import Server  # noqa: E402


@pytest.fixture
def make_server():
    servers = []

    def make(*arguments, start=True, **options):
        server = Server(*arguments, **options)
        servers.append(server)
        return server.start() if start else server

    yield make
    errors = []
    for server in servers:
        try:
            server.close()
        except AssertionError as e:
            errors.append(str(e))
    assert not errors, "\n".join(errors)


@pytest.fixture
def server(make_server):
    return make_server()
