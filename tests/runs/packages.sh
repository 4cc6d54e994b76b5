# shellcheck shell=bash disable=SC2154 # the variables are tests/run's
# tests/run --packages. To be sourced by it.

# packages: a release, and what becomes of it. It needs no broker.
packages() {
    need_root "a Debian of its own, into which the packages are installed,"
    need lintian=lintian qemu-aarch64-static=qemu-user-static systemd-analyze=systemd readelf=binutils ip=iproute2
    # shellcheck source=tests/brokers/debian.sh
    . "$here/brokers/debian.sh"
    need_debian bookworm
    HOOKFERRY_TEST_MINBASE=$(debian_tar bookworm)
    # shellcheck source=tests/brokers/environment.sh
    . "$here/brokers/environment.sh"
    environment packages-python "--no-deps --no-compile" "$here/requirements-packages.txt"
    export HOOKFERRY_TEST_CYCLONEDX=$cache/packages-python/bin/python
    export HOOKFERRY_TEST_MINBASE HOOKFERRY_TEST_ARTIFACTS=$folder/artifacts
    phase release run deploy/release --out "$HOOKFERRY_TEST_ARTIFACTS"
    phase build build --test bridge
    phase packages run cargo test --locked --test bridge packages:: -- --include-ignored --test-threads=1
}
