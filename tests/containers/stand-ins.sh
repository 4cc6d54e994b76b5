# shellcheck shell=bash disable=SC2154 # `cache` is launch.sh's
# Stand-ins for the images that deploy/docker/Dockerfile and docker-compose.yml name, made from Debian's
# packages and from published programs, because a registry is not to be had everywhere. To be sourced
# after launch.sh and debian.sh; `here` is tests/containers.
#
# Names and versions are those of the two files, and each stand-in does with the variables that the
# compose file sets what the entry point of the real one does. Each has a folder here, with a
# Dockerfile; it is made once and kept in the cache, until something it is made of changes.

images="$cache/images"
repository=$(cd "${here:?}/../.." && pwd)
# What a stand-in is made of, unless it says otherwise.
base=hookferry-test/bookworm

# named_images: those of the Dockerfile's FROM lines, without names of stages, and of the compose file,
# without the bridge's own.
named_images() {
    sed -n 's/^FROM \([^ ]*\).*/\1/p' "$repository/deploy/docker/Dockerfile"
    sed -n 's/^ *image: *\([^ ]*\).*/\1/p' "$repository/docker-compose.yml" | grep -v '^hookferry:'
}

# make_stand_ins FOLDER: all of them, in the engine that FOLDER/bin/docker speaks to.
make_stand_ins() {
    docker="$1/bin/docker" work="$1/work"
    local image tag
    debian bookworm
    # Debian 12 has RabbitMQ 3.10, Debian 13 has 4.0.
    debian trixie
    for image in $(named_images | sort -u); do
        tag=${image##*:}
        case ${image%:*} in
            # Made where the program is known: see tests/containers/image.
            rust) ;;
            gcr.io/distroless/cc-debian12) stand_in distroless "$image" "" ;;
            apache/kafka) stand_in kafka "$image" "$(cat "$here/../brokers/kafka.pom.xml")" kafka_context "$tag" ;;
            rabbitmq) base=hookferry-test/trixie stand_in rabbitmq "$image" "" ;;
            prom/prometheus) stand_in prometheus "$image" "" prometheus_context ;;
            grafana/grafana) stand_in grafana "$image" "" ;;
            *) fail "$image has no stand-in: make one in tests/containers" ;;
        esac
    done
}

# stand_in NAME IMAGE MORE [CONTEXT...]: from the folder NAME. CONTEXT, a function, adds what is too
# large for the repository; MORE says which it would be.
stand_in() {
    local name=$1 image=$2 more=$3
    shift 3
    local key
    key=$(cd "$here/$name" && find . -type f -print0 | sort -z | xargs -0 sha256sum && echo "$base $more")
    provide "$name" "$image" "$key" build_stand_in "$name" "$image" "$@"
}

# provide NAME IMAGE KEY COMMAND...: the image, from the cache where it has been made of the same.
provide() {
    local name=$1 image=$2 file from=$SECONDS
    file="$images/$name-$(sha256sum <<<"$3 $image" | cut -c 1-16).tar"
    shift 3
    if [[ -e $file ]]; then
        "$docker" load --quiet --input "$file" >&2
    else
        "$@"
        mkdir -p "$images"
        # What another key was for is in nobody's way any more.
        rm -f "$images/$name"-*.tar
        "$docker" save --output "$file.$$" "$image"
        mv "$file.$$" "$file"
    fi
    say "$image after $((SECONDS - from)) s"
}

build_stand_in() {
    local name=$1 image=$2
    shift 2
    rm -rf "$work"
    cp -r "$here/$name" "$work"
    [[ $# == 0 ]] || "$@"
    "$docker" build --quiet --tag "$image" --build-arg "BASE=$base" "$work" >&2 ||
        fail "cannot make the stand-in for $image"
    rm -rf "$work"
}

# debian SUITE: that release of it, as small as it can be.
debian() {
    provide "$1" "hookferry-test/$1" minbase import_debian "$1"
}

import_debian() {
    need_debian "$1"
    "$docker" import "$(debian_tar "$1")" "hookferry-test/$1" >&2
}

# kafka_context VERSION: Kafka's published jars, of the version that the image is named by.
kafka_context() {
    local jars
    jars=$(HOOKFERRY_TEST_KAFKA_VERSION=$1 "$here/../brokers/kafka" --jars)
    [[ -e $jars/kafka_2.13-$1.jar ]] || fail "the compose file has Kafka $1, $jars another"
    cp -r "$jars" "$work/libs"
    rm "$work/libs/.complete"
}

# prometheus_context: the program of the release that the compose file names.
prometheus_context() {
    cp "$("$here/../brokers/prometheus3" --programs)/prometheus" "$work/"
}
