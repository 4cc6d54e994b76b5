#!/bin/sh
# Creates the topics that the bridge publishes to, as deploy/config/kafka-production.toml expects
# them: three copies of each partition, two of which must have an event before it is confirmed.
# Topics that are there already stay as they are.
#
#   BOOTSTRAP=kafka-1:9093 COMMAND_CONFIG=admin.properties ./topics.sh
#
# COMMAND_CONFIG is the administrator's client configuration (security.protocol and so on). The other
# variables, with their defaults:
#
#   SOURCE=onecodex  EVENT_TYPES="sample.uploaded analysis.succeeded analysis.failed"
#   PARTITIONS=6  REPLICATION=3  MIN_INSYNC_REPLICAS=2  RETENTION_DAYS=7
#   KAFKA_TOPICS=kafka-topics.sh
set -eu

bootstrap=${BOOTSTRAP:?name a broker, such as kafka-1:9093}
source=${SOURCE:-onecodex}
event_types=${EVENT_TYPES-sample.uploaded analysis.succeeded analysis.failed}
retention_ms=$((${RETENTION_DAYS:-7} * 24 * 60 * 60 * 1000))

create() {
    "${KAFKA_TOPICS:-kafka-topics.sh}" --bootstrap-server "$bootstrap" \
        ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
        --create --if-not-exists --topic "$1" \
        --partitions "${PARTITIONS:-6}" --replication-factor "${REPLICATION:-3}" \
        --config "min.insync.replicas=${MIN_INSYNC_REPLICAS:-2}" \
        --config "retention.ms=$retention_ms" \
        --config cleanup.policy=delete \
        --config unclean.leader.election.enable=false
}

# One topic for each event type; one for all others; one for what could not be understood.
for name in $event_types other quarantine; do
    create "$source.$name"
done
