#!/bin/sh
# Passes every test: installs what they need, then runs lint, types, unit and integration
# tests through tox, and says at the end how many passed.
#
#   sh etc/test.sh            the tier that CI runs
#   sh etc/test.sh --slow     every experiment at its stated size, and those that take long
#
# As root it installs missing Debian packages; otherwise it names them and stops.
# PYTHON=python3.12 chooses another interpreter.

set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin" # where daemons are
. etc/python.sh

tiers="lint types unit integration"
case "${1:-}" in
    "") ;;
    --slow) tiers="lint types unit slow" ;;
    *) echo "usage: sh etc/test.sh [--slow]" >&2; exit 2 ;;
esac

# Each program that a test starts, and the package that has it.
needs="
sshd openssh-server
ssh openssh-client
psql postgresql-client
redis-server redis-server
redis-cli redis-tools
nginx nginx-light
haproxy haproxy
chromium chromium
certutil libnss3-tools
mariadb mariadb-client
socat socat
rsync rsync
plink putty-tools
nft nftables
ip iproute2
h2load nghttp2-client
systemd-socket-activate systemd
openssl openssl
curl curl
git git
gcc gcc
faketime faketime
strace strace
"
[ "${1:-}" != --slow ] || needs="$needs
slowhttptest slowhttptest"

missing_packages() {
    echo "$needs" | while read -r program package; do
        [ -n "$program" ] || continue
        command -v "$program" >/dev/null 2>&1 || echo "$package"
    done
    # What is no program on the search path; the bench compiles against libc.
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || echo postgresql
    [ -e /usr/include/stdio.h ] || echo libc6-dev
    # A module of its own on Debian; elsewhere nginx may have it built in.
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || echo libnginx-mod-stream
    python_works || python_package
}

install_packages() (
    # Debian starts what it installs, unless this says no; tests start their own.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -y -q --no-install-recommends "$@"
)

packages=$(missing_packages | sort -u | tr '\n' ' ')
if [ -n "$packages" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086 # one word a package
        install_packages $packages
    else
        echo "The tests need programs that are not installed. On Debian or Ubuntu:" >&2
        echo "  sudo apt-get install --no-install-recommends $packages" >&2
        exit 1
    fi
fi

make_environment .venv
[ -x .venv/bin/tox ] || .venv/bin/python -m pip install --quiet 'tox>=4.20'

log=$(mktemp)
trap 'rm -f "$log" "$log.code" "$log.bad"' EXIT
: >"$log.bad"
passed=0
failed=0

# Sum of one word of trial's closing lines, as in "FAILED (failures=1, errors=2, successes=3)".
count() {
    grep -E '^(PASSED|FAILED)( |$)' "$log" | tr '(,)' '\n\n\n' |
        awk -F= -v words=" $1 " '{ gsub(/ /, "", $1) } index(words, " " $1 " ") { n += $2 }
            END { print n + 0 }'
}

# The lines of a tier that say what is wrong: a checker's, a test's verdict, and its traceback.
# They are told once more at the end: in what a long run prints they are far from the last line.
what_failed() {
    echo "-- $1"
    awk '/^\[(FAIL|ERROR|SKIPPED)\]$/ { within = 1 }
        /^(=====|-----)/ { within = 0 }
        within || (/^[^ ]+:[0-9]+:/ && !/Warning: /) || /\.\.\. *\[(FAIL|ERROR|SKIPPED)\]$/ ||
            /^(asked again|passed at|Would reformat|would reformat)/ || /(: exit |: FAIL )/' "$log" |
        tail -n 60
}

for tier in $tiers; do
    echo "== $tier"
    { code=0; .venv/bin/tox run -q -e "$tier" || code=$?; echo "$code" >"$log.code"; } 2>&1 |
        tee "$log"
    good=$(count successes)
    # A skipped test counts as failed: nobody has seen it pass. One that failed beside others
    # and passed alone has been told above, and the exit code knows.
    bad=$(count "skips unexpectedSuccesses")
    if [ "$(cat "$log.code")" -ne 0 ]; then
        bad=$(count "failures errors skips unexpectedSuccesses")
        [ "$bad" -gt 0 ] || bad=1
        echo "== $tier failed" >&2
    elif [ "$good" -eq 0 ]; then
        good=1 # lint and types are one test each
    fi
    [ "$bad" -eq 0 ] || what_failed "$tier" >>"$log.bad"
    passed=$((passed + good))
    failed=$((failed + bad))
done

if [ -s "$log.bad" ]; then
    echo "== what failed"
    cat "$log.bad"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
