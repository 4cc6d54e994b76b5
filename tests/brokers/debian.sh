# shellcheck shell=bash disable=SC2154 # `cache` is launch.sh's
# Another release of Debian in a folder of the cache, for programs that this machine's release does not
# have and cannot run. To be sourced after launch.sh.

# debian_folder SUITE PACKAGE
debian_folder() {
    echo "$cache/debian-$1-$2"
}

# Installing must start no service: a chroot does not keep it from this machine's ports. RabbitMQ's
# node name is looked up.
make_debian() {
    local suite=$1 package=$2 folder
    folder=$(debian_folder "$@")
    [[ ! -e $folder.complete ]] || return 0
    say "making a Debian $suite with $package; this takes minutes"
    rm -rf "$folder"
    mkdir -p "$folder"
    # debootstrap mounts file systems in there, which would stay behind if it were killed.
    # shellcheck disable=SC2016 # the inner shell expands it
    timeout --foreground 850 unshare --mount -- bash -euc '
        folder=$1 suite=$2 package=$3
        debootstrap --variant=minbase "$suite" "$folder" http://deb.debian.org/debian
        printf "#!/bin/sh\nexit 101\n" >"$folder/usr/sbin/policy-rc.d"
        chmod +x "$folder/usr/sbin/policy-rc.d"
        echo "127.0.0.1 localhost" >"$folder/etc/hosts"
        inside=(chroot "$folder" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3)
        "${inside[@]}" install -y --no-install-recommends "$package"
        "${inside[@]}" clean
    ' make_debian "$folder" "$suite" "$package" </dev/null >&2 || fail "cannot make a Debian $suite with $package"
    touch "$folder.complete"
}

# need_debian SUITE PACKAGE: sees that the folder is there; by root.
need_debian() {
    [[ $(id -u) == 0 ]] || fail "$2 of Debian's $1 is not this machine's, and only root can run another one"
    [[ -e $(debian_folder "$@").complete ]] || {
        command -v debootstrap >/dev/null || install debootstrap
        locked "debian-$1-$2" make_debian "$@"
    }
}
