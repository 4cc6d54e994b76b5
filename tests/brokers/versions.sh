# shellcheck shell=bash disable=SC2034 # the sourcing scripts read these
# The versions of brokers that the tests run with, and the tests that need a broker. To be sourced.

# Any that Maven has; compose.yml, for machines with an engine, has this one too.
kafka_version=${HOOKFERRY_TEST_KAFKA_VERSION:-4.1.1}

# RabbitMQ is Debian's, and so there is one for each of Debian's releases.
declare -A rabbitmq_suites=([3.10]=bookworm [4.0]=trixie [newest]=testing)
rabbitmq_version=${HOOKFERRY_TEST_RABBITMQ_VERSION:-}
[[ -z $rabbitmq_version || -n ${rabbitmq_suites[$rabbitmq_version]:-} ]] ||
    fail "HOOKFERRY_TEST_RABBITMQ_VERSION is $rabbitmq_version; there are ${!rabbitmq_suites[*]}"

# Those that are supported, an Apache Kafka beside a RabbitMQ: the oldest, the one in between, the newest.
# No test asks which of the one stands beside which of the other, so that one run shows two versions.
supported_versions=("3.9.1 3.10" "4.1.1 4.0" "4.4.0 newest")

# The tests that go to a real broker, by parts of their names; without those that the mock of librdkafka
# or a broker that is not there will do for.
broker_tests=(
    rabbitmq kafka every_sink accounting:: broker:: bytes::a_source bytes::the_headers consumers:: duplicates::with_delivered
    durable:: faults::seeded frozen_broker moving:: order:: page::flow page::set_aside page::status::a_broker
    refusal::a_full_spool routes::routing_keys secured::
    --skip cli::configuration --skip cluster:: --skip deploy::compose --skip injected::
)
