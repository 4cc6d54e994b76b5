"""What both consumers do with an event: verify its signature again, and describe it in one line."""

import hashlib
import json
from collections import OrderedDict

from verify import Verifier


def describe(
    verifier: Verifier,
    address: dict[str, str | None],
    prefix: str,
    headers: dict[str, str],
    body: bytes,
) -> str:
    """The event as a line of JSON. The prefix is the one this broker's CloudEvents headers have."""
    outcome = verifier.verify(headers, body)
    line = {
        "id": headers.get(f"{prefix}id"),
        **address,
        "type": headers.get(f"{prefix}type"),
        "subject": headers.get(f"{prefix}subject"),
        # null: nothing can be said, such as without a secret, or of what a recovery has fetched.
        "verified": outcome.verified,
        "result": outcome.result,
        "reason": outcome.reason,
        "sha256": hashlib.sha256(body).hexdigest(),
        "headers": headers,
    }
    return json.dumps(line, ensure_ascii=False)


class Seen:
    """The latest ids. Events come at least once, so a consumer must know what it has done already.

    This one forgets when it stops. One that must not do its work twice keeps the ids where it keeps
    the result, in the same transaction.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity

    def __contains__(self, event_id: str | None) -> bool:
        return event_id in self._ids

    def add(self, event_id: str | None) -> None:
        """Remembers the id. Called after the work: an event whose work failed comes again."""
        if event_id is None:
            return
        self._ids[event_id] = None
        if len(self._ids) > self._capacity:
            self._ids.popitem(last=False)
