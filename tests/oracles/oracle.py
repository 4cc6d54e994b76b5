"""The vendors' own Python libraries, asked over standard input and output.

One JSON object a line in, one a line out:

    {"provider": "stripe", "do": "sign", "secret": "whsec_...", "body": "<base64>",
     "timestamp": 1700000000, "method": "POST", "url": "https://...", "headers": {}}
        -> {"headers": {"stripe-signature": "..."}}, or {"headers": null, "error": "why not"}
    the same with "do": "verify" and the request's headers -> {"ok": true}, or {"ok": false, "error": "..."}

`timestamp` is the time to sign at, and what the library takes for now when it verifies, in seconds since
1970. When signing, `headers` may name the message (`webhook-id`). The error of a verification begins
with the class of what the library raised, or says that it answered false; a header that is missing where
a library takes its value, not all headers, is a KeyError of this program. Secrets are written as the
vendor's page shows them. A request that this program does not understand is answered {"fault": "..."}.

What a test must know of each library stands at its class. Of all but GitHub's: a body that is no UTF-8 is
UnicodeDecodeError, in both directions. Of all: signatures are compared as text or as bytes, and one that
is not ASCII may raise TypeError.
"""

import base64
import json
import logging
import sys
import urllib.parse
from datetime import datetime, timezone
from types import SimpleNamespace
from unittest import mock

import benchling_sdk.apps.helpers.webhook_helpers as benchling
import gidgethub.sansio
import square.utils.webhooks_helper as square
import standardwebhooks.webhooks
import stripe
import svix.webhooks
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hubspot.utils.signature import Signature
from jwcrypto import jwk
from paddle_billing.Notifications import Secret, Verifier
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader
from slack_sdk.signature import SignatureVerifier
from twilio import request_validator as twilio

# Each library's modules that ask for the time, by the name under which they know it.
DATETIMES = [
    "standardwebhooks.webhooks.datetime",
    "benchling_sdk.apps.helpers.webhook_helpers.datetime",
    "hubspot.utils.signature.datetime",
]


class CannotSign(Exception):
    """The library has no public function that signs."""


class Headers(dict):
    """A request's headers, as web frameworks give them: any case of a name finds its value."""

    def __init__(self, headers):
        super().__init__({name.lower(): value for name, value in headers.items()})

    def __getitem__(self, name):
        if name.lower() not in self:
            raise KeyError(f"the header {name} is missing")
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


class Request:
    """What is to be signed or verified."""

    def __init__(self, line):
        asked = json.loads(line)
        self.provider, self.do, self.secret = asked["provider"], asked["do"], asked["secret"]
        self.body = base64.b64decode(asked["body"], validate=True)
        self.timestamp = asked["timestamp"]
        self.method, self.url = asked.get("method", "POST"), asked.get("url", "")
        self.given = asked.get("headers", {})
        self.headers = Headers(self.given)

    @property
    def text(self):
        """Most libraries take the body as text, so that bytes that are no UTF-8 never reach them."""
        return self.body.decode()

    @property
    def time(self):
        return datetime.fromtimestamp(self.timestamp, timezone.utc)

    def at(self):
        """The datetime class of a clock that stands still at the request's time."""
        now = self.time

        class Standing(datetime):
            @classmethod
            def now(cls, tz=None):
                return now

        return Standing


def sign_ecdsa(pem, data):
    """Base64 of the DER signature. Neither library that verifies one can make one."""
    key = load_pem_private_key(pem.encode(), None)
    return base64.b64encode(key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()


class StandardWebhooks:
    """standardwebhooks. The secret is base64, `whsec_` before it or not, padded or not (the library adds
    `==`; characters outside the alphabet are left out in silence, so a secret with `-` or `_` is another
    key). An empty one is refused.

    - Both sides of the tolerance of 300 s are checked, before the signature; exactly 300 s pass.
    - The timestamp is read as a float (`1.7e9`, `01700000000`, `+1700000000`, ` 1700000000`): signed is
      its whole part written anew, so the signature over the plain number is accepted for all of these.
    - The list is read up to the item that matches: before it, an item without a comma or with two, a
      space too many, or a `v1` whose base64 lacks its padding, raises ValueError or binascii.Error.
      `, ` between items does too. Behind it, anything may stand.
    - Items of other names (`v1a`, `v2`) are skipped; `V1` is not `v1`. Characters outside the alphabet are
      left out of a signature: `v1,AB!CD` is `v1,ABCD`.
    - An empty id counts as a missing one; an id with a `.` is taken. Names of headers in any case.
    - The empty body can be signed and verified. Whether the body is JSON is not asked here.
    """

    names = "webhook-id", "webhook-timestamp", "webhook-signature"
    library = standardwebhooks.webhooks.Webhook

    def sign(self, request):
        identity, timestamp, signature = self.names
        message = request.headers.get(identity, "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")
        signed = self.library(request.secret).sign(message, request.time, request.text)
        return {identity: message, timestamp: str(request.timestamp), signature: signed}

    def verify(self, request):
        self.library(request.secret).verify(request.body, request.given, json_parse=False)
        return True


class Svix(StandardWebhooks):
    """svix: the same, because it calls standardwebhooks, which finds the `svix-` header first and where
    that is missing the `webhook-` one, each of the three for itself: a mixed family is accepted, and an
    empty `svix-` one is not replaced."""

    names = "svix-id", "svix-timestamp", "svix-signature"
    library = svix.webhooks.Webhook

    def verify(self, request):
        self.library(request.secret).verify(request.body, request.given)
        return True


class Stripe:
    """stripe. The whole secret is the key, `whsec_` with it; a blank one is refused.

    - Of the tolerance of 300 s the past alone is checked, after the signature: any future passes, and so
      does a timestamp exactly 300 s old.
    - The first `t` counts. `int()` reads it (` 1700`, `01700`, `+1700`, `1_700`), and signed is the number
      written anew: the signature over the plain number is accepted for all of these, the one over the
      header's own text is not.
    - Items are split at `,` without trimming: after `, ` an item's name begins with a space, and it is not
      seen. A `t` or `v1` without `=` is an error wherever it stands; other items may be anything.
    - Any `v1` counts. Hex is compared as text: upper case fails. `V1` is not `v1`.
    - The empty body can be signed and verified.
    """

    def sign(self, request):
        signed = stripe.WebhookSignature.generate_signature_header(
            request.text, request.secret, request.timestamp
        )
        return {"stripe-signature": signed}

    def verify(self, request):
        header = request.headers.get("stripe-signature")
        return stripe.WebhookSignature.verify_header(request.body, header, request.secret, 300)


class Slack:
    """slack_sdk. The secret is text; a blank one raises ValueError.

    - Both sides of 300 s are checked, and exactly 300 s pass. `int()` reads the timestamp, but its text as
      it came is signed; one that is no whole number raises ValueError.
    - One signature only, compared as text: upper-case hex, a list, and a space before it fail.
    - Names of headers in any case. The empty body can be signed and verified.
    """

    def library(self, request):
        return SignatureVerifier(request.secret, SimpleNamespace(now=lambda: request.timestamp))

    def sign(self, request):
        timestamp = str(request.timestamp)
        signed = self.library(request).generate_signature(timestamp=timestamp, body=request.body)
        return {"x-slack-request-timestamp": timestamp, "x-slack-signature": signed}

    def verify(self, request):
        return self.library(request).is_valid_request(request.body, request.given)


class Form:
    """A form's fields, as Django gives them to the library."""

    def __init__(self, text):
        self.fields = urllib.parse.parse_qsl(text, keep_blank_values=True)

    def __iter__(self):
        return (name for name, _ in self.fields)

    def __bool__(self):
        return bool(self.fields)

    def getlist(self, name):
        return [value for of, value in self.fields if of == name]


class Twilio:
    """twilio. The secret is text.

    - The body is a form's fields, decoded: names and values that are no UTF-8 are replaced by U+FFFD
      before the library sees them. Fields are sorted by code points (in UTF-8 the same as by bytes); of a
      field that comes twice with one value the value counts once; an empty value counts.
    - The URL is tried with and without its port. Where it has none, 443 or 80 is added: a signature over
      `https://host:443/` is accepted for `https://host/`, and for `https://host:8443/` one without the
      port. A URL without a port is not tried with 8443.
    - When it verifies, it writes the URL anew: `HTTPS://` becomes `https://`, and an empty `?` or `#` at
      the end goes. When it signs, it does not: it refuses its own signature over such a URL.
    - Where the content type is JSON (this program looks at `content-type`) the body is not a form: the
      URL must have `bodySHA256`, the body's hash in lower-case hex, and the signature covers the URL
      alone. Without `bodySHA256` it raises TypeError.
    - `X-Twilio-Webhooks-Signature-Settings: key=...,algorithm=HMAC_SHA256` asks for SHA-256 in place of
      SHA-1; the header is not signed, and an unknown algorithm is a refusal.
    - No time is signed. Base64 is compared as text; one that lacks its padding fails.
    """

    def parameters(self, request):
        is_json = request.headers.get("content-type", "").startswith("application/json")
        return request.text if is_json else Form(request.text)

    def algorithm(self, request):
        return twilio.get_signature_algorithm(request.headers.get(twilio.SIGNATURE_SETTINGS_HEADER))

    def sign(self, request):
        parameters = self.parameters(request)
        signed = twilio.RequestValidator(request.secret).compute_signature(
            request.url, {} if isinstance(parameters, str) else parameters, self.algorithm(request)
        )
        return {"x-twilio-signature": signed}

    def verify(self, request):
        return twilio.RequestValidator(request.secret).validate(
            request.url,
            self.parameters(request),
            request.headers[twilio.SIGNATURE_HEADER],
            self.algorithm(request),
        )


class SendGrid:
    """sendgrid, which verifies only; signed with cryptography. The public key is base64 of its DER, without
    the lines before and after; with them it raises ValueError, and so does a missing padding. It may be
    broken into lines. Another curve is taken too.

    - The time is signed as text and never compared with a clock: any age passes.
    - Base64 of the signature skips characters outside the alphabet; without padding it raises
      binascii.Error. A signature that is no DER (such as r and s alone), or has a byte behind it, is a
      plain false; of the two values of s both are taken.
    - The empty body can be verified.
    """

    def sign(self, request):
        timestamp = str(request.timestamp)
        return {
            EventWebhookHeader.TIMESTAMP.lower(): timestamp,
            EventWebhookHeader.SIGNATURE.lower(): sign_ecdsa(request.secret, timestamp.encode() + request.body),
        }

    def verify(self, request):
        return EventWebhook(request.secret).verify_signature(
            request.text,
            request.headers[EventWebhookHeader.SIGNATURE],
            request.headers[EventWebhookHeader.TIMESTAMP],
        )


class Square:
    """squareup, which verifies only. The secret is text; an empty one, or an empty URL, raises ValueError.

    - The empty body is a plain false. No time is signed. Base64 is compared as text: without its padding
      it fails.
    - The URL is taken as it is written: a `/` at its end counts.
    """

    def sign(self, request):
        raise CannotSign("squareup has verify_signature only")

    def verify(self, request):
        return square.verify_signature(
            request_body=request.text,
            signature_header=request.headers["x-square-hmacsha256-signature"],
            signature_key=request.secret,
            notification_url=request.url,
        )


class Paddle:
    """paddle-python-sdk, which verifies only. The secret is text.

    - Both sides of the tolerance, 5 s if nothing else is said, are checked before the signature, and
      exactly 5 s pass. A header `tolerance`, in seconds (this program's, not Paddle's),
      sets another.
    - An item with a name other than `ts` and `h1` raises ValueError; one with two `=` too; one without is
      skipped. Items are split at `;` without trimming, so a space after it is part of a name. The last
      `ts` counts, and a missing one is 0.
    - `int()` reads `ts` (`01700`, ` 1700`), and signed is the number written anew.
    - Any `h1` counts; with one secret a mismatch is a plain false. Hex is compared as text: upper case
      fails. The environment's TEST_MODE switches the clock off.
    - The empty body can be verified.
    """

    def sign(self, request):
        raise CannotSign("paddle_billing.Notifications has a Verifier only")

    def verify(self, request):
        tolerance = int(request.headers.get("tolerance", "5"))
        return Verifier(tolerance).verify(
            SimpleNamespace(body=request.body, headers=request.headers), Secret(request.secret)
        )


class HubSpot:
    """hubspot-api-client, version 3 of the signature. The secret is text.

    - Of the tolerance of 300 s the past alone is checked, before the signature. Milliseconds are cut off
      first, and exactly 300 s are too old: what passes is a timestamp of up to 299.000 s ago at a whole
      second. Any future passes, as far as a year has four digits.
    - The timestamp is read as a float (`1.7e12`, `1700000000000.5`); its text as it came is signed.
      Seconds for milliseconds are too old.
    - The URL is signed as given: nothing is decoded. Base64 is compared as text. The empty body can be
      signed and verified.
    """

    def sign(self, request):
        timestamp = str(request.timestamp * 1000)
        signed = Signature.get_signature(
            request.secret, request.text, "v3", request.url, request.method, timestamp
        )
        return {"x-hubspot-request-timestamp": timestamp, "x-hubspot-signature-v3": signed}

    def verify(self, request):
        return Signature.is_valid(
            request.headers["x-hubspot-signature-v3"],
            request.secret,
            request.text,
            request.url,
            request.method,
            "v3",
            request.headers["x-hubspot-request-timestamp"],
        )


class Benchling:
    """benchling-sdk, which verifies only; signed with cryptography. The public key is PEM here, which the
    library wants as a set of JSON web keys; any key of the set counts.

    - Both sides of 300 s are checked before the signature, and exactly 300 s pass. The timestamp is read
      as a float, and its text as it came is signed.
    - Every item whose name contains `der` is a signature, of any version; without one it is an error. An
      item without a comma, or with two, raises ValueError wherever it stands; so does a space too many.
    - Base64 skips characters outside the alphabet; without padding it raises binascii.Error.
    - Names of headers in any case; an empty id is taken. The empty body can be verified.
    """

    def sign(self, request):
        message = request.headers.get("webhook-id", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W")
        signed = f"{message}.{request.timestamp}.".encode() + request.body
        return {
            "webhook-id": message,
            "webhook-timestamp": str(request.timestamp),
            "webhook-signature": f"v1bder,{sign_ecdsa(request.secret, signed)}",
        }

    def keys(self, pem):
        keys = jwk.JWKSet()
        keys.add(jwk.JWK.from_pem(pem.encode()))
        return keys

    def verify(self, request):
        benchling.verify("appdef_1", request.text, request.given, lambda _: self.keys(request.secret))
        return True


class GitHub:
    """gidgethub, which verifies only. The secret is text, and may be empty.

    - The signature's own prefix decides between SHA-256 and SHA-1 (`sha1=`), whichever header it came in;
      with both headers the 256 one counts alone, and nothing falls back.
    - Compared as text: upper-case hex and upper-case `SHA256=` fail. No time is signed.
    - The body is bytes: those that are no UTF-8 are verified too, and so is the empty one.
    """

    def sign(self, request):
        raise CannotSign("gidgethub.sansio has validate_event only")

    def verify(self, request):
        has_new = "x-hub-signature-256" in request.headers
        signature = request.headers["x-hub-signature-256" if has_new else "x-hub-signature"]
        gidgethub.sansio.validate_event(request.body, signature=signature, secret=request.secret)
        return True


PROVIDERS = {
    "standard_webhooks": StandardWebhooks(),
    "svix": Svix(),
    "stripe": Stripe(),
    "slack": Slack(),
    "twilio": Twilio(),
    "sendgrid": SendGrid(),
    "square": Square(),
    "paddle": Paddle(),
    "hubspot": HubSpot(),
    "benchling": Benchling(),
    "github": GitHub(),
}


def sign(provider, request):
    try:
        return {"headers": provider.sign(request)}
    except Exception as error:
        return {"headers": None, "error": f"{type(error).__name__}: {error}"}


def verify(provider, request):
    # A module of this name is hidden behind the class of the same name.
    paddle = sys.modules["paddle_billing.Notifications.Verifier"]
    clocks = [mock.patch(name, request.at()) for name in DATETIMES]
    clocks += [mock.patch.object(paddle, "time", lambda: request.timestamp)]
    clocks += [mock.patch("time.time", lambda: request.timestamp)]
    for clock in clocks:
        clock.start()
    try:
        return {"ok": True} if provider.verify(request) else {"ok": False, "error": "answered false"}
    except Exception as error:  # Whatever a library raises is its refusal.
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
    finally:
        for clock in clocks:
            clock.stop()


def answer(line):
    try:
        request = Request(line)
        does = {"sign": sign, "verify": verify}[request.do]
        return does(PROVIDERS[request.provider], request)
    except Exception as error:
        return {"fault": f"{type(error).__name__}: {error}"}


def main():
    logging.disable()
    # Whatever else is printed must not stand between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(answer(line)), file=answers, flush=True)


main()
