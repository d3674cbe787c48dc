# Finds a Python that is new enough and can make environments; read by quickstart.sh and
# test.sh with `.`, not run. POSIX sh.

PYTHON=${PYTHON:-python3}

# Whether $PYTHON is there, new enough, and has what an environment needs.
python_works() {
    "$PYTHON" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# The Debian package that makes python_works true, or the nearest to it.
python_package() {
    if "$PYTHON" -c '' 2>/dev/null; then
        "$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    else
        echo python3-venv
    fi
}

# Say what is missing and how to get it; stop.
require_python() {
    if ! "$PYTHON" -c '' 2>/dev/null; then
        echo "$PYTHON is missing: tlsgate needs Python 3.11 or newer." >&2
        echo "On Debian 12 or newer:  sudo apt-get install python3 python3-venv" >&2
        exit 1
    fi
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "$PYTHON is $("$PYTHON" -V 2>&1); tlsgate needs Python 3.11 or newer." >&2
        echo "If a newer one is installed, name it:  PYTHON=python3.12 sh $0" >&2
        exit 1
    fi
    if ! python_works; then
        echo "$PYTHON cannot make environments (venv or ensurepip is missing)." >&2
        echo "On Debian or Ubuntu:  sudo apt-get install $(python_package)" >&2
        exit 1
    fi
}

# Make the environment $1, unless it works already. One that was made half is made again.
make_environment() {
    require_python
    if ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        echo "Making an environment in $1 ..." >&2
        [ -d "$1" ] || rm -f "$1" # tox leaves a file there that points to one of its own
        "$PYTHON" -m venv --clear "$1"
    fi
}
