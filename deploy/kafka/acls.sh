#!/bin/sh
# Lets the bridge write to its topics, and consumers read them, and neither do anything else. Run it
# again as often as you like.
#
#   BOOTSTRAP=kafka-1:9093 COMMAND_CONFIG=admin.properties ./acls.sh
#
# The variables, with their defaults:
#
#   SOURCE=onecodex  BRIDGE_PRINCIPAL=User:hookferry
#   CONSUMER_PRINCIPAL=User:onecodex-consumer  CONSUMER_GROUP=onecodex-consumer
#   IDEMPOTENT_WRITE=no   yes for brokers before 3.0, which ask for that right on the cluster, too
#   KAFKA_ACLS=kafka-acls.sh
#
# With client certificates a principal is the certificate's subject, such as
# BRIDGE_PRINCIPAL="User:CN=hookferry,O=Example".
set -eu

bootstrap=${BOOTSTRAP:?name a broker, such as kafka-1:9093}
source=${SOURCE:-onecodex}
bridge=${BRIDGE_PRINCIPAL:-User:hookferry}
consumer=${CONSUMER_PRINCIPAL:-User:onecodex-consumer}

allow() {
    "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$bootstrap" \
        ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} --add "$@"
}

# DescribeConfigs is for `hookferry check --connect` alone, which looks at min.insync.replicas.
allow --allow-principal "$bridge" --resource-pattern-type prefixed --topic "$source." \
    --operation Write --operation Describe --operation DescribeConfigs
if [ "${IDEMPOTENT_WRITE:-no}" = yes ]; then
    allow --allow-principal "$bridge" --cluster --operation IdempotentWrite
fi

allow --allow-principal "$consumer" --resource-pattern-type prefixed --topic "$source." \
    --operation Read --operation Describe
allow --allow-principal "$consumer" --group "${CONSUMER_GROUP:-onecodex-consumer}" --operation Read
