# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --containers [--build] [NAME]. To be sourced by it.

# containers [--build] [NAME]: the tests of this name, one after the other: each profile has the same
# ports.
containers() {
    need_root "an engine of its own"
    start python
    start containers/engine
    local tests=() program=("${CARGO_TARGET_DIR:-$PWD/target}/release/hookferry")
    if [[ ${1:-} == --build ]]; then
        program=()
        shift
    else
        phase program run cargo build --locked --release --bin hookferry
    fi
    phase build build --test bridge
    mapfile -t tests < <(container_tests "${1:-containers::}")
    [[ ${#tests[@]} != 0 ]] || fail "no test of containers has $1 in its name"
    phase waiting await_all
    phase image run "$here/containers/image" "$HOOKFERRY_TEST_ENGINE" "${program[@]}"
    phase containers run in_engine cargo test --locked --test bridge -- \
        --ignored --exact --test-threads=1 "${tests[@]}"
}

# in_engine COMMAND...: where the engine's network, mounts and processes are.
in_engine() {
    # shellcheck disable=SC2016 # the inner shell's
    nsenter --target "$HOOKFERRY_TEST_ENGINE_PID" --net --mount --ipc --pid -- \
        bash -c 'cd "$0" && exec "$@"' "$PWD" "$@"
}

# container_tests NAME: those whose names contain it. Others that are left out elsewhere may contain it too.
container_tests() {
    cargo test --locked --quiet --test bridge containers:: -- --ignored --list 2>/dev/null |
        sed -n 's/: test$//p' | grep -F -- "$1" || true
}
