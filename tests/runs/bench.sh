# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --bench [--quick]. To be sourced by it.

# bench [--quick]: cargo builds the released program with it.
bench() {
    tools
    start_what_is_not_named
    local found=$folder/performance
    phase build run cargo bench --locked --bench whole --no-run
    phase waiting await_all
    phase bench run cargo bench --locked --bench whole -- --results "$found" "$@"
    # Parts alone leave the tables as they are.
    [[ " $* " == *" --quick "* || " $* " == *" --only "* ]] || write_results performance "$found" performance.md
}
