# shellcheck shell=bash
# What the broker scripts share: free ports, waits that end, and packages. To be sourced.

# Two scripts must not run apt-get, or fill one folder of the cache, at the same time.
cache="${XDG_CACHE_HOME:-${HOME:?}/.cache}/hookferry"

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

# free_port [BELOW]: a port nobody listens on, from 20000 on. It stays below the range that the
# kernel hands to outgoing connections, so that a broker which is stopped and started again finds
# it free.
free_port() {
    local below=${1:-31000} port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % (below - 20000)))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "found no free port"
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_until SECONDS PID COMMAND...: polls until the command succeeds; fails when the time is up
# or the process is gone.
wait_until() {
    local deadline=$((SECONDS + $1)) pid=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        kill -0 "$pid" 2>/dev/null || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

# end PID: asks the process to stop, and no longer asks after 15 seconds. One that is frozen does
# not hear the request, and an Erlang that has just started forgets it.
end() {
    local pid=$1 try
    for try in {0..149}; do
        ((try % 10)) || kill -CONT -- "$pid" 2>/dev/null || return 0
        ((try % 10)) || kill -TERM -- "$pid" 2>/dev/null || return 0
        kill -0 -- "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "$pid" 2>/dev/null || true
}

# publish FILE: what is read from standard input appears in the file all at once.
publish() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

# locked NAME COMMAND...: runs the command while no other run does.
locked() {
    local name=$1
    shift
    mkdir -p "$cache"
    (
        flock --wait 900 9 || fail "another run has held $cache/$name.lock for 15 minutes"
        # This shell holds the lock until the command is done; a service that a package starts
        # must not inherit it.
        "$@" 9>&-
    ) 9>"$cache/$name.lock"
}

# In a session of its own: a run that is interrupted must not leave half a package behind.
apt() {
    locked apt setsid --wait env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@" </dev/null >&2
}

# update: what Debian has now; by root.
update() {
    apt update || fail "apt-get update failed"
}

# install PACKAGE...: from Debian, by root; for anybody else, the command to type.
install() {
    say "installing $*"
    command -v apt-get >/dev/null || fail "no apt-get here; install what Debian calls $*"
    [[ $(id -u) == 0 ]] || fail "packages are missing; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    update
    apt install -y --no-install-recommends "$@" || fail "apt-get install $* failed"
}

# need "COMMAND=PACKAGE..."...: installs the packages whose commands are not here.
need() {
    local pair packages missing=()
    for pair in "$@"; do
        read -ra packages <<<"${pair#*=}"
        command -v "${pair%%=*}" >/dev/null || missing+=("${packages[@]}")
    done
    [[ ${#missing[@]} == 0 ]] || install "${missing[@]}"
}

# go_program NAME VERSION PACKAGE: the program $cache/NAME-VERSION/NAME, built of its Go module once,
# without a C compiler.
go_program() {
    local name=$1 version=$2 package=$3
    [[ ! -x $cache/$name-$version/$name ]] || return 0
    command -v go >/dev/null || fail "no go here to build $name with: install it"
    say "building $name $version"
    CGO_ENABLED=0 GOBIN="$cache/$name-$version" timeout --foreground 900 \
        go install "$package@$version" </dev/null >&2 || fail "cannot build $name"
}

# go_programs FOLDER MODULE VERSION ARGUMENTS...: FOLDER with what `go build ARGUMENTS` makes of the module.
# Of a copy, because `go install` refuses a module that replaces others; its go.work names folders that a
# module does not have.
go_programs() {
    local built=$1 module=$2@$3 source
    shift 3
    command -v go >/dev/null || fail "no go here to build $module with: install it from https://go.dev/dl"
    say "building $module (some minutes)"
    rm -rf "$built" "$built.new" "$built.sources"
    mkdir -p "$built.new" "$built.sources"
    source=$(cd / && timeout --foreground 600 go mod download -json "$module" </dev/null | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [[ -d $source ]] || fail "cannot fetch $module"
    cp -r --no-preserve=mode "$source/." "$built.sources"
    (
        cd "$built.sources"
        CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly timeout --foreground 1800 \
            go build -trimpath -buildvcs=false -o "$built.new/" "$@"
    ) </dev/null >&2 || fail "cannot build $module"
    rm -rf "$built.sources"
    mv "$built.new" "$built"
}
