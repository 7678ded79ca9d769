"""Other modules, switched on for the whole site: streams arrive untouched and at once, publishing works."""

import os

import pytest

from client import PATH, Refused, Stream, publish, published, request
from matrix import columns, protocols
from server import wait_for

pytestmark = protocols("plain", "h2")
MODSECURITY = "/etc/modsecurity/modsecurity.conf-recommended"


def round_trip(server, **headers):
    """A stream gets the very bytes that were published, and gets each at once."""
    stream = Stream(server, "a", headers={"Accept-Encoding": "gzip, deflate, br", **headers})
    for data in ("hello", "hello again", "x" * 20_000, "last"):
        sent = published(server, "a", data)
        assert stream.take(1) == [{"id": sent, "data": data}]
    assert "content-encoding" not in stream.headers
    return stream


@columns(("event", "plain"), ("prefork", "plain"), ("event", "h2"))
@pytest.mark.parametrize("modules,config", [
    (["filter", "deflate"], "SetOutputFilter DEFLATE"),
    (["filter", "deflate"], "AddOutputFilterByType DEFLATE text/event-stream text/plain"),
    (["filter", "brotli"], "SetOutputFilter BROTLI_COMPRESS"),
    (["filter", "substitute"], "SetOutputFilter SUBSTITUTE\n<Location />\nSubstitute s/hello/goodbye/\n</Location>"),
    (["ratelimit"], "SetOutputFilter RATE_LIMIT\nSetEnv rate-limit 1"),
    (["buffer"], "SetOutputFilter BUFFER"),
    (["expires"], "ExpiresActive On\nExpiresDefault \"access plus 1 year\""),
    (["cache", "cache_socache", "socache_shmcb"], "CacheEnable socache /"),
], ids=["deflate", "deflate-by-type", "brotli", "substitute", "ratelimit", "buffer", "expires", "cache"])
def test_filters_of_the_whole_site_leave_streams_alone(make_server, mpm, modules, config):
    server = make_server(mpm=mpm, modules=modules, config=config)
    stream = round_trip(server)
    assert server.http2 or stream.headers["connection"] == "close", "held, not blocking"
    assert stream.headers["cache-control"] == "private, no-cache, no-store, must-revalidate, max-age=0"
    assert "holds a worker" not in server.log()


def test_headers_of_the_site_apply(make_server):
    server = make_server(config='Header always set X-Site "everywhere"\nHeader set X-Also "here"\n')
    stream = round_trip(server)
    assert stream.headers["x-site"] == "everywhere"
    assert stream.headers["x-also"] == "here"
    assert publish(server, "a", "x").headers["x-site"] == "everywhere"


def test_reqtimeout_does_not_end_streams(make_server):
    server = make_server(main="RequestReadTimeout header=1 body=1\nMercureHeartbeat 1\nTimeout 1\n")
    stream = Stream(server, "a")
    stream.wait_comments(4)
    published(server, "a", "after the time-outs")
    assert stream.data() == ["after the time-outs"]


@pytest.mark.skipif(not os.path.exists(MODSECURITY), reason="libapache2-mod-security2 is not installed")
def test_modsecurity_with_its_recommended_configuration(make_server, tmp_path):
    with open(MODSECURITY) as f:
        text = f.read().replace("SecRuleEngine DetectionOnly", "SecRuleEngine On")
    text = text.replace("SecUnicodeMapFile unicode.mapping 20127", "")
    server = make_server(modules=["unique_id", "security2"], start=False)
    text = text.replace("/var/log/apache2/modsec_audit.log", f"{server.dir}/audit.log")
    with open(f"{server.dir}/modsecurity.conf", "w") as f:
        f.write(text)
    with open(server.config_file, "a") as f:
        f.write(f"Include {server.dir}/modsecurity.conf\n")
    server.start()
    stream = round_trip(server)
    assert "holds a worker" not in server.log()
    assert server.http2 or stream.headers["connection"] == "close"
    assert publish(server, "a", "é & < > ' \"").status == 200


def test_evasive(make_server):
    server = make_server(modules=["evasive20"], config="DOSPageCount 1000\nDOSSiteCount 5000\nDOSPageInterval 1\n")
    round_trip(server)


def test_remoteip_gives_the_address_for_limits_and_logs(make_server):
    server = make_server(modules=["remoteip"],
                         config="RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n"
                                "MercureMaxSubscribersPerClient 1\n")
    first = Stream(server, "a", headers={"X-Forwarded-For": "192.0.2.1"})
    second = Stream(server, "a", headers={"X-Forwarded-For": "192.0.2.2"})
    with pytest.raises(Refused) as refused:
        Stream(server, "a", headers={"X-Forwarded-For": "192.0.2.1"})
    assert refused.value.answer.status == 429
    wait_for(lambda: "192.0.2.1 429 " in server.access(), "the access log has the client's address")
    server.wait_log("[remote 192.0.2.1" if server.http2 else "[client 192.0.2.1")  # httpd's word for who has no scoreboard entry
    first.close()
    second.close()


def test_one_network_of_ipv6_is_one_client(make_server):
    server = make_server(modules=["remoteip"],
                         config="RemoteIPHeader X-Forwarded-For\nRemoteIPInternalProxy 127.0.0.1\n"
                                "MercureMaxSubscribersPerClient 1\n")
    first = Stream(server, "a", headers={"X-Forwarded-For": "2001:db8::1"})
    with pytest.raises(Refused):
        Stream(server, "a", headers={"X-Forwarded-For": "2001:db8::2"})
    Stream(server, "a", headers={"X-Forwarded-For": "2001:db8:0:1::1"}).close()
    first.close()


def test_forensic_log_and_status_are_not_confused(make_server):
    server = make_server(modules=["status", "log_forensic", "unique_id"],
                         config="<Location /server-status>\nSetHandler server-status\n</Location>\n", main="ExtendedStatus On\n")
    round_trip(server)
    streams = [Stream(server, "a") for _ in range(30)]
    status = request(server, "GET", "/server-status?auto").body
    busy = int(status.split("BusyWorkers: ")[1].split()[0])
    assert busy <= 2, status
    for stream in streams:
        stream.close()
