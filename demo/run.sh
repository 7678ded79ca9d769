#!/usr/bin/env bash
# run.sh - what ./build.sh run shows: a private httpd with its own brokerd and PHP-FPM, and a page to look at.
#
# Everything lives in one temporary directory, which is removed at the end; the system's Apache and PHP-FPM are neither
# read nor touched, except for the programs and modules themselves (and PHP's own php.ini). Works as root and as an
# ordinary user. Ctrl-C or SIGTERM stops it.
#
#   DEMO_PORT          the port on localhost, 8080
#   DEMO_TLS_PORT      the port for HTTPS and HTTP/2, 8443
#   DEMO_EXTRA_CONFIG  lines of httpd configuration for the end of both virtual hosts
#   DEMO_WAIT          seconds that it may take until all answer, 20
#   MERCURE_BUILD      where mod_mercure.so and brokerd are, build
#
# What surprised us: brokerd and the PHP pages run as www-data when we are root, and a project below /root is closed to
# that user. So the pages are copied, and brokerd too when it has to be.
set -u
umask 077

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || exit 1
port=${DEMO_PORT:-8080}
tls_port=${DEMO_TLS_PORT:-8443}
build=${MERCURE_BUILD:-build}
[[ $build == /* ]] || build=$root/$build
modules=/usr/lib/apache2/modules
issuer=https://demo.example
dir='' httpd_pid='' php_pid=''

say() { printf '%s\n' "$*"; }

# A sentence, the beginnings and ends of the logs, and the end.
fail() {
    say "$*" >&2
    local log
    for log in stderr error.log php-fpm.log; do
        if [ -n "$dir" ] && [ -s "$dir/$log" ]; then
            say "--- $log" >&2
            awk 'NR <= 10 { print; next } { last[NR % 20] = $0 }
                END { if (NR > 30) print "..."; for (i = NR > 30 ? NR - 19 : 11; i <= NR; i++) print last[i % 20] }' "$dir/$log" >&2
        fi
    done
    exit 1
}

# Stop one program of ours: politely, and after ten seconds not so.
stop() {
    local pid=$1 tries=0
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ "$((tries += 1))" -lt 400 ]; do
        sleep 0.025
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
}

clean_up() {
    trap '' INT TERM HUP
    stop "$httpd_pid"
    stop "$php_pid"
    [ -z "$dir" ] || rm -rf "$dir"
}
trap clean_up EXIT
trap 'say; say Stopped.; exit 0' INT TERM HUP

# The first line of the answer to a request, or nothing.
ask() {
    local line=''
    {
        exec 3<>"/dev/tcp/127.0.0.1/$port" &&
            printf '%s %s HTTP/1.0\r\nHost: localhost:%s\r\n\r\n' "$1" "$2" "$port" >&3 &&
            read -r -t 5 line <&3
    } 2>/dev/null
    exec 3>&-
    printf '%s' "${line%$'\r'}"
}

# Start a program in a process group of its own, so that Ctrl-C reaches this script alone; should the script be killed, it ends too.
start() {
    setsid setpriv --pdeathsig TERM "$@" >>"$dir/stderr" 2>&1 </dev/null &
}

# --- is everything there? ---

# check_port NAME NUMBER
check_port() {
    case $2 in
    '' | *[!0-9]*) fail "$1 must be a number from 1 to 65535, not \"$2\"." ;;
    esac
    [ "${#2}" -le 5 ] && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] || fail "$1 must be a number from 1 to 65535, not \"$2\"."
}
check_port DEMO_PORT "$port"
check_port DEMO_TLS_PORT "$tls_port"
[ "$port" -ne "$tls_port" ] || fail "DEMO_PORT and DEMO_TLS_PORT must not be the same."
for file in "$build/mod_mercure.so" "$build/brokerd"; do
    [ -f "$file" ] || fail "$file is missing: build first, with ./build.sh build"
done
[ -x /usr/sbin/apache2 ] || fail "/usr/sbin/apache2 is missing: apt-get install apache2-bin (or ./build.sh deps)"
php=$(ls /usr/sbin/php-fpm8.* 2>/dev/null | sort -V | tail -n 1)
[ -n "$php" ] || fail "php-fpm is missing: apt-get install php-fpm (or ./build.sh deps)"
command -v openssl >/dev/null || fail "openssl is missing: apt-get install openssl (or ./build.sh deps)"
# free_port NUMBER EXAMPLE
free_port() {
    if (exec 3<>"/dev/tcp/localhost/$1") 2>/dev/null; then
        fail "Port $1 on localhost is taken by another program. Choose another one: $2 ./build.sh run"
    fi
}
free_port "$port" DEMO_PORT=8081
free_port "$tls_port" DEMO_TLS_PORT=8444

# --- the directory: pages, secret, configuration ---

dir=$(mktemp -d /tmp/mercure-demo.XXXXXX) || exit 1
mkdir "$dir/site" || exit 1
cp -R "$root/demo/mercure.php" "$root/demo/htdocs" "$dir/site/" || exit 1
chmod -R a+rX "$dir/site"
brokerd=$build/brokerd user='' pool_user=''
if [ "$(id -u)" -eq 0 ]; then
    chmod 0711 "$dir"
    user=$'User www-data\nGroup www-data'
    pool_user=$'user = www-data\ngroup = www-data\nlisten.owner = www-data\nlisten.group = www-data'
    if ! runuser -u www-data -- test -x "$brokerd"; then
        cp "$brokerd" "$dir/brokerd" && chmod 0755 "$dir/brokerd" || exit 1
        brokerd=$dir/brokerd
    fi
fi

# httpd's parent and PHP-FPM's parent read the secret; nobody else may.
secret=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
printf '%s\n' "$secret" >"$dir/secret"

# For localhost alone, and for this run alone: nobody vouches for it, so browsers warn.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/key.pem" -out "$dir/cert.pem" -days 30 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -addext extendedKeyUsage=serverAuth 2>>"$dir/stderr" || fail "openssl makes no certificate."

load() {
    local name
    for name in "$@"; do
        say "LoadModule ${name}_module $modules/mod_$name.so"
    done
}

# What both virtual hosts say. They have one name, so it is one hub, by whichever address.
site=$(
    cat <<END
    ServerName localhost
    DocumentRoot "$dir/site/htdocs"
    DirectoryIndex index.php
    <Directory "$dir/site/htdocs">
        Require all granted
        AllowOverride None
    </Directory>
    <FilesMatch "\.php$">
        SetHandler "proxy:unix:$dir/php.sock|fcgi://localhost"
        Header set Content-Security-Policy "default-src 'self'; frame-ancestors 'none'"
    </FilesMatch>

    # The hub itself. Over plain HTTP no browser takes a __Secure- cookie, so the cookie has another name here.
    MercureHub On
    MercureAnonymous On
    MercureIssuer $issuer both HS256 "file:$dir/secret"
    MercureResourceIdentifier http://localhost:$port/.well-known/mercure
    MercureCookieName demo_access_token
    MercureHistory events=1000 age=1d
${DEMO_EXTRA_CONFIG:-}
END
)

cat >"$dir/httpd.conf" <<END
ServerRoot "$dir"
ServerName localhost
PidFile "$dir/httpd.pid"
DefaultRuntimeDir "$dir"
Listen 127.0.0.1:$port
Listen 127.0.0.1:$tls_port
ErrorLog "$dir/error.log"
LogLevel warn
$(load mpm_event authz_core dir mime headers reqtimeout proxy proxy_fcgi socache_shmcb ssl)
LoadModule mercure_module "$build/mod_mercure.so"
$user
StartServers 1
TypesConfig /etc/mime.types
SSLSessionCache "shmcb:$dir/tls-sessions(512000)"
LogFormat "%t %a:%{remote}p %>s \"%r\" last-event-id=\"%{Last-Event-ID}i\"" demo
CustomLog "$dir/access.log" demo

MercureBrokerProgram "$brokerd"
MercureStateDir "$dir/state"

<VirtualHost 127.0.0.1:$port>
$site
</VirtualHost>

# HTTP/2 is the hub's own here: one connection carries all streams of a browser, and none of them holds a worker.
<VirtualHost 127.0.0.1:$tls_port>
    SSLEngine On
    SSLCertificateFile "$dir/cert.pem"
    SSLCertificateKeyFile "$dir/key.pem"
    Protocols h2 http/1.1
    MercureHTTP2 On
$site
</VirtualHost>
END

cat >"$dir/php-fpm.conf" <<END
[global]
error_log = $dir/php-fpm.log
log_level = warning
daemonize = no
[demo]
listen = $dir/php.sock
listen.mode = 0600
$pool_user
pm = static
pm.max_children = 4
catch_workers_output = yes
env[MERCURE_URL] = http://localhost:$port/.well-known/mercure
env[MERCURE_ISSUER] = $issuer
env[MERCURE_SECRET] = \$DEMO_SECRET
env[DEMO_HTTPS_URL] = https://localhost:$tls_port/
php_admin_flag[display_errors] = off
php_admin_flag[log_errors] = on
END

# --- start, and wait until all three answer ---

DEMO_SECRET=$secret start "$php" -F -y "$dir/php-fpm.conf"
php_pid=$!
start /usr/sbin/apache2 -d "$dir" -f "$dir/httpd.conf" -DFOREGROUND
httpd_pid=$!

patience=${DEMO_WAIT:-20}
deadline=$((SECONDS + patience)) page='' hub=''
until [[ $page == *' 200 '* && $hub == *' 200 '* ]]; do
    kill -0 "$php_pid" 2>/dev/null || fail "PHP-FPM did not start."
    kill -0 "$httpd_pid" 2>/dev/null || fail "httpd did not start."
    [ "$SECONDS" -lt "$deadline" ] ||
        fail "The demo does not answer after $patience seconds (page: ${page:-nothing}; hub: ${hub:-nothing})."
    sleep 0.05
    page=$(ask HEAD /)
    hub=$(ask HEAD '/.well-known/mercure?match=ready')
done

say "The demo runs: http://localhost:$port/"
say "with HTTP/2:    https://localhost:$tls_port/"
say "The certificate of the second address was made just now and nobody vouches for it, so the browser warns: go on there"
say "(Firefox: Advanced, Accept the Risk and Continue; Chromium: Advanced, Proceed to localhost)."
say "Open it in two windows. Logs are in $dir until the end; Ctrl-C stops it."

wait -n "$httpd_pid" "$php_pid"
fail "httpd or PHP-FPM has ended by itself."
