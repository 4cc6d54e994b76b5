#!/usr/bin/env python3
"""Reads webhook events from a RabbitMQ queue and prints one line of JSON for each.

    ONECODEX_SECRET=... consume_rabbitmq.py onecodex.events
    consume_rabbitmq.py analyses --bind hookferry 'analysis.#'
    consume_rabbitmq.py --provider github.toml --secret-file secret github.events

With --bind the durable queue is made and bound to the bridge's exchange first. `verify.py --help`
says what --provider takes.
"""

import argparse
import sys
import time

import pika
from pika.adapters.blocking_connection import BlockingChannel

from event import Seen, describe
from verify import Verifier, add_arguments, verifier_of

# The virtual host is `/`, which is %2f in a URL.
DEFAULT_URL = "amqp://guest:guest@localhost:5672/%2f"


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add_arguments(parser)
    parser.add_argument("queue", metavar="QUEUE")
    parser.add_argument("--url", default=DEFAULT_URL, help="the broker; default: %(default)s")
    parser.add_argument("--bind", nargs=2, metavar=("EXCHANGE", "KEY"), help="make the queue and bind it")
    parser.add_argument("--count", type=int, help="stop after so many different events")
    parser.add_argument("--timeout", type=float, help="stop after so many seconds")
    return parser.parse_args()


def bind(channel: BlockingChannel, queue: str, exchange: str, key: str) -> None:
    # A quorum queue: it keeps what it confirmed when a node is lost.
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue, exchange, key)


def text_headers(properties: pika.BasicProperties) -> dict[str, str]:
    headers = {name: str(value) for name, value in (properties.headers or {}).items()}
    if properties.content_type is not None:
        headers["content-type"] = properties.content_type
    return headers


def work(
    verifier: Verifier, routing_key: str, properties: pika.BasicProperties, body: bytes
) -> None:
    """The place of your own work. It is done when it returns, and done again after a crash."""
    address = {"routing_key": routing_key, "message_id": properties.message_id}
    line = describe(verifier, address, "cloudEvents_", text_headers(properties), body)
    print(line, flush=True)


def consume(
    channel: BlockingChannel, verifier: Verifier, queue: str, count: int | None, deadline: float
) -> int:
    """The number of different events worked on."""
    seen = Seen()
    done = 0
    # So many are on their way to us unacknowledged; the rest stays with the broker.
    channel.basic_qos(prefetch_count=100)
    for method, properties, body in channel.consume(queue, inactivity_timeout=0.5):
        if method is not None:
            event_id = properties.message_id
            if event_id in seen:
                print(f"seen before: {event_id}", file=sys.stderr)
            else:
                work(verifier, method.routing_key, properties, body)
                seen.add(event_id)
                done += 1
            # After the work. Before it, a crash in between would lose the event.
            channel.basic_ack(method.delivery_tag)
        if (count is not None and done >= count) or time.monotonic() >= deadline:
            break
    # Gives back what was fetched ahead.
    channel.cancel()
    return done


def main() -> int:
    args = arguments()
    try:
        verifier = verifier_of(args)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    deadline = time.monotonic() + args.timeout if args.timeout else float("inf")
    try:
        with pika.BlockingConnection(pika.URLParameters(args.url)) as connection:
            channel = connection.channel()
            if args.bind:
                bind(channel, args.queue, *args.bind)
            done = consume(channel, verifier, args.queue, args.count, deadline)
    except KeyboardInterrupt:
        return 130
    return 0 if args.count is None or done == args.count else 1


if __name__ == "__main__":
    sys.exit(main())
