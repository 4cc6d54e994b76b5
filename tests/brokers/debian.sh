# shellcheck shell=bash disable=SC2154 # `cache` is launch.sh's
# Releases of Debian, as debootstrap makes them, in the cache: to install into, and for programs that this
# machine's release does not have and cannot run. To be sourced after launch.sh; by root.

# debian_tar SUITE: where the release is, without anything that is not essential.
debian_tar() {
    echo "$cache/debian-$1.tar"
}

# need_debian SUITE: sees that it is there.
need_debian() {
    [[ $(id -u) == 0 ]] || fail "only root can make a Debian $1"
    [[ -e $(debian_tar "$1") ]] || {
        need debootstrap=debootstrap
        locked "debian-$1" make_debian "$1"
    }
}

make_debian() {
    local tar folder
    tar=$(debian_tar "$1")
    [[ ! -e $tar ]] || return 0
    say "making a Debian $1 (a minute or two)"
    folder=$tar.folder
    rm -rf --one-file-system "$folder"
    mkdir -p "$folder"
    # debootstrap mounts file systems in there, which would stay behind if it were killed.
    timeout --foreground 850 unshare --mount -- debootstrap --variant=minbase "$1" "$folder" http://deb.debian.org/debian \
        </dev/null >&2 || fail "cannot make a Debian $1"
    rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
    tar --numeric-owner -C "$folder" -cf "$tar.new" .
    mv "$tar.new" "$tar"
    rm -rf --one-file-system "$folder"
}

# debian_folder SUITE PACKAGE: where the release is with this package, to be run in a chroot.
debian_folder() {
    echo "$cache/debian-$1-$2"
}

# need_debian_with SUITE PACKAGE: sees that it is there.
need_debian_with() {
    [[ $(id -u) == 0 ]] || fail "$2 of Debian's $1 is not this machine's, and only root can run another one"
    [[ -e $(debian_folder "$@").complete ]] || {
        need_debian "$1"
        locked "debian-$1-$2" make_debian_with "$@"
    }
}

# Installing must start no service: a chroot does not keep it from this machine's ports. RabbitMQ's
# node name is looked up. A mirror that is weeks behind will do for testing: it is signed all the same.
make_debian_with() {
    local suite=$1 package=$2 folder
    folder=$(debian_folder "$@")
    [[ ! -e $folder.complete ]] || return 0
    say "installing $package in a Debian $suite (minutes)"
    rm -rf --one-file-system "$folder"
    mkdir -p "$folder"
    tar -C "$folder" -xf "$(debian_tar "$suite")"
    printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
    chmod +x "$folder/usr/sbin/policy-rc.d"
    echo "127.0.0.1 localhost" >"$folder/etc/hosts"
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    # shellcheck disable=SC2016 # the inner shell expands it
    timeout --foreground 850 unshare --mount -- bash -euc '
        inside=(chroot "$1" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3
            -o Acquire::Check-Valid-Until=false)
        "${inside[@]}" update
        "${inside[@]}" install -y --no-install-recommends "$2"
        "${inside[@]}" clean
    ' install "$folder" "$package" </dev/null >&2 || fail "cannot install $package in a Debian $suite"
    touch "$folder.complete"
}
