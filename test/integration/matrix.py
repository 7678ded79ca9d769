"""The columns in which tests run: the protocol that the clients speak, and httpd's MPM.

A file, or a test, that speaks of a hub's behaviour says `pytestmark = protocols("plain", "h2")`, or `@protocols(...)`: what it
starts by `make_server` or by `Server(**protocol)` then speaks each in turn. Without the mark it is plain HTTP/1.1.
"""

import pytest

PROTOCOLS = {"plain": {}, "tls": {"tls": True}, "h2": {"http2": True}}  # options of Server
MPMS = ("event", "worker", "prefork")

protocols = pytest.mark.protocols
http1_only = protocols("plain")


def columns(*pairs):
    """Parametrize a test, which takes `mpm`, by (MPM, protocol)."""
    by_pair = pytest.mark.parametrize("mpm,protocol", pairs, ids=["-".join(p) for p in pairs], indirect=["protocol"])
    return lambda test: protocols()(by_pair(test))  # the file's own mark is not for it


matrix = columns(*[(mpm, protocol) for mpm in MPMS for protocol in PROTOCOLS])
