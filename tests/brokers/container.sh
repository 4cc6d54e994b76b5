# shellcheck shell=bash
# One broker in a container, by docker compose, for machines with an engine. To be sourced after
# launch.sh.

# shellcheck disable=SC2154 # `here` is the sourcing script's
container_project=
container_port=
container_service=

# engine_answers: whether containers can be had and are wanted. A docker client without an engine is
# no use, and may take its time to say so. A test that kills its broker and starts it again wants
# none: the data goes with the container.
engine_answers() {
    [[ ${HOOKFERRY_TEST_CONTAINERS:-} != no ]] && command -v docker >/dev/null && timeout 5 docker info >/dev/null 2>&1 && timeout 5 docker compose version >/dev/null 2>&1
}

compose() {
    docker compose --project-name "$container_project" --file "$here/compose.yml" "$@"
}

# start_container SERVICE FOLDER PORT: fails, having removed everything, when the service is not
# healthy in time, such as where images cannot be had.
start_container() {
    container_service=$1
    container_project="hookferry-test-$1-$$"
    container_port=$(free_port)
    export HOOKFERRY_TEST_PORT=$container_port
    if ! compose up --detach --wait --wait-timeout 300 "$1" >&2; then
        say "no healthy $1 in a container; going on without"
        stop_container
        return 1
    fi
    cat >"$2/rabbitmqctl" <<END
#!/bin/sh
exec docker exec $(compose ps --quiet "$1") rabbitmqctl "\$@"
END
    chmod +x "$2/rabbitmqctl"
}

# container_process NAME: the process's id outside of the container.
container_process() {
    docker top "$(compose ps --quiet "$container_service")" -eo pid,comm | awk -v name="$1" '$2 == name { print $1; exit }'
}

wait_for_container() {
    docker wait "$(compose ps --quiet "$container_service")" >/dev/null &
    wait $! || true
}

stop_container() {
    [[ -n $container_project ]] || return 0
    compose down --volumes --timeout 10 >&2 || say "docker compose left $container_project behind"
    container_project=
}
