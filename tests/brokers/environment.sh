# shellcheck shell=bash
# Python environments, each made once and kept in the cache. To be sourced after launch.sh.

can_make_environments() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if can_make_environments "$candidate"; then
            # A version manager's python3 is a script; the environment needs the interpreter.
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

# is_marked FOLDER MARK: whether the folder holds, complete, what the mark stands for.
is_marked() {
    [[ -f $1/.complete && $(cat "$1/.complete") == "$2" ]]
}

make_environment() {
    local folder=$1 mark=$2 python=$3
    shift 3
    ! is_marked "$folder" "$mark" || return 0
    say "installing Python libraries into $folder"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    timeout --foreground 600 "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
        --only-binary :all: "$@" </dev/null >&2 || fail "cannot install $* with pip"
    echo "$mark" >"$folder/.complete"
}

# environment NAME OPTIONS REQUIREMENTS...: one with these libraries in the cache's folder NAME. The mark
# names them, pip's options and the interpreter: a change of any makes the environment anew.
environment() {
    local name=$1 options=() python mark
    read -ra options <<<"$2"
    shift 2
    python=$(find_python) || {
        install python3-venv
        python=$(find_python) || fail "no Python of version 3.11 or later with the module venv"
    }
    mark="$(cat "$@" | sha256sum) ${options[*]} $python"
    is_marked "$cache/$name" "$mark" ||
        locked "$name" make_environment "$cache/$name" "$mark" "$python" "${options[@]}" "${@/#/--requirement=}"
}
