# shellcheck shell=bash
# Stand-ins for the images that deploy/docker/Dockerfile and docker-compose.yml name, made from Debian's
# packages and from published programs, because a registry is not to be had everywhere. To be sourced
# after launch.sh; `here` is tests/containers.
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
            prom/prometheus) stand_in prometheus "$image" "" prometheus_context "$tag" ;;
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
    provide "$1" "hookferry-test/$1" minbase make_debian "$1"
}

make_debian() {
    rm -rf "$work"
    say "making a Debian $1"
    debootstrap --variant=minbase "$1" "$work" >"$work.log" 2>&1 </dev/null || {
        tail -n 20 "$work.log" >&2
        fail "debootstrap failed"
    }
    rm -rf "$work"/var/cache/apt/archives/*.deb "$work"/var/lib/apt/lists/*
    tar -C "$work" -c . | "$docker" import - "hookferry-test/$1" >&2
    rm -rf "$work"
}

# kafka_context VERSION: Kafka's published jars, of the version that the image is named by.
kafka_context() {
    local jars
    jars=$(HOOKFERRY_TEST_KAFKA_VERSION=$1 "$here/../brokers/kafka" --jars)
    [[ -e $jars/kafka_2.13-$1.jar ]] || fail "the compose file has Kafka $1, $jars another"
    cp -r "$jars" "$work/libs"
    rm "$work/libs/.complete"
}

# prometheus_context TAG: the released program. Version 3.5.0 is v0.305.0 as a Go module.
prometheus_context() {
    local major minor patch
    IFS=. read -r major minor patch <<<"${1#v}"
    local version
    version="v0.$(printf '%d%02d' "$major" "$minor").$patch"
    locked prometheus3 build_prometheus "$version"
    cp "$cache/prometheus-$version/prometheus" "$work/"
}

# Of the discoveries of targets only those that the configuration uses: the others bring the libraries of
# every cloud along, where the version can do without them.
build_prometheus() {
    local built="$cache/prometheus-$1" module
    [[ ! -x $built/prometheus || ! -x $built/promtool ]] || return 0
    command -v go >/dev/null || fail "no go here to build Prometheus with: install Go from https://go.dev/dl"
    say "building Prometheus $1 (some minutes)"
    rm -rf "$built" "$built.new" "$built.sources"
    module=$(cd / && go mod download -json "github.com/prometheus/prometheus@$1" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [[ -d $module ]] || fail "cannot download Prometheus $1"
    cp -r --no-preserve=mode "$module" "$built.sources"
    (
        cd "$built.sources"
        CGO_ENABLED=0 GOWORK=off timeout --foreground 1800 go build -mod=mod -trimpath -ldflags "-s -w" \
            -tags remove_all_sd,enable_dns_sd -o "$built.new/" ./cmd/prometheus ./cmd/promtool
    ) </dev/null >&2 || fail "cannot build Prometheus $1"
    rm -rf "$built.sources"
    mv "$built.new" "$built"
}
