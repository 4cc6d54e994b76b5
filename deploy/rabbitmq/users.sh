#!/bin/sh
# Makes the two users of deploy/rabbitmq/definitions.json, or gives them new passwords, with no more
# permissions than they need. Run it on a node, after the definitions have been loaded; running it
# again changes nothing but the passwords.
#
#   BRIDGE_PASSWORD_FILE=/run/secrets/bridge CONSUMER_PASSWORD_FILE=/run/secrets/consumer ./users.sh
#
# A user whose file is not named has no password and logs in by client certificate (EXTERNAL): the
# certificate's common name is the user's name. The other variables, with their defaults:
#
#   VHOST=hookferry  EXCHANGE=onecodex  QUEUE=onecodex.events
#   BRIDGE_USER=hookferry  CONSUMER_USER=onecodex-consumer  RABBITMQCTL=rabbitmqctl
set -eu

vhost=${VHOST:-hookferry}
exchange=${EXCHANGE:-onecodex}
queue=${QUEUE:-onecodex.events}
rabbitmqctl=${RABBITMQCTL:-rabbitmqctl}

# A name as a regular expression that matches nothing else.
exactly() {
    printf '^%s$' "$(printf '%s' "$1" | sed 's/[][\\.^$*+?(){}|]/\\&/g')"
}

exists() {
    case $("$rabbitmqctl" --silent list_users --formatter=json) in
        *"\"user\":\"$1\""*) ;;
        *) return 1 ;;
    esac
}

# password VERB NAME: passwords travel by standard input, where no list of processes shows them. From
# RabbitMQ 4 on it is read only where no other argument is given, such as --silent.
password() {
    "$rabbitmqctl" "$1" "$2" >/dev/null
}

# user NAME PASSWORD-FILE
user() {
    if [ -n "$2" ]; then
        verb=add_user
        ! exists "$1" || verb=change_password
        tr -d '\r\n' <"$2" | password "$verb" "$1"
        return
    fi
    if ! exists "$1"; then
        head -c 32 /dev/urandom | base64 | tr -d '\n' | password add_user "$1"
    fi
    "$rabbitmqctl" --silent clear_password "$1"
}

# permit NAME CONFIGURE WRITE READ
permit() {
    "$rabbitmqctl" --silent set_user_tags "$1"
    "$rabbitmqctl" --silent set_permissions -p "$vhost" "$1" "$2" "$3" "$4"
}

bridge=${BRIDGE_USER:-hookferry}
user "$bridge" "${BRIDGE_PASSWORD_FILE:-}"
permit "$bridge" '^$' "$(exactly "$exchange")" '^$'

consumer=${CONSUMER_USER:-onecodex-consumer}
user "$consumer" "${CONSUMER_PASSWORD_FILE:-}"
permit "$consumer" '^$' '^$' "$(exactly "$queue")"
