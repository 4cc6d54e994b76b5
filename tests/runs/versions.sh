# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --versions [NAME]. To be sourced by it.

versions() {
    local name=${1:-} found=$folder/versions pair kafka rabbitmq
    need_root "the versions of other releases of Debian"
    tools
    start_tools
    mkdir "$found"
    phase build build --test bridge
    phase seeded build_seeded
    phase waiting await_all
    for pair in "${supported_versions[@]}"; do
        read -r kafka rabbitmq <<<"$pair"
        [[ "kafka-$kafka rabbitmq-$rabbitmq" != *"$name"* ]] || with_versions "$kafka" "$rabbitmq"
    done
    [[ -n $(ls "$found") ]] || fail "no version's name contains $name"
    [[ -n $name ]] || write_results versions "$found" evidence.md
}

# with_versions KAFKA RABBITMQ: a node of each, and what has been found with them, for tests/results. It is
# not what the tests themselves report: those of a fault would write down their rows of the matrix.
with_versions() {
    local kafka=kafka-$1 rabbitmq=rabbitmq-$2 name output="$folder/$1-$2.output" passed
    export HOOKFERRY_TEST_KAFKA_VERSION=$1 HOOKFERRY_TEST_RABBITMQ_VERSION=$2
    start kafka "$kafka"
    start rabbitmq "$rabbitmq"
    await "$kafka"
    await "$rabbitmq"
    phase "$kafka, $rabbitmq" run noted "$output" cargo test --locked --test bridge -- "${broker_tests[@]}"
    passed=$(sed -n 's/^test result: ok\. \([1-9][0-9]*\) passed.*/\1/p' "$output")
    [[ -n $passed ]] || fail "cargo test did not say how many tests passed"
    printf '{"kafka": "%s", "rabbitmq": "%s", "passed": %s}\n' \
        "$1" "$("$HOOKFERRY_TEST_RABBITMQCTL" version)" "$passed" >"$found/$1-$2.json"
    for name in "$kafka" "$rabbitmq"; do
        end "-${jobs_of[$name]}"
        unset "jobs_of[$name]"
    done
}

# noted FILE COMMAND...: what it prints is kept as well.
noted() {
    "${@:2}" | tee "$1"
}
