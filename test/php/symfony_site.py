"""The site of test/php/symfony/, served by a private httpd with its own brokerd and PHP-FPM, over HTTPS."""

import glob
import os
import shutil
import subprocess
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from client import request  # noqa: E402
from server import PATH, Server, wait_for  # noqa: E402

SECRET = "!ChangeThisMercureHubJWTSecretKey!"  # the one in the component's own manual
BOOK = "https://site.example/books/1"


class Site:
    def __init__(self, tls=True, compatibility="MercureCompatibility 8", issuer="*", main=""):
        self.server = Server(tls=tls, modules=["proxy", "proxy_fcgi"], main=main, hub=f"""
MercureHub On
MercureAnonymous On
{compatibility}
MercureIssuer {issuer} both HS256 {SECRET}
DirectoryIndex index.php
""")
        s = self.server
        with open(s.config_file) as f:
            text = f.read()
        with open(s.config_file, "w") as f:
            f.write(text.replace("</VirtualHost>", f"""<FilesMatch "\\.php$">
SetHandler "proxy:unix:{s.dir}/php.sock|fcgi://localhost"
</FilesMatch>
</VirtualHost>""", 1))
        self.url = f"{'https' if tls else 'http'}://localhost:{s.port}"
        self.hub = self.url + PATH
        shutil.copytree(os.path.join(HERE, "symfony"), s.htdocs, dirs_exist_ok=True)
        user = "user = www-data\ngroup = www-data\nlisten.owner = www-data\nlisten.group = www-data" if s.root else ""
        with open(f"{s.dir}/php-fpm.conf", "w") as f:
            f.write(f"""[global]
error_log = {s.dir}/php-fpm.log
daemonize = no
[site]
listen = {s.dir}/php.sock
{user}
pm = static
pm.max_children = 2
catch_workers_output = yes
env[MERCURE_URL] = {self.hub}
env[MERCURE_SECRET] = "{SECRET}"
php_admin_flag[display_errors] = on
""")
        program = sorted(glob.glob("/usr/sbin/php-fpm8.*"))[-1]
        # Without a proxy of the environment: the hub is on this machine.
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        self.php = subprocess.Popen([program, "-F", "-y", f"{s.dir}/php-fpm.conf"], env=clean,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(f"{s.dir}/php.sock") or self.php.poll() is not None, "PHP-FPM listens")
        s.start()

    def publish(self, data, topics=(BOOK,), **fields):
        """By the site's PHP; returns the Answer."""
        pairs = [("topics[]", topic) for topic in topics] + [("data", data)] + list(fields.items())
        return request(self.server, "POST", "/publish.php", {"Content-Type": "application/x-www-form-urlencoded"},
                       urllib.parse.urlencode(pairs).encode())

    def published(self, data, **more):
        answer = self.publish(data, **more)
        assert answer.status == 200, (answer.body, self.server.log()[-2000:])
        return answer.body

    def cookie(self):
        """The page's Set-Cookie."""
        return request(self.server, "GET", "/").headers["Set-Cookie"]

    def close(self):
        self.php.terminate()
        self.php.wait()
        self.server.close()
