"""The same work with everything of ours built with AddressSanitizer and UndefinedBehaviorSanitizer; and under valgrind.

The sanitizers' runtime is preloaded into Debian's httpd. Leaks are looked for too: those of httpd itself are no business of
ours, so a report counts when one of our functions stands in it.
"""

import glob
import os
import re
import subprocess
import threading

import pytest

import server as server_module
from client import Stream, connect_h2, publish, published, request
from matrix import matrix, protocols
from server import ROOT, wait_for

ASAN = os.path.join(ROOT, "build", "asan")


def library(name):
    return subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()


def exercise(server):
    """A bit of everything that allocates."""
    streams = [Stream(server, t, last_event_id=e) for t in "abc" for e in (None, "earliest", "unknown") for _ in range(4)]
    for data in ("x", "y" * 100_000, ""):
        for topic in "abc":
            published(server, topic, data)
    for stream in streams:
        stream.take(3)
    for stream in streams[::2]:
        stream.close()
    assert publish(server, "a", bearer="not.a.token").status == 401
    assert publish(server, "*", "x").status == 400
    assert publish(server, ["a"] * 1001).status == 413

    if server.http2:
        exercise_http2(server)

    def crowd():
        for stream in [Stream(server, "a", last_event_id="earliest") for _ in range(15)]:
            stream.take(3)
            stream.close()
    threads = [threading.Thread(target=crowd) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    broker = server.broker_pid()
    os.kill(broker, 9)
    wait_for(lambda: publish(server, "b", "after").status == 200, "publishing works again", 30)
    server.graceful()
    published(server, "b", "after the restart")
    if server.http2:
        leave_http2(server)
    for stream in streams:
        stream.close()


def exercise_http2(server):
    """Streams that share a connection, and end in each of the ways; ordinary content."""
    conn = connect_h2(server)
    shared = [Stream(server, "a", connection=conn, last_event_id="earliest") for _ in range(10)]
    page = request(server, "GET", "/index.html")
    assert page.status == (404 if server.mpm == "prefork" else 200)
    shared[0].close()
    shared[1].exchange.reads = False
    published(server, "a", "z" * 100_000)
    for stream in shared[2:]:
        stream.take(4)
    conn.ping()
    conn.open("POST", "/index.html", {"content-length": "100000"}, b"x" * 1000, end=False).reset()
    conn.close()


def leave_http2(server):
    """Content and bodies that are reset, or left, at any time; and a graceful restart in the middle of it."""
    with open(f"{server.htdocs}/big", "wb") as f:
        f.write(b"big" * 1_000_000)
    conns = [connect_h2(server) for _ in range(4)]
    for conn in conns:
        asked = [conn.open("GET", "/big") for _ in range(2)]
        whole = [conn.open("GET", "/nothing"), conn.open("HEAD", "/"), conn.open("POST", "/", body=b"x" * 20_000)]
        endless = conn.open("POST", "/", body=b"x" * 10_000, end=False)
        asked[0].reset()
        conn.wait(lambda: asked[1].body, 5)
        asked[1].reset()
        for exchange in whole:
            exchange.whole()
        endless.reset()
        for _ in range(20):
            conn.open("GET", "/").reset()
        conn.ping()
    conns[0].open("GET", "/big")  # which is not read
    Stream(server, "d", connection=conns[0])
    left = connect_h2(server)
    left.open("GET", "/big").begun()
    left.close()
    server.graceful()
    for conn in conns:
        assert conn.wait(lambda: conn.closed, 20), "the connection ends"
        assert conn.goaway is not None


def reports_of_ours(pattern):
    found = []
    for path in glob.glob(pattern):
        with open(path, errors="replace") as f:
            for report in f.read().split("\n\n"):
                ours = re.search(r" (mod_mercure|lib|brokerd)/\w+\.c:", report)
                if "leak of" in report and not ours or "ERROR: LeakSanitizer" in report or "SUMMARY:" in report:
                    continue
                if report.strip().strip("="):
                    found.append(report)
    return found


@pytest.mark.skipif(not os.path.exists(f"{ASAN}/mod_mercure.so"), reason="./build.sh test builds build/asan first")
@matrix
def test_no_bad_access_undefined_behaviour_or_leak(make_server, monkeypatch, mpm):
    monkeypatch.setattr(server_module, "BUILD", ASAN)
    server = make_server(mpm=mpm, start=False)
    reports = os.path.join(server.dir, "reports")
    os.mkdir(reports)
    os.chmod(reports, 0o777)
    # The configuration's keys are held by APR's pools, whose memory LeakSanitizer does not look into; children of httpd end
    # without clearing that pool.
    with open(f"{server.dir}/suppressions", "w") as f:
        f.write("leak:set_issuer\n")
    # Under prefork a child's end may come inside a signal handler, so nothing is freed there: no leaks to look for.
    leaks = 0 if mpm == "prefork" else 1
    server.environment.update(
        LD_PRELOAD=library("libasan.so"),
        ASAN_OPTIONS=f"detect_leaks={leaks}:log_path={reports}/asan:fast_unwind_on_malloc=0:malloc_context_size=20",
        UBSAN_OPTIONS=f"print_stacktrace=1:log_path={reports}/ubsan", LSAN_OPTIONS=f"exitcode=0:print_suppressions=0:suppressions={server.dir}/suppressions")
    server.start()
    exercise(server)
    server.stop()
    found = reports_of_ours(f"{reports}/*")
    assert not found, "\n\n".join(found)


def thousand_requests(server):
    for _ in range(10):
        conn = connect_h2(server)
        for _ in range(10):
            for exchange in [conn.open("GET", "/", {"x-some": "x" * 200}) for _ in range(10)]:
                exchange.whole()
        conn.close()


def thousand_subscriptions(server):
    for _ in range(10):
        conn = connect_h2(server)
        for i, stream in enumerate([Stream(server, "a", connection=conn) for _ in range(100)]):
            if i % 2:
                stream.close()
        conn.ping()
        conn.close()


@protocols("h2")
@pytest.mark.parametrize("work", [thousand_requests, thousand_subscriptions])
def test_memory_stays_level(make_server, work):
    """What grows a little is the allocator's: over HTTP/1.1 and TLS it does so too. 130 bytes for each would show."""
    server = make_server()
    pid = server.child_pids()[0]

    def memory():
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"RssAnon:\s+(\d+)", f.read())[1])
    for _ in range(3):
        work(server)
    before = memory()
    for _ in range(3):
        work(server)
    assert memory() - before < 400, (before, memory())


@pytest.mark.skipif(subprocess.run(["which", "valgrind"], capture_output=True).returncode != 0,
                    reason="valgrind is not installed")
def test_valgrind_finds_nothing_under_prefork(make_server):
    server = make_server(mpm="prefork", start=False,
                         wrapper=["valgrind", "--trace-children=yes", "--trace-children-skip=*/brokerd", "--quiet",
                                  "--log-file=/dev/null"])
    log = os.path.join(server.dir, "valgrind")
    os.mkdir(log)
    os.chmod(log, 0o777)
    server.wrapper[-1] = f"--log-file={log}/%p"
    server.start()
    streams = [Stream(server, "a", wait=False) for _ in range(5)]
    for stream in streams:
        stream.begin(60)
    published(server, "a", "x")
    for stream in streams:
        assert stream.data(1, 60) == ["x"]
    replay = Stream(server, "a", last_event_id="earliest")
    assert replay.data(1, 60) == ["x"]
    for stream in streams:
        stream.close()
    server.stop()
    reports = []
    for path in glob.glob(f"{log}/*"):
        with open(path) as f:
            reports += [r for r in f.read().split("\n==") if "mod_mercure" in r]
    assert reports == []
