"""brokerd: started, watched and stopped by httpd; by itself; and what a broken peer or disk does to it."""

import os
import signal
import socket
import struct
import subprocess
import threading

import pytest
import zmq

from client import PATH, Stream, publish, published, request
from matrix import MPMS as EVERY_MPM, columns, protocols
from server import BUILD, Server, wait_for

BROKERD = os.path.join(BUILD, "brokerd")
MPMS = pytest.mark.parametrize("mpm", EVERY_MPM)


def as_server_user(server):
    """Run a program as the user of httpd's children."""
    return ["setpriv", f"--reuid={server.uid}", f"--regid={server.gid}", "--clear-groups"] if server.root else []


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_brokerd(*arguments):
    return subprocess.run([BROKERD, *arguments], capture_output=True, text=True, timeout=10)


# --- the command line ---

def test_help_and_version():
    assert "--socket-dir DIR" in run_brokerd("--help").stdout
    assert run_brokerd("--version").stdout == "brokerd 0.1.0\n"


@pytest.mark.parametrize("arguments,sentence", [
    ([], "--state DIR and --socket-dir DIR are needed"),
    (["--state", "/tmp/x"], "--state DIR and --socket-dir DIR are needed"),
    (["--nonsense"], "unknown or incomplete option"),
    (["--state", "/tmp/x", "--socket-dir", "/tmp/x", "--durability", "maybe"], "--durability is fsync or async"),
    (["--state", "/tmp/x", "--socket-dir", "/tmp/x", "more"], "and nothing else"),
])
def test_wrong_arguments_are_explained(arguments, sentence):
    result = run_brokerd(*arguments)
    assert result.returncode == 2
    assert sentence in result.stderr and "--help" in result.stderr


def test_directory_open_to_others_is_refused(tmp_path):
    os.chmod(tmp_path, 0o755)
    result = run_brokerd("--state", str(tmp_path), "--socket-dir", str(tmp_path / "s"))
    assert result.returncode == 1
    assert "chmod 0700" in result.stderr


def test_socket_path_too_long_is_explained(tmp_path):
    os.chmod(tmp_path, 0o700)
    long = tmp_path / ("x" * 100)
    result = run_brokerd("--state", str(tmp_path), "--socket-dir", str(long))
    assert result.returncode == 1
    assert "too long" in result.stderr


def test_second_brokerd_on_the_same_state_directory_is_refused(server):
    published(server, "a", "before")
    result = subprocess.run(as_server_user(server) + [BROKERD, "--state", server.state, "--socket-dir",
                                                      f"{server.state}/other"], capture_output=True, text=True, timeout=10)
    assert result.returncode == 1
    assert f"another brokerd (pid {server.broker_pid()}) is using {server.state}" in result.stderr
    stream = Stream(server, "a", last_event_id="earliest")
    published(server, "a", "after")
    assert stream.data(2) == ["before", "after"]


# --- under httpd ---

@MPMS
def test_runs_as_the_user_of_the_children_with_closed_directories(make_server, mpm):
    server = make_server(mpm=mpm)
    with open(f"/proc/{server.broker_pid()}/status") as f:
        status = f.read()
    assert f"Uid:\t{server.uid}\t" in status
    for path in (server.state, f"{server.state}/sockets", f"{server.state}/history"):
        found = os.stat(path)
        assert (found.st_mode & 0o777, found.st_uid) == (0o700, server.uid)


@MPMS
def test_is_kept_across_graceful_restarts_and_gone_after_a_stop(make_server, mpm):
    server = make_server(mpm=mpm)
    broker = server.broker_pid()
    for _ in range(3):
        server.graceful()
        assert server.broker_pid() == broker
        published(server, "a", "x")
    server.stop()
    assert not alive(broker)
    assert "brokerd: stopped" in server.log()


@MPMS
def test_is_gone_after_a_graceful_stop(make_server, mpm):
    server = make_server(mpm=mpm)
    broker = server.broker_pid()
    stream = Stream(server, "a")
    server.stop(graceful=True)
    assert not alive(broker)
    stream.close()


def test_follows_httpds_log_over_a_graceful_restart(server):
    os.rename(server.error_log, server.error_log + ".1")
    server.graceful()
    os.kill(server.broker_pid(), signal.SIGKILL)
    server.wait_log("brokerd has ended (exit status or signal 9)")
    server.wait_log("brokerd: ready")


def test_stops_when_httpd_is_killed(make_server):
    server = make_server()
    broker, children = server.broker_pid(), server.child_pids()
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    wait_for(lambda: not alive(broker), "brokerd ends by itself")
    for pid in children:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@columns(*[(mpm, "plain") for mpm in EVERY_MPM], ("event", "h2"), ("prefork", "h2"))
def test_killed_broker_comes_back_and_nothing_is_lost(make_server, mpm):
    server = make_server(mpm=mpm)
    stream = Stream(server, "a")
    ids = [published(server, "a", "before")]
    for round in range(3):
        broker = server.broker_pid()
        os.kill(broker, signal.SIGKILL)
        wait_for(lambda: publish(server, "a", f"after {round}").status == 200, "publishing works again", 20)
        assert server.broker_pid() != broker
    got = stream.data(4, 20)
    assert got == ["before", "after 0", "after 1", "after 2"]
    replay = Stream(server, "a", last_event_id="earliest")
    assert replay.data(4) == ["before", "after 0", "after 1", "after 2"]
    assert ids


@protocols("plain", "h2")
def test_publications_under_a_killed_broker_are_stored_once(server):
    """Publishers go on while brokerd is killed again and again; each 200 is delivered once, in the history's order."""
    stream = Stream(server, "a")
    acknowledged, stop = [], threading.Event()

    def publisher(name):
        number = 0
        while not stop.is_set():
            data = f"{name} {number}"
            if publish(server, "a", data).status == 200:
                acknowledged.append(data)
            number += 1

    threads = [threading.Thread(target=publisher, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        count = len(acknowledged)
        wait_for(lambda: len(acknowledged) > count + 20, "publications go on", 30)
        os.kill(server.broker_pid(), signal.SIGKILL)
        wait_for(server.broker_pid, "brokerd is back", 20)
    stop.set()
    for thread in threads:
        thread.join()
    last = published(server, "a", "the last")
    got = []
    while not got or got[-1]["id"] != last:
        got += stream.take(1, 20)
    data = [e["data"] for e in got]
    assert len(data) == len(set(data)), "something was delivered twice"
    assert set(acknowledged) <= set(data), "something acknowledged was lost"
    replay = Stream(server, "a", last_event_id="earliest")
    assert [e["id"] for e in replay.take(len(got), 20)] == [e["id"] for e in got]


@protocols("plain", "h2")
def test_streams_stay_open_and_can_be_opened_while_brokerd_is_paused(server):
    stream = Stream(server, "a")
    published(server, "a", "0")
    os.kill(server.broker_pid(), signal.SIGSTOP)
    late = Stream(server, "b")
    results = []
    thread = threading.Thread(target=lambda: results.append(publish(server, "b", "while paused").status))
    thread.start()
    os.kill(server.broker_pid(), signal.SIGCONT)
    thread.join()
    assert results == [200]
    assert late.data() == ["while paused"]
    published(server, "a", "1")
    assert stream.data(2) == ["0", "1"]


@protocols("plain", "h2")
def test_without_an_answer_the_publisher_gets_503_and_retry_after(server):
    published(server, "a", "x")
    os.kill(server.broker_pid(), signal.SIGSTOP)
    answer = publish(server, "a", "y")
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    server.wait_log("brokerd did not answer within 5 seconds")
    assert request(server, "GET", "/").status == 200
    os.kill(server.broker_pid(), signal.SIGCONT)
    wait_for(lambda: publish(server, "a", "z").status == 200, "publishing works again")


def test_program_that_does_not_exist_keeps_httpd_from_starting(make_server):
    server = make_server(start=False)
    with open(server.config_file) as f:
        text = f.read().replace(f"MercureBrokerProgram {BROKERD}", "")
    with open(server.config_file, "w") as f:
        f.write(text)
    server.start(ready=False)
    server.process.wait(20)
    server.wait_log("install it, or set MercureBrokerProgram")


def test_broker_of_its_own_is_connected_to_by_path(make_server):
    server = make_server(broker="", start=False)
    sockets = f"{server.dir}/own"
    with open(server.config_file) as f:
        text = f.read().replace(f"MercureBrokerProgram {BROKERD}", f"MercureBroker ipc:{sockets}")
    with open(server.config_file, "w") as f:
        f.write(text)
    os.chmod(server.dir, 0o777)
    command = as_server_user(server) + [BROKERD, "--state", server.state, "--socket-dir", sockets]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert "ready" in first.stderr.readline()
    server.start()
    assert server.broker_pid() is None
    stream = Stream(server, "a")
    published(server, "a", "1")
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    second = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert "ready" in second.stderr.readline()
    published(server, "a", "2")
    assert stream.data(2) == ["1", "2"]
    server.stop()
    assert alive(second.pid)
    second.send_signal(signal.SIGTERM)
    assert second.wait(10) == 0
    first.stderr.close()
    second.stderr.close()


# --- a broken peer ---

def garbage():
    yield [b""]
    yield [b"x"]
    yield [b"MB\x02\x01"]
    yield [b"MB\x01\x0a" + b"c" * 16]
    yield [b"MB\x02\x0a" + b"c" * 24 + b"tail"]
    yield [b"MB\x02\x0c" + struct.pack("<H", 65535)]
    yield [b"MB\x02\x0c" + struct.pack("<H", 1) + b"h\x09" + struct.pack("<H", 1) + b"t"]
    yield [b"\xff" * 5000]
    yield [b"MB\x02\x01" + b"\xff" * 40, b"\x01\x00" + b"\xff" * 10]
    yield [b"MB\x02\x01" + b"c" * 16 + b"\0" * 40 + struct.pack("<H", 5) + b"other", b"not a record"]
    yield [b"a"] * 50
    for i in range(200):
        yield [os.urandom(i)]


@pytest.fixture
def context():
    """A ZeroMQ context that takes its sockets along, so that a test that fails does not hang at its end."""
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def test_garbage_on_the_sockets_is_dropped_and_counted(server, context):
    stream = Stream(server, "a")
    published(server, "a", "before")
    peers = []
    for name, kind in (("publish", zmq.PUB), ("control", zmq.DEALER), ("deliver", zmq.SUB), ("deliver", zmq.XSUB)):
        peer = context.socket(kind)
        peer.linger = 0
        peer.connect(f"ipc://{server.state}/sockets/{name}.sock")
        peers.append(peer)
    peers[2].setsockopt(zmq.SUBSCRIBE, b"short")
    peers[2].setsockopt(zmq.SUBSCRIBE, b"y" * 300)

    def rounds():
        for frames in garbage():
            peers[0].send_multipart(frames)
            peers[1].send_multipart(frames)
            peers[3].send_multipart(frames)
        return "dropped a malformed message on the " in server.log()
    wait_for(rounds, "the garbage is reported")
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(f"{server.state}/sockets/control.sock")
    raw.sendall(os.urandom(4096))
    published(server, "a", "after")
    assert stream.data(2) == ["before", "after"]
    raw.close()


def test_forged_hello_for_another_child_is_dropped(server, context):
    stream = Stream(server, "a")
    peer = context.socket(zmq.DEALER)
    peer.linger = 0
    peer.setsockopt(zmq.ROUTING_ID, b"q" * 16)
    peer.connect(f"ipc://{server.state}/sockets/control.sock")
    peer.send(b"MB\x02\x0a" + b"z" * 16 + b"\0" * 8)
    peer.send(b"MB\x02\x10" + struct.pack("<Q", 1 << 60))
    assert peer.poll(5000)
    assert peer.recv()[3] == 18, "UNKNOWN: a child that was not greeted"
    published(server, "a", "x")
    assert stream.data() == ["x"]


def test_malformed_pattern_of_a_child_is_dropped_and_the_rest_goes_on(server, context):
    """What a child of httpd would have refused itself: brokerd does not trust it to."""
    stream = Stream(server, "a")
    peer = context.socket(zmq.DEALER)
    peer.linger = 0
    peer.setsockopt(zmq.ROUTING_ID, b"q" * 16)
    peer.connect(f"ipc://{server.state}/sockets/control.sock")
    listener = context.socket(zmq.SUB)
    listener.setsockopt(zmq.SUBSCRIBE, b"q" * 16)
    listener.connect(f"ipc://{server.state}/sockets/deliver.sock")

    def register(pattern, base):
        frame = b"MB\x02\x0c" + struct.pack("<H", 1) + b"h\x03"
        for text in (pattern, base):
            frame += struct.pack("<H", len(text)) + text
        peer.send(frame + b"\0" * 8)

    def welcomed():
        peer.send(b"MB\x02\x0a" + b"q" * 16 + b"\0" * 8)
        return peer.poll(1000) and peer.recv()[3] == 11
    wait_for(welcomed, "WELCOME")
    for pattern, base, status in ((b"/(", b"http://localhost/hub", 1), (b"/a", b"no url", 1),
                                  (b"/(*ACCEPT)", b"http://localhost/hub", 1), (b"/a/:id", b"http://localhost/hub", 0)):
        register(pattern, base)
        assert peer.poll(5000)
        answer = peer.recv()
        assert answer[3] == 13 and pattern in answer and answer[-9] == status
    assert "dropped a malformed message on the control socket" in server.log()
    for n in range(80):  # anybody can make up names under which to reach a hub
        register(b"/a/:id", b"http://host%d/hub" % n)
    answers = []
    while len(answers) < 80:
        assert peer.poll(5000)
        answers.append(peer.recv()[-9])
    assert answers == [0] * 63 + [2] * 17
    published(server, "a", "x")
    assert stream.data() == ["x"]


# --- the disk ---

@pytest.fixture
def small_disk():
    """A directory on a file system of 3 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs to mount, so root")
    import tempfile
    path = tempfile.mkdtemp(prefix="md", dir="/tmp")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0755", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)
    os.rmdir(path)


def test_full_disk_answers_503_and_keeps_what_was_acknowledged(make_server, small_disk):
    server = Server()
    try:
        with open(server.config_file) as f:
            text = f.read().replace(server.state, f"{small_disk}/state")
        with open(server.config_file, "w") as f:
            f.write(text)
        server.state = f"{small_disk}/state"
        server.start()
        stream = Stream(server, "a")
        filler = f"{small_disk}/filler"
        with open(filler, "wb") as f:
            f.write(b"x" * 1_000_000)
        acknowledged = []
        while True:
            answer = publish(server, "a", f"{len(acknowledged)} " + "d" * 20_000)
            if answer.status != 200:
                break
            acknowledged.append(answer.body)
            assert len(acknowledged) < 500
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        server.wait_log("publications are refused")
        server.wait_log("is the disk full?")
        assert len(acknowledged) > 20
        assert [e["id"] for e in stream.take(len(acknowledged))] == acknowledged
        replay = Stream(server, "a", last_event_id="earliest")
        assert [e["id"] for e in replay.take(len(acknowledged))] == acknowledged
        os.kill(server.broker_pid(), signal.SIGKILL)
        os.unlink(filler)
        wait_for(lambda: publish(server, "a", "room again").status == 200, "publishing works again", 20)
        replay = Stream(server, "a", last_event_id="earliest")
        assert [e["id"] for e in replay.take(len(acknowledged))] == acknowledged
        assert replay.data() == ["room again"]
    finally:
        server.close()


def test_history_of_another_version_is_refused_with_a_reason(server, tmp_path):
    """The format is checked before anything is read."""
    os.chmod(tmp_path, 0o700)
    process = subprocess.Popen([BROKERD, "--state", str(tmp_path), "--socket-dir", str(tmp_path / "s")],
                               stderr=subprocess.PIPE, text=True)
    assert "ready" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.stderr.close()
    data = tmp_path / "history" / "data.mdb"
    raw = data.read_bytes()
    assert b"format\x00\x00\x00\x01" in raw
    data.write_bytes(raw.replace(b"format\x00\x00\x00\x01", b"format\x00\x00\x00\x09"))
    result = run_brokerd("--state", str(tmp_path), "--socket-dir", str(tmp_path / "s"))
    assert result.returncode == 1
    assert "written by another version" in result.stderr


def test_hub_path_is_not_served_where_no_hub_is(make_server):
    server = make_server(hub="")
    assert request(server, "GET", f"{PATH}?match=a").status == 404
