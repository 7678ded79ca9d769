#!/usr/bin/env bash
# build.sh - the one front door: ./build.sh [deps|build|run|test|fuzz|bench|install|clean]
#
#   deps     install the Debian packages that building and running need (with "deps test": those of the tests too)
#   build    build/mod_mercure.so, build/brokerd and build/mercurectl (the default)
#   run      a private httpd with its own brokerd and a page to look at, on http://localhost:8080 and, with HTTP/2,
#            https://localhost:8443, until Ctrl-C
#   test     everything: the library alone, the real servers, PHP and a browser; ends with one line of counts
#            (further words go to pytest: ./build.sh test test/integration/test_holding.py -k tls)
#   fuzz     every target of test/fuzz/ for a minute each, or --minutes N; what it finds is left in build/fuzz/
#   bench    the comparison runs of bench/ (see docs/performance.md)
#   install  module, brokerd and mercurectl into this machine's Apache (as root; PREFIX and DESTDIR are honoured)
#   clean    remove build/
set -euo pipefail
cd "$(dirname "$0")"

BUILD_PACKAGES="build-essential pkg-config apache2-bin apache2-dev apache2-ssl-dev media-types libzmq3-dev libjansson-dev liblmdb-dev
    libssl-dev libidn2-dev libnghttp2-dev libpcre2-dev libcurl4-openssl-dev"
RUN_PACKAGES="php-fpm php-curl openssl curl"
TEST_PACKAGES="apache2-utils libcmocka-dev python3-pytest python3-jwt python3-cryptography python3-zmq python3-h2 python3-hyperframe python3-hpack
    python3-httpx python3-selenium chromium chromium-driver valgrind php-symfony-mercure php-symfony-http-client libapache2-mod-security2
    libapache2-mod-evasive iproute2 procps util-linux nghttp2-client"
FUZZ_PACKAGES="clang libclang-rt-14-dev"
BENCH_PACKAGES="nginx-light libnginx-mod-nchan"

say() {
    printf '%s\n' "$*" >&2
}

# Install those of the named packages that are missing.
install_packages() {
    local missing=() package as_root=()
    for package in "$@"; do
        if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "These packages are missing, and only root can install them: ${missing[*]}"
            exit 1
        fi
        as_root=(sudo)
    fi
    say "Installing: ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build() {
    install_packages $BUILD_PACKAGES
    make -j "$(nproc)" "$@"
}

run() {
    install_packages $BUILD_PACKAGES $RUN_PACKAGES
    make -j "$(nproc)"
    exec demo/run.sh
}

# Run the cmocka programs, and count into $passed, $failed and $skipped.
run_unit_tests() {
    local program output
    for program in "$@"; do
        say "== $program"
        output=$("$program" 2>&1) || { failed_programs+=("$program"); }
        printf '%s\n' "$output" | grep -v '^\[ RUN' >&2
        passed=$((passed + $(grep -c '^\[       OK \]' <<<"$output" || true)))
        skipped=$((skipped + $(grep -c '^\[  SKIPPED \] [a-z]' <<<"$output" || true)))
        local wrong
        wrong=$(grep -o '^\[  FAILED  \] [0-9]* test' <<<"$output" | grep -o '[0-9]*' || true)
        if [ -n "$wrong" ]; then
            failed=$((failed + wrong))
        elif ! grep -q '^\[  PASSED  \]' <<<"$output"; then
            say "$program did not finish"
            failed=$((failed + 1))
        fi
    done
}

# Run each fuzz target over its kept corpus, without the fuzzer; one target is one test.
replay_fuzz_corpora() {
    local source name output
    for source in test/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        name=${name#fuzz_}
        if output=$(timeout 300 "build/asan/test/fuzz/replay_$name" "test/fuzz/corpus/$name" 2>&1); then
            say "== fuzz corpus $name: $(tail -n 1 <<<"$output")"
            passed=$((passed + 1))
        else
            say "== fuzz corpus $name failed:"
            tail -n 40 <<<"$output" >&2
            failed=$((failed + 1))
        fi
    done
}

# Run every fuzz target under libFuzzer. New inputs go to build/fuzz/corpus/, the kept ones stay as they are.
fuzz() {
    local minutes=1 source name broken=0
    if [ "${1:-}" = --minutes ] && [[ "${2:-}" =~ ^[1-9][0-9]*$ ]]; then
        minutes=$2
    elif [ $# -gt 0 ]; then
        say "Usage: ./build.sh fuzz [--minutes N]"
        exit 2
    fi
    install_packages $BUILD_PACKAGES $FUZZ_PACKAGES
    make -j "$(nproc)" fuzz
    for source in test/fuzz/fuzz_*.c; do
        name=$(basename "$source" .c)
        name=${name#fuzz_}
        mkdir -p "build/fuzz/corpus/$name"
        say "== fuzzing $name for $minutes min"
        "build/fuzz/test/fuzz/fuzz_$name" -max_total_time=$((minutes * 60)) -max_len=9000 -timeout=10 -verbosity=1 \
            -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
            "build/fuzz/corpus/$name" "test/fuzz/corpus/$name" || broken=$((broken + 1))
    done
    say "$broken targets found something"
    [ "$broken" -eq 0 ]
}

# Run pytest and add its counts.
run_pytest() {
    local report=build/pytest.xml counts
    rm -f "$report"
    /usr/bin/python3 -m pytest -q -p no:cacheprovider -o addopts= --junitxml="$report" "$@" >&2 || true
    if [ ! -s "$report" ]; then
        say "pytest did not finish"
        failed=$((failed + 1))
        return
    fi
    counts=$(/usr/bin/python3 - "$report" <<'PY'
import sys
import xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot().find("testsuite")
total, errors, failures, skipped = (int(suite.get(k)) for k in ("tests", "errors", "failures", "skipped"))
bad = {(c.get("classname"), c.get("name")) for c in suite.iter("testcase")
       if c.find("failure") is not None or c.find("error") is not None}
every = {(c.get("classname"), c.get("name")) for c in suite.iter("testcase")}
print(len(every) - len(bad) - skipped, len(bad), skipped)
PY
    )
    read -r p f s <<<"$counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

run_tests() {
    local passed=0 failed=0 skipped=0 p f s failed_programs=()
    install_packages $BUILD_PACKAGES $RUN_PACKAGES $TEST_PACKAGES
    make -j "$(nproc)" >&2
    make -j "$(nproc)" SANITIZE=1 B=build/asan >&2
    if [ $# -gt 0 ]; then
        run_pytest "$@"
    else
        make -j "$(nproc)" SANITIZE=1 B=build/asan unit-programs fuzz-replays >&2
        run_unit_tests build/asan/test/unit/test_*[a-z]
        replay_fuzz_corpora
        run_pytest test/integration test/php test/browser
    fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

case "${1:-build}" in
deps)
    install_packages $BUILD_PACKAGES $RUN_PACKAGES
    if [ "${2:-}" = test ]; then
        install_packages $TEST_PACKAGES
    fi
    ;;
build)
    build
    ;;
run)
    run
    ;;
test)
    shift
    run_tests "$@"
    ;;
fuzz)
    shift
    fuzz "$@"
    ;;
bench)
    shift
    install_packages $BUILD_PACKAGES $RUN_PACKAGES $BENCH_PACKAGES
    make -j "$(nproc)" all build/bench-load build/bench-token
    exec bench/run.sh "$@"
    ;;
install)
    build all
    make install
    ;;
clean)
    make clean
    ;;
*)
    say "Usage: ./build.sh [deps|build|run|test|fuzz|bench|install|clean]"
    exit 2
    ;;
esac
