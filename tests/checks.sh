# What tests/run and tests/faults share: installing what is missing, starting the services, running checks into logs and
# counting them. Sourced by both, never run itself.
#
# Whatever fails, the rest still runs; a missing service is a failure, never a skip. The last line counts: `N passed,
# N failed`. Exit code 0 only if nothing failed.
# shellcheck shell=bash
# shellcheck disable=SC2317 # functions that are called by name: from `check` and from a trap
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
me=tests/${0##*/}
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
logs=$target_dir/test-logs

# The system's OpenSSL: building it from source would take minutes and is no part of what is checked here.
features=(--no-default-features --features system-openssl)
# More than any check takes on two slow cores; whatever hangs must not take the summary with it.
check_limit_seconds=1800
test_limit_seconds=2700

passed=0
failed=0
step_pid=
stop_services=

# prepare: what every check needs. Ends the script if there is no way to go on.
prepare() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap clean_up EXIT
    mkdir -p "$logs"
    export CARGO_TERM_COLOR=never
    [[ -z ${CI:-} ]] || export CARGO_INCREMENTAL=0
    # Most of what is slow waits: for a broker, for a time to be up.
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}

    install_packages
    find_rust
    start_services
}

# ---- the steps ----

# check NAME COMMAND…: one check, counted as one.
check() {
    local name=$1
    heading "$name" "${@:2}"
    if run_logged "$name" "$check_limit_seconds" "${@:2}"; then
        passed=$((passed + 1))
        echo "ok: $name, $step_time"
    else
        failed=$((failed + 1))
        show_failure "$name"
    fi
}

# run_tests NAME COMMAND…: test programs, of which each test is counted.
run_tests() {
    local name=$1 log=$logs/$1.log status=0 ok bad ignored
    heading "$name" "${@:2}"
    run_logged "$name" "$test_limit_seconds" "${@:2}" || status=$?
    read -r ok bad ignored < <(count_tests "$log")
    if ((status != 0)); then
        # A test program that died has no result line, but cargo names it.
        bad=$((bad + $(grep -c "process didn't exit successfully" "$log" || true)))
        # Whatever else went wrong: it does not compile, it hung.
        ((bad > 0)) || bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    grep -E '^ *(Running|Doc-tests) |^test result:' "$log" || true
    if ((bad == 0)); then
        echo "ok: $name, $ok passed, $step_time"
    else
        show_failure "$name"
        # What the failed tests said, the seeds of random ones above all, wherever in the log it stands.
        awk '/^---- .* stdout ----$/ { on = 1 } /^failures:$/ { on = 0 } on && ++lines <= 200' "$log"
        grep -E '^test .* \.\.\. FAILED$' "$log" || true
    fi
    if ((ignored != 0)); then
        echo "NOT RUN: $ignored tests are marked to be ignored"
    fi
}

# count_tests LOG: "passed failed ignored", summed over cargo's result lines.
count_tests() {
    awk '/^test result: / {
            for (i = 2; i <= NF; i++) {
                if ($i == "passed;") passed += $(i - 1)
                if ($i == "failed;") failed += $(i - 1)
                if ($i == "ignored;") ignored += $(i - 1)
            }
        }
        END { print passed + 0, failed + 0, ignored + 0 }' "$1"
}

# ---- services ----

start_services() {
    local variables
    local -a command=(tests/services reset)
    if tests/services status >/dev/null 2>&1; then
        command=(tests/services start) # the developer's own, which stay as they are
    else
        stop_services=yes
        [[ -z ${KAFKA_STORE_TEST_BROKER:-}${KAFKA_STORE_TEST_MYSQL:-} ]] || command=(tests/services start)
    fi
    heading services "${command[@]}"
    if run_logged services "$check_limit_seconds" "${command[@]}"; then
        passed=$((passed + 1))
        grep -v '^export ' "$logs/services.log" || true
        variables=$(grep '^export ' "$logs/services.log")
        echo "$variables"
        eval "$variables"
        echo "ok: services, $step_time"
    else
        failed=$((failed + 1))
        show_failure services
    fi
}

clean_up() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n $step_pid ]]; then
        kill -TERM -- "-$step_pid" 2>/dev/null || true
        wait "$step_pid" 2>/dev/null || true
        kill -KILL -- "-$step_pid" 2>/dev/null || true
    fi
    if [[ -n $stop_services ]]; then
        tests/services stop || true
    fi
    if ((status >= 128)); then
        echo
        echo "interrupted"
        echo "$passed passed, $((failed + 1)) failed"
    fi
    exit "$status"
}

# ---- what must be installed ----

install_packages() {
    local -a missing=() become_root=()
    local tool
    for tool in gcc g++ make perl pkg-config curl git openssl python3; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
    [[ -s /etc/ssl/certs/ca-certificates.crt ]] || missing+=(ca-certificates)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v fincore >/dev/null || missing+=(util-linux-extra)
    # For the brokers that are started here.
    if starts_brokers; then
        (($(java_version) >= 17)) || missing+=(default-jre-headless)
        command -v mvn >/dev/null || missing+=(maven)
    fi
    # The server's programs alone, and no service of the system. Some tests start one of their own.
    PATH=$PATH:/usr/sbin command -v mariadbd >/dev/null || missing+=(mariadb-server-core)
    # mariadb-install-db needs it, and the server's package does not bring it.
    command -v my_print_defaults >/dev/null || missing+=(mariadb-client-core)
    ((${#missing[@]})) || return 0

    heading packages apt-get install -y --no-install-recommends "${missing[@]}"
    command -v apt-get >/dev/null || die "not a Debian system: please install what these packages bring: ${missing[*]}"
    if ((EUID != 0)); then
        become_root=(sudo)
        # Without a terminal sudo cannot ask for a password.
        if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
            die "packages are missing; type this as root, then start again:
    apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
        fi
    fi
    apt_get install -y --no-install-recommends "${missing[@]}" || {
        echo "not found as the package lists are; updating them"
        apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"
    } || die "the packages could not be installed (log: $logs/packages.log)"
    if starts_brokers && (($(java_version) < 17)); then
        die "Java 17 or later is needed, and this system's default is older: install one, or give KAFKA_STORE_TEST_BROKER"
    fi
}

# Tests may start brokers of their own also where one is given.
starts_brokers() {
    [[ -z ${KAFKA_STORE_TEST_BROKER:-} || ${needs_clusters:-} == yes ]]
}

# apt_get ARGUMENTS…: as root, never asking; uses become_root of its caller.
apt_get() {
    "${become_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 "$@" \
        </dev/null >>"$logs/packages.log" 2>&1 || { tail -n 5 "$logs/packages.log"; return 1; }
}

# The major version of the Java that tests/services would use; 0 if there is none.
java_version() {
    local java=${JAVA_HOME:+$JAVA_HOME/bin/}java version
    version=$("$java" -version 2>&1 | sed -n '/version "/ { s/.*version "\([0-9]*\).*/\1/p; q }') || true
    echo "${version:-0}"
}

find_rust() {
    local cargo_home=${CARGO_HOME:-~/.cargo}
    if ! command -v cargo >/dev/null && [[ -x $cargo_home/bin/cargo ]]; then
        PATH=$cargo_home/bin:$PATH
    fi
    command -v cargo >/dev/null || die "Rust is missing; type this, then start again in a new shell:
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    # rustup fetches the version that rust-toolchain.toml pins, here and not within a check.
    heading toolchain cargo --version
    run_logged toolchain "$check_limit_seconds" cargo --version || {
        tail -n 20 "$logs/toolchain.log"
        die "cargo does not run"
    }
    tail -n 1 "$logs/toolchain.log"
}

# ---- small things ----

# run_logged NAME LIMIT COMMAND…: into NAME.log, as a process group of its own that Ctrl-C and the limit end as a whole.
run_logged() {
    local log=$logs/$1.log limit=$2 status=0 began=$SECONDS processor
    processor=$(processor_seconds)
    shift 2
    set -m
    ("$@") >"$log" 2>&1 </dev/null &
    step_pid=$!
    set +m
    # The watch ends by itself when the step has ended.
    (
        for ((second = 0; second < limit; second++)); do
            sleep 1
            kill -0 "$step_pid" 2>/dev/null || exit 0
        done
        echo "$me: not finished after $limit s: ended" >>"$log"
        kill -TERM -- "-$step_pid" 2>/dev/null
        sleep 10
        kill -KILL -- "-$step_pid" 2>/dev/null
    ) </dev/null >/dev/null 2>&1 &
    disown $!
    wait "$step_pid" || status=$?
    step_pid=
    step_time="$((SECONDS - began)) s, processor $(($(processor_seconds) - processor)) s"
    return "$status"
}

# The processor time of all processes that this script has started and waited for: on a busy machine the other tells little.
processor_seconds() {
    local -a fields
    read -ra fields <"/proc/$$/stat"
    echo $(((fields[15] + fields[16]) / $(getconf CLK_TCK)))
}

heading() {
    echo
    echo "== $1: ${*:2}"
}

show_failure() {
    echo "---- last lines of $logs/$1.log"
    tail -n 40 "$logs/$1.log"
    echo "----"
    echo "FAILED: $1, $step_time"
}

finish() {
    if [[ -n $stop_services ]]; then
        echo
        tests/services stop 2>&1 || true
        stop_services=
    fi
    echo
    echo "$passed passed, $failed failed"
    ((failed == 0)) || exit 1
    exit 0
}

# Something without which nothing can be checked: one failure.
die() {
    echo "$me: $*"
    failed=$((failed + 1))
    finish
}
