"""Nothing lost, nothing twice: the ways in which children, brokerd and the history can get out of step."""

import os
import shutil
import signal
import subprocess
import threading
import time

from client import PATH, Stream, publish, published, sign, claims, token
from matrix import protocols
from server import ISSUER, SECRET, wait_for

both = protocols("plain", "h2")


def test_child_that_was_paused_for_long_catches_up(server):
    """brokerd forgets a child that is silent for 10 s; the child must notice when it goes on."""
    stream = Stream(server, "a")
    published(server, "a", "before")
    assert stream.data() == ["before"]
    child = server.child_pids()[0]
    os.kill(child, signal.SIGSTOP)
    time.sleep(12.5)  # the subject is time itself: longer than brokerd waits for a word
    os.kill(child, signal.SIGCONT)
    published(server, "a", "after")
    assert stream.data(1, 15) == ["after"]
    published(server, "a", "later")
    assert stream.data() == ["later"]
    late = Stream(server, "new topic")
    published(server, "new topic", "x")
    assert late.data() == ["x"]


@both
def test_subscribing_again_while_brokerd_lags_misses_nothing(make_server):
    """The answer to an earlier registration of the same topic must not stand for the one that counts."""
    server = make_server(main="MercureHeartbeat 0\n")
    Stream(server, "warm-up").close()
    keep = Stream(server, "another")
    for round in range(15):
        topic = f"t{round}"
        os.kill(server.broker_pid(), signal.SIGSTOP)
        first = Stream(server, topic)
        first.close()
        second = Stream(server, topic)
        os.kill(server.broker_pid(), signal.SIGCONT)
        ids = [published(server, topic, str(n)) for n in range(3)]
        assert [e["id"] for e in second.take(3)] == ids
        second.close()
    keep.close()


@both
def test_replay_that_retention_overtakes_ends_instead_of_leaving_a_hole(make_server):
    server = make_server(main="MercureMaxPending 64M\nMercureDispatchTimeout 0\n", config="MercureHistory events=20\n")
    for n in range(20):
        published(server, "a", f"{n:03} " + "x" * 900_000)
    slow = Stream(server, "a", last_event_id="earliest")
    for n in range(20, 60):
        published(server, "a", f"{n:03} " + "x" * 900_000)
    got = []
    while True:
        if not slow.events and not slow.read(10):
            break
        got += [int(e["data"][:3]) for e in slow.events]
        slow.events = []
        if got and got[-1] == 59:
            break
    assert got == list(range(got[0], got[0] + len(got))), "a hole in what was received"
    assert slow.ended or got[-1] == 59


@both
def test_streams_end_when_the_history_is_another_one(server):
    stream = Stream(server, "a")
    for n in range(5):
        published(server, "a", str(n))
    assert stream.data(5) == ["0", "1", "2", "3", "4"]
    shutil.rmtree(f"{server.state}/history")
    os.kill(server.broker_pid(), signal.SIGKILL)
    stream.wait_end(20)
    again = Stream(server, "a")
    wait_for(lambda: publish(server, "a", "new").status == 200, "publishing works again", 20)
    assert "new" in again.data()


def test_quiet_stream_outlives_brokerd_though_retention_has_passed_it_by(make_server):
    """Its topic had no update, so it has missed none: it must not be taken for one that is far behind."""
    server = make_server(config="MercureHistory events=10\n")
    quiet = Stream(server, "quiet")
    published(server, "quiet", "first")
    assert quiet.data() == ["first"]
    for n in range(40):
        published(server, "busy", str(n))
    time.sleep(2.5)  # the subject is time itself: brokerd tells how far it is once a second
    os.kill(server.broker_pid(), signal.SIGKILL)
    wait_for(lambda: publish(server, "busy", "again").status == 200, "publishing works again", 20)
    published(server, "quiet", "second")
    assert quiet.data(1, 20) == ["second"]


@both
def test_two_children_see_the_same_order(make_server):
    server = make_server(mpm="prefork", mpm_config="StartServers 4\nMinSpareServers 4\nMaxSpareServers 4\nServerLimit 4\n"
                                                    "MaxRequestWorkers 4\n")
    streams = [Stream(server, "a") for _ in range(40)]
    threads = [threading.Thread(target=lambda n=n: [published(server, "a", f"{n}-{i}") for i in range(40)])
               for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    orders = [[e["id"] for e in stream.take(160, 20)] for stream in streams]
    assert all(order == orders[0] for order in orders)
    children = [pid for pid in server.child_pids()
                if any("data.mdb" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))]
    assert len(children) > 1, "the streams were in one child only"


@both
def test_burst_larger_than_a_childs_window_arrives_whole(make_server):
    """More and larger updates than brokerd forwards ahead while the child is paused: the rest comes from the history."""
    server = make_server(main="MercureMaxPending 512M\nMercureDispatchTimeout 0\n",
                         mpm_config="StartServers 2\nServerLimit 2\nThreadsPerChild 8\nThreadLimit 8\nMinSpareThreads 1\n"
                                    "MaxSpareThreads 16\nMaxRequestWorkers 16\n")
    wait_for(lambda: len(server.child_pids()) == 2, "two children")
    streams = [Stream(server, "a") for _ in range(2 if server.http2 else 6)]
    count = 90
    bearer = token(server, publish=["*"])
    ids = []

    def read_all(stream, into):
        into += [e["id"] for e in stream.take(count, 60)]
    received = [[] for _ in streams]
    readers = [threading.Thread(target=read_all, args=(s, r)) for s, r in zip(streams, received)]
    for reader in readers:
        reader.start()
    for _ in range(count):
        ids.append(published(server, "a", "z" * 1_000_000, bearer=bearer))
    for reader in readers:
        reader.join()
    assert all(r == ids for r in received)


# --- what surrounds the guarantees ---

@both
def test_tenants_of_one_virtual_host_have_hubs_of_their_own(make_server):
    """VirtualDocumentRoot: one virtual host, one ServerName, many tenants."""
    server = make_server(modules=["vhost_alias"], hub="", start=False)
    for name, secret in (("alice", SECRET), ("mallory", "m" * 40)):
        root = f"{server.dir}/sites/{name}.example"
        os.makedirs(root)
        with open(f"{root}/.htaccess", "w") as f:
            f.write(f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {secret}\n")
    with open(server.config_file) as f:
        text = f.read().replace(f"DocumentRoot {server.htdocs}\n",
                                f"VirtualDocumentRoot {server.dir}/sites/%0\nServerAlias *\nUseCanonicalName Off\n"
                                f"<Directory {server.dir}/sites>\nAllowOverride AuthConfig\nRequire all granted\n</Directory>\n")
    with open(server.config_file, "w") as f:
        f.write(text)
    server.start()
    url = f"{server.scheme}://%s.example:{server.port}{PATH}"

    def bearer(name, secret):
        return sign(dict(claims(server, publish=["*"], subscribe=["*"]), aud=url % name), secret)
    alice = Stream(server, "*", host=f"alice.example:{server.port}", bearer=bearer("alice", SECRET))
    mallory = Stream(server, "*", host=f"mallory.example:{server.port}", bearer=bearer("mallory", "m" * 40),
                     last_event_id="earliest")
    answer = publish(server, "a", "for alice's eyes", host=f"alice.example:{server.port}", bearer=bearer("alice", SECRET),
                     fields=[("private", "on")])
    assert answer.status == 200
    assert alice.data() == ["for alice's eyes"]
    assert publish(server, "a", "of mallory", host=f"mallory.example:{server.port}",
                   bearer=bearer("mallory", "m" * 40)).status == 200
    assert mallory.data() == ["of mallory"]


@both
def test_longest_names_work(make_server):
    name = ".".join(["h" * 60] * 4)
    server = make_server(hub="", start=False)
    with open(server.config_file, "a") as f:
        f.write(f"<VirtualHost 127.0.0.1:{server.port}>\nServerName {name}\n{server.tls_lines}DocumentRoot {server.htdocs}\n"
                f"<Directory {server.htdocs}>\nAllowOverride AuthConfig\nRequire all granted\n</Directory>\n</VirtualHost>\n")
    with open(f"{server.htdocs}/.htaccess", "w") as f:
        f.write(f"MercureHub On\nMercureAnonymous On\nMercureHubName {'n' * 100}\n"
                f"MercureIssuer {ISSUER} both HS256 {SECRET}\n")
    server.start()
    host = f"{name}:{server.port}"
    bearer = sign(dict(claims(server, publish=["*"]), aud=f"{server.scheme}://{host}{PATH}"))
    stream = Stream(server, "a", host=host)
    assert publish(server, "a", "x", host=host, bearer=bearer).status == 200
    assert stream.data() == ["x"]


def test_budget_counts_what_is_open_already(make_server):
    """A server of many virtual hosts has many logs open; the child must not run out of descriptors."""
    logs = "".join(f"<VirtualHost 127.0.0.9:1>\nServerName v{n}.example\nErrorLog logs-{n}\n</VirtualHost>\n" for n in range(300))
    server = make_server(vhosts=logs, wrapper=["prlimit", "--nofile=1200:1200"])
    pids, streams, refused = server.child_pids(), [], 0
    for _ in range(700):
        stream = Stream(server, "a", wait=False)
        try:
            streams.append(stream.begin())
        except Exception as e:
            assert "503" in str(e), e
            refused += 1
            if refused == 3:
                break
    assert refused == 3
    assert server.child_pids() == pids
    published(server, "a", "all of you")
    for stream in streams:
        assert stream.data() == ["all of you"]


def test_brokerd_does_not_carry_httpds_environment(make_server):
    server = make_server(environment={"HUB_KEY": SECRET}, hub=f"MercureHub On\nMercureAnonymous On\n"
                                                              f"MercureIssuer {ISSUER} both HS256 env:HUB_KEY\n")
    published(server, "a", "x")
    with open(f"/proc/{server.broker_pid()}/environ", "rb") as f:
        assert SECRET.encode() not in f.read()
    if server.root:
        as_www = ["setpriv", f"--reuid={server.uid}", f"--regid={server.gid}", "--clear-groups"]
        read = subprocess.run(as_www + ["cat", f"/proc/{server.broker_pid()}/environ"], capture_output=True)
        assert read.returncode != 0, "others of its user cannot look into brokerd"


@both
def test_update_of_very_many_lines_is_refused_when_its_event_would_be_too_large(make_server):
    server = make_server(config="MercureMaxBody 32M\n")
    answer = publish(server, "a", "", body=b"topic=a&data=" + b"\n" * 11_000_000)
    assert answer.status == 413
    stream = Stream(server, "a")
    published(server, "a", "\n" * 1_000_000)
    assert stream.data(1, 30) == ["\n" * 1_000_000]
