# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --faults [NAME]. To be sourced by it.

faults() {
    # Only root can mount small disks, make network namespaces and cut them off.
    need_root "the fault matrix"
    tools
    need ip=iproute2 mkfs.ext4=e2fsprogs
    start_what_is_not_named
    if [[ -n ${1:-} ]]; then
        long faults "$1"
        return
    fi
    simulate
    fuzz
    # Some rows are tested beside what else is said of the same part.
    long faults faults:: ::row_
    write_results faults "$HOOKFERRY_TEST_RESULTS" evidence.md
}

# simulate: the whole spool on a simulated disk against its model, through a million crash states, a
# third of them for each of its three plans. Prints how many there were, and of which seeds.
simulate() {
    local states=${HOOKFERRY_TEST_CRASH_STATES:-350000}
    phase simulation run env HOOKFERRY_TEST_CRASH_STATES="$states" \
        cargo test --locked --release --lib simulation -- --nocapture --skip simulation::bugs
}

# What cargo-fuzz passes too, without a sanitizer: there is no unsafe code here for one to look at. A
# stable compiler takes these.
instrumentation="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"

# fuzz: each target of fuzz/ under libFuzzer for ten seconds, beginning with the corpus that the tests
# go through. An input that fails is kept in fuzz/artifacts.
fuzz() {
    local host name source seconds=${HOOKFERRY_TEST_FUZZ_SECONDS:-10}
    host=$(rustc -vV | sed -n 's/^host: //p')
    # With a target named, build scripts and macros are built without these flags.
    phase fuzzers run env RUSTFLAGS="$instrumentation" \
        cargo build --locked --release --manifest-path fuzz/Cargo.toml --target "$host"
    for source in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$source" .rs)
        mkdir -p "$folder/fuzz/$name" "fuzz/artifacts/$name"
        phase "$name" run "${CARGO_TARGET_DIR:-fuzz/target}/$host/release/$name" \
            -max_total_time="$seconds" -timeout=10 -verbosity=0 -print_final_stats=1 \
            -artifact_prefix="fuzz/artifacts/$name/" "$folder/fuzz/$name" "tests/bridge/fuzz/corpus/$name"
    done
}
