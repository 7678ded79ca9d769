"""Directives: a wrong value stops `apache2 -t` with a sentence that says what to write instead."""

import os
import subprocess

import pytest

from server import ISSUER, SECRET, Server

KEYS = '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
VHOST = "<VirtualHost *:1>\n{}\n</VirtualHost>"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = Server(hub="# here")
    with open(one.config_file) as f:
        one.template = f.read()
    make_keys(one.dir)
    yield one
    one.close()


def make_keys(directory):
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.key")
    openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", "small.key")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "p256.key")
    openssl("genpkey", "-algorithm", "ED25519", "-out", "ed25519.key")
    for name in ("rsa", "small", "p256", "ed25519"):
        openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pem")
    openssl("req", "-x509", "-key", "rsa.key", "-subj", "/CN=x", "-days", "2", "-out", "cert.pem")
    for name, text in (("secret", SECRET + "\n"), ("short", "short\n"), ("empty", ""), ("large", "x" * 65537),
                       ("newline", "\n"), ("keys.json", KEYS), ("unusable.json", KEYS.replace("OKP", "oct")),
                       ("broken.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")):
        with open(os.path.join(directory, name), "w") as f:
            f.write(text)


def check(server, text):
    with open(server.config_file, "w") as f:
        f.write(server.template.replace("# here", text.replace("DIR", server.dir)))
    return server.configtest()


def short(value):
    """A test's name out of its line."""
    return value[:50]


HS = f"MercureIssuer {ISSUER} both HS256"
ES = f"MercureIssuer {ISSUER} both ES256"
NUMBER = "wants a whole number from 0 to"
SIZE = "wants a number of bytes, such as 512K or 1M, not"
ORIGIN = "wants origins such as https://www.example.com, not"
SERVERS = "MercureAuthorizationServer wants issuers' URLs such as https://id.example.com, not"
AGE = "MercureHistory age= wants a duration such as 90s, 30m, 12h or 7d, not"
ENDLESS = "MercureHistory wants events=N, age=DURATION or bytes=SIZE (0: no bound), not"
PATHS = "MercurePath wants an absolute path such as /.well-known/mercure, without a slash at its end"
CHARACTERS = "MercurePath wants letters, digits, and / . - _ ~ only"
FOUR = "MercureIssuer wants four words: ISSUER publisher|subscriber|both ALGORITHM[,ALGORITHM] KEY"


@pytest.mark.parametrize("line,message", [
    ("MercureHub Yes", "MercureHub must be On or Off"),
    ("MercureHub", "MercureHub must be On or Off"),
    ("MercureAnonymous 1", "MercureAnonymous must be On or Off"),
    ('MercureHubName ""', "MercureHubName takes one argument, the tenant's name; the ServerName by default"),
    (f"MercureHubName {'x' * 101}", "MercureHubName wants a name of 1 to 100 characters"),
    ("MercureHubName a/b", "MercureHubName wants letters, digits, and . - _ : only"),
    ("MercureHubName é", "MercureHubName wants letters, digits, and . - _ : only"),
    ('MercureHubName "a b"', "MercureHubName wants letters, digits, and . - _ : only"),
    # MercureIssuer
    ("MercureIssuer", FOUR),
    (f"MercureIssuer {ISSUER} both HS256", FOUR),
    (f"{HS} {SECRET} more", FOUR),
    (f"MercureIssuer * both HS256 {SECRET}", "MercureIssuer * is for tokens of protocol 0.x"),
    (f"MercureIssuer {ISSUER} reader HS256 {SECRET}", "publisher, subscriber or both"),
    (f"MercureIssuer {ISSUER} both none {SECRET}", "none is not a signature algorithm: use HS256"),
    (f"MercureIssuer {ISSUER} both hs256 {SECRET}", "hs256 is not a signature algorithm: use HS256"),
    (f"MercureIssuer {ISSUER} both HS256, {SECRET}", "is not a signature algorithm: use HS256"),
    (f"MercureIssuer {ISSUER} both HS256,RS256 {SECRET}", "HS* beside public-key algorithms with one key: use one line for each"),
    (f"{HS} short", "a secret of 5 bytes is too short for HS256: use at least 32 bytes"),
    (f"MercureIssuer {ISSUER} both HS384 {'x' * 47}", "a secret of 47 bytes is too short for HS384: use at least 48 bytes"),
    (f"MercureIssuer {ISSUER} both HS512 {'x' * 63}", "a secret of 63 bytes is too short for HS512: use at least 64 bytes"),
    (f"{HS} file:DIR/short", "a secret of 5 bytes is too short for HS256: use at least 32 bytes"),
    (f"{HS} file:DIR/newline", "a secret of 0 bytes is too short for HS256: use at least 32 bytes"),
    (f"{HS} file:DIR/empty", "must be a regular file of 1 to 65536 bytes"),
    (f"{HS} file:DIR/large", "must be a regular file of 1 to 65536 bytes"),
    (f"{HS} file:DIR", "must be a regular file of 1 to 65536 bytes"),
    (f"{HS} file:/dev/zero", "must be a regular file of 1 to 65536 bytes"),
    (f"{HS} file:DIR/missing", "cannot open the key file"),
    (f"{HS} file:DIR/missing", "No such file or directory"),
    (f"{HS} env:MERCURE_UNSET_IN_TESTS", "MercureIssuer: the environment variable MERCURE_UNSET_IN_TESTS is not set"),
    # key sets
    (f"{HS} jwks:https://example.com/", "HS* does not go with a key set, which is public: name RS*, PS*, ES* or EdDSA"),
    (f"{HS},RS256 jwks:DIR/keys.json", "HS* does not go with a key set"),
    (f"{ES} jwks:http://example.com/", "a key set is fetched over https: http is for localhost, 127.0.0.1 and [::1] only"),
    (f"{ES} jwks:http://10.0.0.1/", "a key set is fetched over https"),
    (f"{ES} jwks:http://localhost.example.com/", "a key set is fetched over https"),
    (f"{ES} jwks:ftp://example.com/", "the URL of a key set is one such as https://login.example.com/.well-known/jwks.json"),
    (f"{ES} jwks:file:///etc/passwd", "the URL of a key set is one such as https://"),
    (f"{ES} jwks:https://", "the URL of a key set is one such as https://"),
    (f"{ES} jwks:https://me:hunter2@example.com/", "the URL of a key set holds no user or password: key sets are public"),
    (f"{ES} jwks:https://example.com/{'x' * 2048}", "the URL of a key set may have 2048 bytes"),
    (f'{ES} "jwks:https://example.com/#keys"', "the URL of a key set has no fragment (#)"),
    (f"{ES} jwks:DIR/missing", "cannot open the key file"),
    (f"{ES} jwks:", "must be a regular file"),
    (f"{ES} jwks:DIR/secret", 'DIR/secret: this is no JWK Set: a JSON object with an array "keys"'),
    (f"{ES} jwks:DIR/rsa.pem", "this is no JWK Set"),
    (f"{ES} jwks:DIR/unusable.json", "none of the 1 keys of the set can be used: RSA of 2048 bits or more"),
    (f"{ES} jwks:/dev/zero", "must be a regular file of 1 to 262144 bytes"),
    ("MercureKeySetCA DIR/cert.pem", "cannot occur within <VirtualHost> section"),
    ("MercureKeySetPrivate On", "cannot occur within <VirtualHost> section"),
    (f"{HS} file:DIR/rsa.pem", "a PEM file is not an HMAC secret: name RS*, PS*, ES* or EdDSA instead"),
    (f"{HS} file:DIR/rsa.key", "a PEM file is not an HMAC secret"),
    (f"MercureIssuer {ISSUER} both RS256 {SECRET}", "a public key must be a PEM file (-----BEGIN PUBLIC KEY-----)"),
    (f"MercureIssuer {ISSUER} both RS256 file:DIR/rsa.key", "this is a private key, which a hub does not need: give the public key"),
    (f"MercureIssuer {ISSUER} both RS256 file:DIR/broken.pem", "the PEM holds neither a public key nor a certificate"),
    (f"MercureIssuer {ISSUER} both RS256 file:DIR/small.pem", "an RSA key of 1024 bits is too short: use at least 2048"),
    (f"MercureIssuer {ISSUER} both RS256 file:DIR/p256.pem", "the public key is EC on prime256v1, which does not fit RS256"),
    (f"MercureIssuer {ISSUER} both ES256 file:DIR/rsa.pem", "the public key is RSA, which does not fit ES256"),
    (f"MercureIssuer {ISSUER} both ES384 file:DIR/p256.pem", "the public key is EC on prime256v1, which does not fit ES384"),
    (f"MercureIssuer {ISSUER} both ES256,ES384 file:DIR/p256.pem", "which does not fit ES384"),
    (f"MercureIssuer {ISSUER} both EdDSA file:DIR/p256.pem", "which does not fit EdDSA"),
    (f"MercureIssuer {ISSUER} both RS256,EdDSA file:DIR/rsa.pem", "the public key is RSA, which does not fit EdDSA"),
    # origins, cookie
    ("MercurePublishOrigins *", f'MercurePublishOrigins {ORIGIN} "*"'),
    ("MercurePublishOrigins null", f'MercurePublishOrigins {ORIGIN} "null"'),
    ("MercurePublishOrigins www.example.com", f'MercurePublishOrigins {ORIGIN} "www.example.com"'),
    ("MercurePublishOrigins https://ok.example https://example.com/path", f'{ORIGIN} "https://example.com/path"'),
    ("MercurePublishOrigins https://example.com?q", f'{ORIGIN} "https://example.com?q"'),
    ("MercurePublishOrigins https://user@example.com", f'{ORIGIN} "https://user@example.com"'),
    ("MercurePublishOrigins ftp://example.com", f'{ORIGIN} "ftp://example.com"'),
    ("MercurePublicURLs example.com", f'MercurePublicURLs {ORIGIN} "example.com"'),
    ("MercurePublicURLs https://example.com/.well-known/mercure", f"MercurePublicURLs {ORIGIN}"),
    ("MercurePublishOrigins https://*.example.com", f'{ORIGIN} "https://*.example.com"'),
    ("MercurePublishOrigins https://example.com:99999", f'{ORIGIN} "https://example.com:99999"'),
    ("MercurePublishOrigins https://example.com:0", f'{ORIGIN} "https://example.com:0"'),
    ("MercureCORSOrigins", "MercureCORSOrigins requires at least one argument"),
    ("MercureCORSOrigins www.example.com", f'MercureCORSOrigins {ORIGIN} "www.example.com"'),
    ("MercureCORSOrigins * null", f'MercureCORSOrigins {ORIGIN} "null"'),
    ("MercureCORSOrigins https://ok.example https://example.com/path", f'{ORIGIN} "https://example.com/path"'),
    ("MercureCORSOrigins https://*.example.com", f'MercureCORSOrigins {ORIGIN} "https://*.example.com"'),
    ("MercureCORSOrigins *.example.com", f'MercureCORSOrigins {ORIGIN} "*.example.com"'),
    ("MercureCORSOrigins https://*", f'MercureCORSOrigins {ORIGIN} "https://*"'),
    ("MercureCORSOrigins https://", f'MercureCORSOrigins {ORIGIN} "https://"'),
    ("MercureCORSOrigins https://:8080", f'MercureCORSOrigins {ORIGIN} "https://:8080"'),
    ("MercureCORSOrigins https://bücher.example", f"MercureCORSOrigins {ORIGIN}"),
    ("MercureCORSOrigins https://a.example,https://b.example", f"MercureCORSOrigins {ORIGIN}"),
    ("MercureCORSOrigins https://example.com:65536", f"MercureCORSOrigins {ORIGIN}"),
    ("MercureCORSOrigins https://example.com:http", f"MercureCORSOrigins {ORIGIN}"),
    ("MercureCORSOrigins file:///", f'MercureCORSOrigins {ORIGIN} "file:///"'),
    ("MercureDiscovery", "MercureDiscovery must be On or Off"),
    ("MercureDiscovery https://example.com", "MercureDiscovery must be On or Off"),
    ("MercureAuthorizationServer", "MercureAuthorizationServer requires at least one argument"),
    ("MercureAuthorizationServer id.example.com", f'{SERVERS} "id.example.com"'),
    ("MercureAuthorizationServer https://id.example.com?x", f'{SERVERS} "https://id.example.com?x"'),
    ('MercureAuthorizationServer "https://id.example.com/#x"', f'{SERVERS} "https://id.example.com/#x"'),
    ("MercureAuthorizationServer ftp://id.example.com", f'{SERVERS} "ftp://id.example.com"'),
    ("MercureAuthorizationServer https://me@id.example.com", f'{SERVERS} "https://me@id.example.com"'),
    ("MercureAuthorizationServer https://id.example.com https:///x", f'{SERVERS} "https:///x"'),
    ("MercureAuthorizationServer https://id.example.com/é", SERVERS),
    ("MercurePublicURLs *", f'MercurePublicURLs {ORIGIN} "*"'),
    ('MercureCookieName "a b"', 'MercureCookieName wants a cookie\'s name (RFC 6265), not "a b"'),
    ("MercureCookieName a=b", 'MercureCookieName wants a cookie\'s name (RFC 6265), not "a=b"'),
    ('MercureCookieName "a;b"', "MercureCookieName wants a cookie's name (RFC 6265)"),
    ('MercureCookieName ""', "MercureCookieName takes one argument, the cookie that carries a token"),
    # numbers and sizes
    ("MercureMaxBody 0", "MercureMaxBody wants a size from 1 to 32M"),
    ("MercureMaxBody 33M", "MercureMaxBody wants a size from 1 to 32M"),
    ("MercureMaxBody -1", f'MercureMaxBody {SIZE} "-1"'),
    ("MercureMaxBody 1MB", f'MercureMaxBody {SIZE} "1MB"'),
    ("MercureMaxBody 1T", f'MercureMaxBody {SIZE} "1T"'),
    ("MercureMaxBody M", f'MercureMaxBody {SIZE} "M"'),
    ('MercureMaxBody ""', "MercureMaxBody takes one argument, largest publication, in bytes"),
    ("MercureMaxBody 99999999999999999999", f"MercureMaxBody {SIZE}"),
    ("MercureMaxBody 9999999999999G", f"MercureMaxBody {SIZE}"),
    ("MercureMaxPending 4095", "MercureMaxPending wants at least 4096 bytes"),
    ("MercureMaxPending many", f'MercureMaxPending {SIZE} "many"'),
    ("MercureMaxSubscribers -1", f'MercureMaxSubscribers {NUMBER} 1000000000, not "-1"'),
    ("MercureMaxSubscribers 1.5", f'MercureMaxSubscribers {NUMBER} 1000000000, not "1.5"'),
    ("MercureMaxSubscribers 1000000001", f"MercureMaxSubscribers {NUMBER} 1000000000"),
    ("MercureMaxSubscribersPerClient ten", f'MercureMaxSubscribersPerClient {NUMBER} 1000000000, not "ten"'),
    ("MercureMaxBlocking -1", f"MercureMaxBlocking {NUMBER} 1000000000"),
    ("MercureHeartbeat 40s", f'MercureHeartbeat {NUMBER} 315360000, not "40s"'),
    ("MercureHeartbeat -1", f"MercureHeartbeat {NUMBER} 315360000"),
    ("MercureMaxLifetime forever", f"MercureMaxLifetime {NUMBER} 315360000"),
    ("MercureDispatchTimeout 315360001", f"MercureDispatchTimeout {NUMBER} 315360000"),
    # history
    ("MercureHistory 100", f'{ENDLESS} "100"'),
    ("MercureHistory size=1M", f'{ENDLESS} "size=1M"'),
    ("MercureHistory Events=1", f'{ENDLESS} "Events=1"'),
    ("MercureHistory events=", "wants a whole number"),
    ("MercureHistory events=-1", "wants a whole number"),
    ("MercureHistory events=1K", "wants a whole number"),
    ("MercureHistory events=99999999999999999999", "wants a whole number"),
    ("MercureHistory age=", f'{AGE} ""'),
    ("MercureHistory age=1w", f'{AGE} "1w"'),
    ("MercureHistory age=1.5h", f'{AGE} "1.5h"'),
    ("MercureHistory age=-1d", f'{AGE} "-1d"'),
    ("MercureHistory age=1hh", f'{AGE} "1hh"'),
    ("MercureHistory age=36501d", f'{AGE} "36501d"'),
    ("MercureHistory age=99999999999999999999", AGE),
    ("MercureHistory bytes=x", f'MercureHistory {SIZE} "x"'),
    ("MercureHistory events=5 bytes=-1", f"MercureHistory {SIZE}"),
    # path, identifier
    ("MercurePath hub", PATHS),
    ("MercurePath /", PATHS),
    ('MercurePath ""', "MercurePath takes one argument, the hub's path"),
    ("MercurePath /hub/", PATHS),
    ("MercurePath /a//b", PATHS),
    ("MercurePath /a/./b", PATHS),
    ("MercurePath /a/../b", PATHS),
    ("MercurePath /a/..", PATHS),
    ("MercurePath /a/.", PATHS),
    ("MercurePath /..", PATHS),
    ("MercurePath /.", PATHS),
    ("MercurePath /a%20b", CHARACTERS),
    ("MercurePath /a?b", CHARACTERS),
    ("MercurePath https://example.com/hub", CHARACTERS),
    ("MercureResourceIdentifier /.well-known/mercure", "MercureResourceIdentifier wants a URL such as https://example.com/.well-known/mercure"),
    # the whole server's
    ("MercureBroker spawn", "MercureBroker"),
    ("MercureStateDir /tmp", "cannot occur within <VirtualHost> section"),
    ("MercureBroker ipc:/tmp", "cannot occur within <VirtualHost> section"),
    ("MercureBrokerProgram /bin/true", "cannot occur within <VirtualHost> section"),
    ("MercureDurability fsync", "cannot occur within <VirtualHost> section"),
    ("<Directory />\nMercurePath /x\n</Directory>", "MercurePath not allowed in <Directory> context"),
    ("<Location /x>\nMercureStateDir /tmp\n</Location>", "MercureStateDir"),
], ids=short)
def test_a_wrong_value_is_refused_with_what_to_write_instead(server, line, message):
    result = check(server, line)
    assert result.returncode != 0, f"{line} is accepted"
    assert "Syntax OK" not in result.stderr
    assert message.replace("DIR", server.dir) in result.stderr, result.stderr


@pytest.mark.parametrize("line,message", [
    ("MercureBroker tcp:127.0.0.1", "MercureBroker wants spawn, or ipc:DIRECTORY with the --socket-dir of a brokerd of your own"),
    ("MercureBroker ipc:", "MercureBroker wants spawn, or ipc:DIRECTORY"),
    ("MercureBroker Off", "MercureBroker wants spawn, or ipc:DIRECTORY"),
    ("MercureBrokerProgram /nonexistent", "MercureBrokerProgram: /nonexistent is not a program"),
    ("MercureBrokerProgram DIR/secret", "is not a program"),
    ("MercureDurability yes", "MercureDurability wants fsync or async"),
    ("MercureDurability", "MercureDurability"),
    ("MercureKeySetCA DIR/missing", "MercureKeySetCA wants a file of certificates (PEM): "),
    ("MercureKeySetCA DIR/secret", "MercureKeySetCA wants a file of certificates (PEM): "),
    ("MercureKeySetPrivate Perhaps", "MercureKeySetPrivate must be On or Off"),
], ids=short)
def test_a_wrong_value_for_the_whole_server_is_refused(server, line, message):
    result = check(server, f"</VirtualHost>\n{line}\n{VHOST.format('')}\n<VirtualHost *:2>")
    assert result.returncode != 0, f"{line} is accepted"
    assert message in result.stderr, result.stderr


@pytest.mark.parametrize("line", [
    "MercureHub On\nMercureAnonymous Off",
    "mercurehub on",
    f"MercureHubName {'x' * 100}",
    "MercureHubName example.com:8443_a-b",
    f"{HS} {SECRET}",
    f'{HS} "a secret with blanks in it that is long enough"',
    f"MercureIssuer {ISSUER} Publisher HS256,HS384,HS512 {SECRET}",
    f"{HS} file:DIR/secret",
    f"{HS} file:secret",
    f"MercureIssuer {ISSUER} both RS256,RS384,RS512,PS256,PS384,PS512 file:DIR/rsa.pem",
    f"MercureIssuer {ISSUER} subscriber RS256 file:DIR/cert.pem",
    f"MercureIssuer {ISSUER} both ES256 file:DIR/p256.pem",
    f"MercureIssuer {ISSUER} both EdDSA file:DIR/ed25519.pem",
    f"{HS} {'x' * 32}",
    f"{ES} jwks:https://login.example.com/.well-known/jwks.json",
    f"MercureIssuer {ISSUER} both RS256,PS256,ES384,EdDSA jwks:https://login.example.com:8443/certs?version=2",
    f"{ES} jwks:http://localhost:8080/jwks\n{ES} jwks:http://127.0.0.1/\n{ES} jwks:http://[::1]:8080/jwks",
    f"{ES} jwks:DIR/keys.json\n{ES} jwks:keys.json",
    "MercurePublishOrigins https://www.example.com http://[::1]:8080 HTTPS://EXAMPLE.COM:443/",
    "MercureCORSOrigins *",
    "MercureCORSOrigins https://www.example.com http://[::1]:8080 * HTTPS://EXAMPLE.COM:443/ https://a_b.example:65535",
    "MercureDiscovery On\nMercureDiscovery off",
    "MercureAuthorizationServer https://id.example.com https://login.example.com/realms/shop http://localhost:8080/",
    "MercureCookieName __Host-token",
    "MercureMaxBody 1\nMercureMaxBody 32M\nMercureMaxBody 512k",
    "MercureMaxPending 4096\nMercureMaxPending 1G",
    "MercureMaxSubscribers 0\nMercureMaxSubscribersPerClient 10\nMercureMaxBlocking 0",
    "MercureHistory events=1000 age=7d bytes=100M",
    "MercureHistory events=0\nMercureHistory age=90\nMercureHistory age=90s\nMercureHistory age=30m\nMercureHistory age=12h",
    "MercureHistory age=36500d",
    "MercurePath /hub\nMercurePath /.well-known/mercure\nMercurePath /a.b/c..d/~x_y-z\nMercurePath /...",
    "MercureResourceIdentifier https://example.com/.well-known/mercure",
    "MercurePublicURLs https://example.com http://localhost:8080",
    "MercureHeartbeat 0\nMercureMaxLifetime 0\nMercureDispatchTimeout 0",
    f"<Location /x>\nMercureHub On\nMercureHistory events=5\n{HS} {SECRET}\n</Location>",
    f"<Directory DIR>\nMercureHub On\nMercureMaxSubscribers 5\n{HS} {SECRET}\nMercureCORSOrigins *\nMercureDiscovery On\n"
    "MercureAuthorizationServer https://id.example.com\n</Directory>",
], ids=short)
def test_a_right_value_is_accepted(server, line):
    result = check(server, line)
    assert (result.returncode, result.stderr) == (0, "Syntax OK\n"), result.stderr


@pytest.mark.parametrize("line", ["MercureBroker spawn", "MercureBroker Spawn", "MercureBroker ipc:/run/mercure",
                                  "MercureBrokerProgram /bin/true", "MercureStateDir relative/dir",
                                  "MercureDurability fsync\nMercureDurability ASYNC",
                                  "MercureKeySetCA DIR/cert.pem", "MercureKeySetPrivate On\nMercureKeySetPrivate off"],
                         ids=short)
def test_a_right_value_for_the_whole_server_is_accepted(server, line):
    result = check(server, f"</VirtualHost>\n{line}\n<VirtualHost *:2>")
    assert (result.returncode, result.stderr) == (0, "Syntax OK\n"), result.stderr


@pytest.mark.parametrize("line", [f"{HS} {SECRET} more", f"MercureIssuer {ISSUER} both RS256 {SECRET}",
                                  f"MercureIssuer {ISSUER} reader HS256 {SECRET}", f"{HS} a-short-secret",
                                  f"{ES} jwks:https://a-short-secret@example.com/", f"{ES} jwks:http://example.com/?{SECRET}",
                                  f"{ES} jwks:https://:a-short-secret@example.com/"], ids=short)
def test_a_message_does_not_hold_the_secret(server, line):
    result = check(server, line)
    assert result.returncode != 0
    assert SECRET not in result.stderr and "a-short-secret" not in result.stderr
