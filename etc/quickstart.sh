#!/bin/sh
# Runs tlsgate: makes an environment, a data directory with certificates of its own and a
# commented tlsgate.yaml, starts the daemon, and prints three commands to try. The next run
# starts what is there. Ctrl-C ends it.
#
#   sh etc/quickstart.sh [--data-dir FOLDER] [--port PORT]
#
# FOLDER is .quickstart beside this checkout's README unless told otherwise; PORT is used
# when the folder is new (3080). PYTHON=python3.12 chooses another interpreter.

set -eu
here=$PWD
cd "$(dirname "$0")/.."
. etc/python.sh

data=$PWD/.quickstart
port=
usage() { echo "usage: sh etc/quickstart.sh [--data-dir FOLDER] [--port PORT]" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --data-dir=*|--port=*) option=${1%%=*}; value=${1#*=}; shift ;;
        --data-dir|--port) [ $# -ge 2 ] || usage; option=$1; value=$2; shift 2 ;;
        *) usage ;;
    esac
    case $option in
        --port) port=$value ;;
        *) case $value in /*) data=$value ;; *) data=$here/$value ;; esac ;;
    esac
done
case $port in *[!0-9]*) usage ;; esac

# -- the environment ---------------------------------------------------------------

make_environment .venv
bin=$PWD/.venv/bin
# An editable install follows the checkout; what pip wants is looked at again when it changes.
if ! cmp -s pyproject.toml .venv/installed-for || ! "$bin/tgctl" --help >/dev/null 2>&1; then
    echo "Installing tlsgate into .venv; this takes a minute or two ..." >&2
    "$bin/python" -m pip install --quiet --disable-pip-version-check \
        --config-settings editable_mode=compat --editable '.[auth,cli]' >&2
    cp pyproject.toml .venv/installed-for
fi

# -- the data directory ---------------------------------------------------------------

config=$data/tlsgate.yaml
if [ ! -e "$config" ]; then
    "$bin/tgctl" init "$data" --port "${port:-3080}" >/dev/null
    echo "Made $data: an authority, certificates and a commented tlsgate.yaml." >&2
elif [ -n "$port" ]; then
    echo "$config is there and names the port; --port counts for a new folder only." >&2
fi

# -- the daemon ---------------------------------------------------------------------------

"$bin/twistd" --nodaemon tlsgate --config "$config" >&2 &
daemon=$!
stopped=
trap 'stopped=1; kill -TERM "$daemon" 2>/dev/null || :' INT TERM HUP

# The commands are printed when they work: when the daemon that was started here, and not
# another one in the same folder, says that it is ready.
ready() {
    "$bin/tgctl" status --config "$config" --format json 2>/dev/null |
        "$bin/python" -c 'import json, sys
status = json.load(sys.stdin)
sys.exit(not (status["ready"] and status["pid"] == int(sys.argv[1])))' "$daemon" 2>/dev/null
}

tries=0
until ready; do
    tries=$((tries + 1))
    if ! kill -0 "$daemon" 2>/dev/null || [ "$tries" -gt 60 ]; then
        kill -TERM "$daemon" 2>/dev/null || :
        code=0
        wait "$daemon" || code=$?
        echo "The daemon has not come up (exit code $code); its last lines above say why." >&2
        [ "$code" -ne 0 ] || code=1
        exit "$code"
    fi
    sleep 0.5
done

echo
echo "tlsgate runs on $config; Ctrl-C ends it. In a second shell:"
echo
cat "$data/try.txt"
echo

# A trapped signal ends the first `wait`; the second one gets the daemon's own exit code.
code=0
wait "$daemon" || code=$?
if kill -0 "$daemon" 2>/dev/null; then
    code=0
    wait "$daemon" || code=$?
fi
# After `tgctl upgrade` another process has the port: it is the one that Ctrl-C ends now.
while [ -z "$stopped" ] && [ "$code" -eq 0 ]; do
    next=$(cat "$data/tlsgate.pid" 2>/dev/null) || break
    kill -0 "$next" 2>/dev/null || break
    daemon=$next
    while kill -0 "$daemon" 2>/dev/null; do sleep 1; done
done
exit "$code"
