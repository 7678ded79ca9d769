#!/usr/bin/env bash
# run.sh - the comparison runs: our hub, nchan in memory or mod_http2, and any other hub by URL, with one and the same client.
#
#   bench/run.sh                        every run below, against our hub and nchan
#   bench/run.sh fanout open            some of them
#   HUB=https://host/path TOKEN=... bench/run.sh fanout      against another hub too (its token must publish on every topic;
#                                       HUB_PID: its process, for memory and CPU; HUB_PAGE: URL of an ordinary page beside it)
#
# Runs: open (streams held, memory, new streams a second), tls (the same over TLS), http2 (clients with 4 streams each, and an
# ordinary page meanwhile; mod_http2 beside it, with fewer clients), fanout (one topic, 10,000 subscribers),
# publish (1,000 topics, one subscriber each, 8 and 64 publishers), latency (an idle hub; 500 subscribers and 60 updates a
# second), topics (10,000 topics, one subscriber each), patterns (the same with URL Patterns), replay, token (publishing with
# one token, and with a new one for each update). Everything stays on the loopback interface.
set -euo pipefail
cd "$(dirname "$0")/.."

LOAD=$PWD/build/bench-load
PORT=${PORT:-18480}
SECRET=a-secret-of-the-benchmark-only-32-bytes
DIR=$(mktemp -d /tmp/mercure-bench.XXXXXX)
chmod 755 "$DIR"
PIDS=()
ulimit -n "$(ulimit -Hn)"

stop_all() {
    local pid
    for pid in "${PIDS[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${PIDS[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    done
    PIDS=()
}
trap 'stop_all; rm -rf "$DIR"' EXIT
trap 'exit 130' INT TERM

b64() {
    openssl base64 -A | tr '+/' '-_' | tr -d '='
}

# A token that publishes everywhere.
make_token() {
    local head body
    head=$(printf '{"alg":"HS256","typ":"at+jwt"}' | b64)
    body=$(printf '{"iss":"bench","aud":"%s","exp":%d,"authorization_details":[{"type":"https://mercure.rocks/authorization-detail","actions":["publish"],"topics":[{"match":"*"}]}]}' \
        "$1" $(($(date +%s) + 86400)) | b64)
    printf '%s.%s.%s' "$head" "$body" "$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$SECRET" -binary | b64)"
}

wait_for_port() {
    local tries=0
    until (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then
            cat "$DIR"/*.log >&2
            exit 1
        fi
        sleep 0.05
    done
}

# Our hub: one child of the event MPM. MODE: nothing, tls, or http2 (MercureHTTP2).
start_ours() {
    case ${1:-} in
    tls) start_httpd tls 128 "" ;;
    http2) start_httpd tls 128 $'Protocols h2 http/1.1\nMercureHTTP2 On' ;;
    *) start_httpd "" 128 "" ;;
    esac
}

# The same hub behind mod_http2, where every stream holds a thread; the cap on those is lifted.
start_mod_http2() {
    start_httpd tls 64 "LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
Protocols h2 http/1.1
MercureMaxBlocking 100000"
}

# start_httpd tls|"" THREADS CONFIGURATION
start_httpd() {
    local tls="" scheme=http
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
        echo "Port $PORT is taken by another program. Choose another one: PORT=18490 bench/run.sh" >&2
        exit 1
    fi
    rm -rf "$DIR/state"
    mkdir -p "$DIR/htdocs"
    echo 'an ordinary page' >"$DIR/htdocs/page.html"
    if [ "$1" = tls ]; then
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$DIR/key.pem" -out "$DIR/cert.pem" \
            -days 2 -subj /CN=localhost >/dev/null 2>&1
        tls="LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLEngine On
SSLCertificateFile $DIR/cert.pem
SSLCertificateKeyFile $DIR/key.pem"
        scheme=https
    fi
    cat >"$DIR/httpd.conf" <<CONF
ServerRoot $DIR
ServerName localhost
PidFile $DIR/httpd.pid
DefaultRuntimeDir $DIR
Listen 127.0.0.1:$PORT
ListenBacklog 4096
ErrorLog $DIR/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule mercure_module $PWD/build/mod_mercure.so
$( [ "$(id -u)" -ne 0 ] || printf 'User www-data\nGroup www-data\n')
StartServers 1
ServerLimit 1
ThreadsPerChild $2
ThreadLimit $2
MinSpareThreads 1
MaxSpareThreads $2
MaxRequestWorkers $2
AsyncRequestWorkerFactor 8
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot $DIR/htdocs
MercureBrokerProgram $PWD/build/brokerd
MercureStateDir $DIR/state
MercureHub On
MercureAnonymous On
MercureMaxLifetime 0
MercureIssuer bench publisher HS256 $SECRET
${ISSUER:-}
$tls
$3
CONF
    /usr/sbin/apache2 -d "$DIR" -f "$DIR/httpd.conf" -DFOREGROUND &
    PIDS+=($!)
    PID=$!
    wait_for_port "$PORT"
    URL=$scheme://localhost:$PORT/.well-known/mercure
    PAGE=$scheme://localhost:$PORT/page.html
    ARGS=(--subscribe-url "$URL?${MATCH:-match=}{topic}${MATCH_TAIL:-}" --publish-url "$URL" --token "$(make_token "$URL")"
        --pid-tree "$PID")
}

start_nchan() {
    mkdir -p "$DIR/nchan"
    sed "s|@DIR@|$DIR/nchan|g; s|@PORT@|$PORT|g" bench/nchan.conf.in >"$DIR/nchan/nginx.conf"
    nginx -p "$DIR/nchan" -e "$DIR/nchan/error.log" -c "$DIR/nchan/nginx.conf" 2>/dev/null
    wait_for_port "$PORT"
    PID=$(cat "$DIR/nchan/nginx.pid")
    PIDS+=("$PID")
    URL=http://127.0.0.1:$PORT
    ARGS=(--subscribe-url "$URL/sub?topic={topic}" --publish-url "$URL/pub?topic={topic}" --publish-raw --pid-tree "$PID")
}

show() {
    awk -v wanted="$1" 'BEGIN { n = split(wanted, names, " "); for (i = 1; i <= n; i++) want[names[i]] = 1 }
        ($1 in want) { printf "    %-34s %s %s\n", $1, $2, $3 }'
}

# measure NAME "VALUES TO SHOW" OPTIONS...: against our hub, nchan and $HUB.
measure() {
    local name=$1 values="lost repeated disordered streams_refused publish_failed $2" target
    shift 2
    for target in ${TARGETS:-ours nchan}; do
        echo "  $name, $target"
        "start_$target" "${MODE:-}"
        if [ -n "${ALGORITHM:-}" ]; then
            build/bench-token make "$TOKENS" signer "$URL" "$ALGORITHM" "$KEY" >"$DIR/tokens"
            ARGS+=(--token-file "$DIR/tokens")
        fi
        "$LOAD" "${ARGS[@]}" ${WITH_PAGE:+--page "$PAGE"} "$@" --source-addresses 8 2>&1 | show "$values" || true
        stop_all
    done
    if [ -n "${HUB:-}" ]; then
        echo "  $name, $HUB"
        "$LOAD" --hub "$HUB" ${TOKEN:+--token "$TOKEN"} ${HUB_PID:+--pid-tree "$HUB_PID"} \
            ${WITH_PAGE:+${HUB_PAGE:+--page "$HUB_PAGE"}} "$@" --source-addresses 8 2>&1 |
            show "$values" || true
    fi
}

MEMORY="streams_open streams_per_second memory_per_stream_bytes memory_per_stream_private_dirty_bytes"
SPEED="delivered deliveries_per_second cpu_per_delivery_us baseline_cpu_per_send_us cpu_per_delivery_over_baseline"
LATENCY="delivery_latency_p50 delivery_latency_p90 delivery_latency_p99 delivery_latency_max"
PAGE_LATENCY="page_http1_latency_p50 page_http1_latency_p99 page_http1_failed
    page_http2_latency_p50 page_http2_latency_p99 page_http2_failed"
PUBLISH="publishes_per_second publish_latency_p50 publish_latency_p99 cpu_per_publish_us"

run_open() {
    measure "15,000 plain streams" "$MEMORY $SPEED $LATENCY" --streams 15000 --updates 20 --rate 2 --baseline-send
}
run_tls() {
    MODE=tls TARGETS=ours measure "3,000 TLS streams" "$MEMORY $SPEED $LATENCY" --streams 3000 --updates 60 --rate 5
}
# 4 streams to a client; in the first run an update goes to one of them, in the second to all four. mod_http2 has one and a half
# times as many threads for streams as the MPM has: 40 clients are more than it bears, so streams and pages get no answer.
run_http2() {
    local values="$MEMORY memory_per_client_bytes memory_per_client_private_dirty_bytes $SPEED $LATENCY $PAGE_LATENCY"
    local MODE=http2 WITH_PAGE=yes TARGETS=ours
    measure "3,000 clients with 4 streams, each of its own topic" "$values" --http2 4 --streams 12000 --topics 4 --updates 240 --rate 20
    measure "3,000 clients with 4 streams, all of one topic" "$values" --http2 4 --streams 12000 --updates 60 --rate 5
    TARGETS=mod_http2 HUB=""
    measure "20 clients with 4 streams, all of one topic, a server with 64 threads" "$values" --http2 4 --streams 80 --updates 400 --rate 40
    measure "40 clients with 4 streams, all of one topic, a server with 64 threads" "$values streams_refused_timeout" --http2 4 \
        --streams 160 --updates 100 --rate 20 --answer-timeout 5
}
run_fanout() {
    measure "one topic, 10,000 subscribers" "$SPEED $LATENCY" --streams 10000 --updates 60 --rate 5 --baseline-send
}
run_publish() {
    measure "1,000 topics, 8 publishers" "$PUBLISH $LATENCY" --streams 1000 --topics 1000 --publishers 8 --updates 20000
    measure "1,000 topics, 64 publishers" "$PUBLISH $LATENCY" --streams 1000 --topics 1000 --publishers 64 --updates 40000
}
run_latency() {
    measure "an idle hub" "$LATENCY publish_latency_p50" --streams 1 --updates 200 --rate 20
    measure "500 subscribers, 60 updates a second" "$LATENCY" --streams 500 --updates 600 --rate 60
}
run_topics() {
    measure "10,000 topics, one subscriber each" "$PUBLISH $LATENCY" --streams 10000 --topics 10000 --publishers 8 --updates 10000
}
# Pattern N matches topic N and what may stand below it.
run_patterns() {
    MATCH=match_urlpattern= MATCH_TAIL=%7B%2F*%7D%3F TARGETS=ours measure "10,000 URL Patterns, one subscriber each" \
        "$PUBLISH $LATENCY" --streams 10000 --topics 10000 --publishers 8 --updates 10000
}
run_replay() {
    TARGETS=ours measure "replay of 20,000 events to 100 streams" "replay_events_per_second delivered" --replay earliest \
        --streams 100 --publishers 16 --updates 20000
}
# A child of httpd remembers the 4,096 tokens seen last, so that of 5,000 by turns every one is new to it.
run_token() {
    local ALGORITHM KEY TOKENS ISSUER public
    for ALGORITHM in HS256 RS256 ES256 EdDSA; do
        KEY=$DIR/signer.key
        public=$DIR/signer.pem
        case $ALGORITHM in
        HS256) printf %s "$SECRET" >"$KEY" ;;
        RS256) openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$KEY" ;;
        ES256) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$KEY" ;;
        EdDSA) openssl genpkey -algorithm ED25519 -out "$KEY" ;;
        esac
        if [ $ALGORITHM = HS256 ]; then
            public=$KEY
        else
            openssl pkey -in "$KEY" -pubout -out "$public"
        fi
        ISSUER="MercureIssuer signer publisher $ALGORITHM file:$public"
        for TOKENS in 1 5000; do
            TARGETS=ours measure "8 publishers, $ALGORITHM, $TOKENS tokens by turns" "$PUBLISH" --publishers 8 \
                --updates "${UPDATES:-40000}"
        done
    done
}

for run in ${*:-open tls http2 fanout publish latency topics patterns replay token}; do
    echo "$run"
    "run_$run"
done
