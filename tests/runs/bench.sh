# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --bench [--quick]. To be sourced by it.

# bench [--quick]: cargo builds the released program with it.
bench() {
    tools
    start_what_is_not_named
    export HOOKFERRY_TEST_RESULTS=$folder/performance
    phase build run cargo bench --locked --bench whole --no-run
    phase waiting await_all
    phase bench run cargo bench --locked --bench whole -- --results "$HOOKFERRY_TEST_RESULTS" "$@"
    # Parts alone leave the tables as they are.
    [[ " $* " == *" --quick "* || " $* " == *" --only "* ]] || write_results performance performance.md
}
