# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --soak [KILLS]. To be sourced by it.

# Fewer are a first look, and no evidence.
kills=3000

soak() {
    export HOOKFERRY_TEST_KILLS=${1:-$kills}
    tools
    start_what_is_not_named
    long soak soak::
    [[ $HOOKFERRY_TEST_KILLS -lt $kills ]] || write_results soak "$HOOKFERRY_TEST_RESULTS" evidence.md
}
