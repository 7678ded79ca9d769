"""Fixtures: `demo`, one for all tests of a file; `make_demo`, for a test that needs its own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from demo import Demo  # noqa: E402


@pytest.fixture(scope="module")
def demo():
    running = Demo()
    yield running
    running.close()


@pytest.fixture
def make_demo():
    demos = []

    def make(**options):
        demos.append(Demo(**options))
        return demos[-1]

    yield make
    for running in demos:
        running.close()
