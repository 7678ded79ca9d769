"""A private httpd with its own brokerd, in a temporary directory and on free ports, for one test."""

import functools
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = "/usr/lib/apache2/modules"
BUILD = os.path.join(ROOT, os.environ.get("MERCURE_BUILD", "build"))
SECRET = "an-hmac-secret-of-the-tests-that-is-long-enough-for-hs512-too!!!"
ISSUER = "https://issuer.example"
PATH = "/.well-known/mercure"

MPM = {
    "event": "StartServers 1\nServerLimit 4\nThreadsPerChild 25\nThreadLimit 64\nMinSpareThreads 25\n"
             "MaxSpareThreads 75\nMaxRequestWorkers 25\nAsyncRequestWorkerFactor 4\n",
    "worker": "StartServers 1\nServerLimit 4\nThreadsPerChild 25\nThreadLimit 64\nMinSpareThreads 25\n"
              "MaxSpareThreads 75\nMaxRequestWorkers 25\n",
    "prefork": "StartServers 1\nMinSpareServers 1\nMaxSpareServers 1\nServerLimit 4\nMaxRequestWorkers 1\n",
}
BASE_MODULES = ["authz_core", "authz_host", "dir", "mime", "alias", "setenvif", "env", "headers", "rewrite", "reqtimeout"]


def wait_for(condition, what, seconds=10.0):
    """Wait until condition() is true; a test never waits for a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {what}")


_ports = iter(range(20000 + (os.getpid() * 37) % 8000, 32000))


def free_port():
    """A port outside of the range from which the system picks ports by itself."""
    for port in _ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


@functools.cache
def make_certificate():
    """A key and a self-signed certificate for localhost."""
    return subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                           "-keyout", "-", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True).stdout


def certificate(directory):
    """The certificate and its key, in a file: named twice, as SSLCertificateFile and SSLCertificateKeyFile."""
    path = os.path.join(directory, "cert.pem")
    with open(path, "wb") as f:
        f.write(make_certificate())
    return path, path


class Server:
    def __init__(self, mpm="event", tls=False, modules=(), config="", hub=None, vhosts="", main="", environment=None,
                 mpm_config=None, broker=None, wrapper=(), http2=False):
        """`http2`: our own HTTP/2 over TLS, which client.py's requests then use. mod_http2 only if it is in `modules`."""
        self.mpm, self.tls, self.http2 = mpm, tls or http2, http2
        self.dir = tempfile.mkdtemp(prefix="mt", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.htdocs = os.path.join(self.dir, "htdocs")
        os.mkdir(self.htdocs)
        with open(os.path.join(self.htdocs, "index.html"), "w") as f:
            f.write("an ordinary page\n")
        self.port = free_port()
        self.root = os.geteuid() == 0
        if self.root:
            www = pwd.getpwnam("www-data")
            self.uid, self.gid = www.pw_uid, www.pw_gid
        else:
            self.uid, self.gid = os.geteuid(), os.getegid()
        self.state = os.path.join(self.dir, "state")
        self.error_log = os.path.join(self.dir, "error.log")
        self.access_log = os.path.join(self.dir, "access.log")
        self.environment = dict(os.environ, **(environment or {}))
        self.wrapper = list(wrapper)
        self.process = None
        self.expect_crash = False
        if hub is None:
            hub = f"MercureHub On\nMercureAnonymous On\nMercureIssuer {ISSUER} both HS256 {SECRET}\n"
        self.write_config(mpm_config or MPM[mpm], modules, config, hub, vhosts, main, broker)

    def write_config(self, mpm_config, modules, config, hub, vhosts, main, broker):
        wanted = [f"mpm_{self.mpm}"] + BASE_MODULES + [m for m in modules if m not in BASE_MODULES]
        if self.tls and "ssl" not in wanted:
            wanted += ["socache_shmcb", "ssl"]
        loads = "".join(f"LoadModule {'security2' if m == 'security2' else m}_module {MODULES}/mod_{m}.so\n"
                        for m in wanted)
        tls = ""
        if self.tls:
            cert, key = certificate(self.dir)
            tls = f"SSLEngine On\nSSLCertificateFile {cert}\nSSLCertificateKeyFile {key}\n"
        if self.http2:
            tls += "Protocols h2 http/1.1\nMercureHTTP2 On\n"
        self.tls_lines = tls  # for further virtual hosts on this address too
        user = "User www-data\nGroup www-data\n" if self.root else ""
        self.config_file = os.path.join(self.dir, "httpd.conf")
        with open(self.config_file, "w") as f:
            f.write(f"""ServerRoot {self.dir}
ServerName localhost
PidFile {self.dir}/httpd.pid
DefaultRuntimeDir {self.dir}
Listen 127.0.0.1:{self.port}
ErrorLog {self.error_log}
LogLevel warn mercure:debug
{loads}LoadModule mercure_module {BUILD}/mod_mercure.so
{user}{mpm_config}
TypesConfig /etc/mime.types
LogFormat "%a %>s %b \\"%r\\"" short
CustomLog {self.access_log} short
MercureBrokerProgram {BUILD}/brokerd
MercureStateDir {self.state}
{broker or ""}
{main}
<VirtualHost 127.0.0.1:{self.port}>
ServerName localhost
DocumentRoot {self.htdocs}
<Directory {self.htdocs}>
Require all granted
AllowOverride AuthConfig
</Directory>
{tls}{hub}
{config}
</VirtualHost>
{vhosts}
""")

    @property
    def scheme(self):
        return "https" if self.tls else "http"

    @property
    def origin(self):
        return f"{self.scheme}://localhost:{self.port}"

    def rewrite(self, old, new):
        """Replace a text of the configuration."""
        with open(self.config_file) as f:
            text = f.read()
        assert old in text, old
        with open(self.config_file, "w") as f:
            f.write(text.replace(old, new))

    # --- life ---

    def command(self, *arguments):
        return ["/usr/sbin/apache2", "-d", self.dir, "-f", self.config_file, *arguments]

    def start(self, ready=True):
        self.process = subprocess.Popen(self.wrapper + self.command("-DFOREGROUND"), env=self.environment,
                                        start_new_session=True, stdout=subprocess.DEVNULL,
                                        stderr=open(os.path.join(self.dir, "stderr"), "ab"))
        if ready:
            wait_for(self.answers, "httpd answers", 60 if self.wrapper else 20)
            wait_for(self.child_pids, "httpd has children")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"httpd has ended:\n{self.log()}\n{open(os.path.join(self.dir, 'stderr')).read()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def configtest(self):
        return subprocess.run(self.command("-t"), env=self.environment, capture_output=True, text=True)

    def graceful(self):
        before = self.log().count("resuming normal operations")
        self.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: self.log().count("resuming normal operations") > before, "graceful restart")

    def at_rest(self):
        """Does every thread of httpd's children sleep?"""
        for pid in self.child_pids():
            for stat in glob.glob(f"/proc/{pid}/task/*/stat"):
                try:
                    with open(stat) as f:
                        if f.read().rsplit(")", 1)[1].split()[0] not in "SZ":
                            return False
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return True

    def stop(self, graceful=False):
        """Stop httpd. Its workers are let come to rest first: the event and worker MPMs' close_worker_sockets() looks at sockets
        whose pools a busy worker may just have cleared, and then a child crashes by no fault of ours.
        """
        if self.process is None or self.process.poll() is not None:
            return
        deadline = time.monotonic() + 2
        while not self.at_rest() and time.monotonic() < deadline:
            time.sleep(0.002)
        self.process.send_signal(signal.SIGWINCH if graceful else signal.SIGTERM)
        try:
            self.process.wait(60 if self.wrapper else 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"httpd did not stop\n{self.log()}")

    def close(self):
        try:
            self.stop()
            text = self.log()
            if not self.expect_crash:
                assert "exit signal" not in text, text
                assert "AddressSanitizer" not in text and "runtime error" not in text, text
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    # --- looking ---

    def log(self):
        try:
            with open(self.error_log, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def access(self):
        with open(self.access_log, errors="replace") as f:
            return f.read()

    def wait_log(self, text, seconds=10.0):
        try:
            wait_for(lambda: text in self.log(), f"{text!r} in the error log", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()[-3000:]}") from None

    def processes(self):
        """(pid, name) of all our descendants."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split():
                try:
                    with open(f"/proc/{child}/comm") as f:
                        found.append((int(child), f.read().strip()))
                    todo.append(int(child))
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return found

    def broker_pid(self):
        pids = [pid for pid, name in self.processes() if name == "brokerd"]
        return pids[0] if pids else None

    def child_pids(self):
        return [pid for pid, name in self.processes() if name in ("apache2", "memcheck-amd64-")]
