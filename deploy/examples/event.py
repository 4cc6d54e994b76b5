"""What both consumers do with an event: check its signature again, and describe it in one line."""

import hashlib
import hmac
import json
import os
import re
from collections import OrderedDict

SECRET_VARIABLE = "ONECODEX_SECRET"


def verified(secret: str, signature: str, body: bytes) -> bool:
    """Whether the sender's signature covers exactly these bytes.

    The header reads `t=<Unix seconds> v1=<HMAC-SHA256 in hex>`; the HMAC covers the seconds, a dot
    and the body. How old the signature may be was the bridge's to judge, when the event came in.
    """
    items = [item.partition("=") for item in re.split("[ ,]+", signature) if item]
    seconds = [re.match("[0-9]*", value)[0] for name, _, value in items if name == "t"]
    if len(seconds) != 1:
        return False
    signed = seconds[0].encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    given = [value.lower().encode() for name, _, value in items if name == "v1"]
    return any([hmac.compare_digest(expected.encode(), value) for value in given])


def describe(
    address: dict[str, str | None], prefix: str, headers: dict[str, str], body: bytes
) -> str:
    """The event as a line of JSON. The prefix is the one this broker's CloudEvents headers have."""
    secret = os.environ.get(SECRET_VARIABLE)
    signature = headers.get("hookferry-signature", "")
    line = {
        "id": headers.get(f"{prefix}id"),
        **address,
        "type": headers.get(f"{prefix}type"),
        "subject": headers.get(f"{prefix}subject"),
        # null: nobody has told us the secret.
        "verified": verified(secret, signature, body) if secret else None,
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
