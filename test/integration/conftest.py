"""Fixtures: `make_server` starts private servers and stops them, checking that no process crashed; `protocol` is the column of the
test (see matrix.py), as options of Server."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from matrix import PROTOCOLS  # noqa: E402
from server import Server  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "protocols(*names): run over each of these protocols, see matrix.py")


def pytest_generate_tests(metafunc):
    mark = metafunc.definition.get_closest_marker("protocols")
    if mark is not None and mark.args and "protocol" in metafunc.fixturenames:
        metafunc.parametrize("protocol", mark.args, indirect=True, scope="module")


@pytest.fixture(scope="module")
def protocol(request):
    return PROTOCOLS[getattr(request, "param", "plain")]


@pytest.fixture
def make_server(protocol):
    servers = []

    def make(*arguments, start=True, **options):
        server = Server(*arguments, **{**protocol, **options})
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
