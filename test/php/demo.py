"""The demo of ./build.sh run, started on a free port for the tests of its pages."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.parse

TEST = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TEST, "integration"))

from client import Stream  # noqa: E402
from server import BUILD, PATH, ROOT, free_port, wait_for  # noqa: E402

TOPIC = "https://demo.example/news"
ISSUER = "https://demo.example"
OTHER_SECRET = "another-secret-than-the-site-has-long-enough-for-hs256"


class Demo:
    """One running demo/run.sh. Has the `port` and `tls` that client.Stream wants."""

    tls = http2 = False

    def __init__(self, config="", **environment):
        self.port, self.tls_port = free_port(), free_port()
        self.url = f"http://localhost:{self.port}"
        self.https_url = f"https://localhost:{self.tls_port}"
        self.hub = self.url + PATH
        # A session of its own, so that kill_group() is what Ctrl-C at a terminal is.
        self.process = subprocess.Popen(
            [os.path.join(ROOT, "demo", "run.sh")], cwd=ROOT, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=dict(os.environ, DEMO_PORT=str(self.port), DEMO_TLS_PORT=str(self.tls_port), DEMO_EXTRA_CONFIG=config, **environment))
        self.said = ""
        self.reader = threading.Thread(target=self._listen, daemon=True)
        self.reader.start()
        wait_for(lambda: "Ctrl-C" in self.said or not self.reader.is_alive(), "the demo says that it runs", 30)
        found = re.search(r"/tmp/mercure-demo\.\w+", self.said)
        assert "Ctrl-C" in self.said and found, self.said
        self.dir = found.group()

    def _listen(self):
        for line in self.process.stdout:
            self.said += line

    def pids(self):
        """The script and all its descendants."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += map(int, subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split())
        return found

    def kill_group(self, number=signal.SIGINT):
        os.killpg(self.process.pid, number)

    def stop(self, number=signal.SIGINT):
        """Stop it and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(20)
        self.reader.join(5)
        return status

    def close(self):
        crashed = "exit signal" in self.log()
        log = self.log()
        status = self.stop()
        assert status == 0, self.said
        assert not os.path.exists(self.dir), os.listdir(self.dir)
        assert not crashed, log

    # --- looking ---

    def read(self, name):
        try:
            with open(os.path.join(self.dir, name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log(self):
        return self.read("error.log")

    def subscriptions(self):
        """The Last-Event-ID of each request for a stream, as the access log has them ("-": none)."""
        return re.findall(r'" last-event-id="([^"]*)"$',
                          "\n".join(line for line in self.read("access.log").splitlines()
                                    if f'"GET {PATH}' in line and "match=" in line), re.M)

    # --- doing ---

    def request(self, method, path, body=None, headers=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            conn.request(method, path, body, {"Host": f"localhost:{self.port}", **(headers or {})})
            answer = conn.getresponse()
            return answer.status, answer.headers, answer.read().decode("utf-8", "replace")
        finally:
            conn.close()

    def post(self, message, private=False, headers=None, accept="application/json"):
        """Send the page's form."""
        fields = {"message": message, **({"private": "on"} if private else {})}
        return self.request("POST", "/publish.php", urllib.parse.urlencode(fields).encode(),
                            {"Content-Type": "application/x-www-form-urlencoded", "Accept": accept, **(headers or {})})

    def published(self, message, private=False):
        status, _, body = self.post(message, private)
        assert status == 200, (status, body, self.log()[-2000:])
        return body

    def subscribe(self, **more):
        return Stream(self, TOPIC, **more)

    def visitor_token(self):
        """The token that the page gives its visitor, out of the cookie."""
        _, headers, _ = self.request("GET", "/")
        return re.match(r"demo_access_token=([^;]+)", headers["Set-Cookie"]).group(1)


def php(code, *options, **environment):
    """Run PHP with demo/mercure.php loaded; returns what it printed."""
    program = shutil.which("php") or next(p for p in sorted(os.listdir("/usr/bin")) if re.fullmatch(r"php8\.\d", p))
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run([program, *options, "-d", "display_errors=stderr", "-r",
                           f"require '{ROOT}/demo/mercure.php';" + code],
                          env=dict(clean, **environment), capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and not done.stderr, (done.returncode, done.stdout, done.stderr)
    return done.stdout
