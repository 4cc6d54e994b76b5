#!/usr/bin/env python3
"""Reads webhook events from Kafka and prints one line of JSON for each.

    ONECODEX_SECRET=... consume_kafka.py --brokers localhost:9092 onecodex.sample.uploaded
    consume_kafka.py --provider github.toml --secret-file secret '^github[.].*'

A name that starts with ^ is a pattern of topics. `verify.py --help` says what --provider takes.
"""

import argparse
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from event import Seen, describe
from verify import Verifier, add_arguments, verifier_of

# Worth waiting for: the topic is made with its first event, the broker may be starting again.
PASSING = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
}


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add_arguments(parser)
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    parser.add_argument("--brokers", default="localhost:9092", help="default: %(default)s")
    parser.add_argument("--group", default="hookferry-example", help="default: %(default)s")
    parser.add_argument("--count", type=int, help="stop after so many different events")
    parser.add_argument("--timeout", type=float, help="stop after so many seconds")
    return parser.parse_args()


def text_headers(message: Message) -> dict[str, str]:
    headers = message.headers() or []
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}


def work(verifier: Verifier, message: Message) -> None:
    """The place of your own work. It is done when it returns, and done again after a crash."""
    key = message.key()
    address = {"topic": message.topic(), "key": key.decode() if key else None}
    body = message.value() or b""
    print(describe(verifier, address, "ce_", text_headers(message), body), flush=True)


def consume(consumer: Consumer, verifier: Verifier, count: int | None, deadline: float) -> int:
    """The number of different events worked on."""
    seen = Seen()
    done = 0
    while (count is None or done < count) and time.monotonic() < deadline:
        message = consumer.poll(min(1.0, max(0.0, deadline - time.monotonic())))
        if message is None:
            continue
        if message.error():
            if message.error().code() not in PASSING:
                raise KafkaException(message.error())
            print(f"waiting: {message.error().str()}", file=sys.stderr)
            continue
        event_id = text_headers(message).get("ce_id")
        if event_id in seen:
            print(f"seen before: {event_id}", file=sys.stderr)
        else:
            work(verifier, message)
            seen.add(event_id)
            done += 1
        # After the work. Before it, a crash in between would lose the event.
        consumer.commit(message=message, asynchronous=False)
    return done


def main() -> int:
    args = arguments()
    try:
        verifier = verifier_of(args)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    consumer = Consumer({
        "bootstrap.servers": args.brokers,
        "group.id": args.group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        # How soon a topic that did not exist is noticed.
        "topic.metadata.refresh.interval.ms": 5000,
    })
    deadline = time.monotonic() + args.timeout if args.timeout else float("inf")
    try:
        consumer.subscribe(args.topics)
        done = consume(consumer, verifier, args.count, deadline)
    except KeyboardInterrupt:
        return 130
    finally:
        consumer.close()
    return 0 if args.count is None or done == args.count else 1


if __name__ == "__main__":
    sys.exit(main())
