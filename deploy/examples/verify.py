#!/usr/bin/env python3
"""Verifies a message again: whether its provider has signed exactly these bytes.

    hookferry config providers github > github.toml
    verify.py --provider github.toml --secret-file secret --headers headers.json body
    verify.py --secret-env ONECODEX_SECRET -H 'hookferry-signature: t=1772471743 v1=59c4…' - < body

Prints the result and its reason; the exit code is 0 for `verified`, 1 for `failed`, 3 for
`no signature (backfill)` (a recovery fetched the event) and `not verifiable` (the scheme signs
nothing, or no secret was given), and 2 where the table, a secret or a file cannot be used.

As a module:

    verifier = Verifier(signature_table("github.toml"), [open("secret", "rb").read()])
    outcome = verifier.verify(headers, body)

It needs Python 3.11; Ed25519 and ECDSA also the library `cryptography`. How old a signed time may
be was the bridge's to judge, when the delivery came in. The attributes of CloudEvents around the
body are the bridge's: no provider signs them. So is `hookferry-origin`: whoever can write to the
broker can write `backfill` there. Where a provider puts nothing between two signed parts
(`{url}{body}`, a form's names and values), the signature does not say where one ends.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import pathlib
import re
import sys
import tomllib
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

ONE_CODEX = pathlib.Path(__file__).with_name("onecodex.toml")
SECRET_VARIABLE = "ONECODEX_SECRET"

VERIFIED = "verified"
FAILED = "failed"
BACKFILL = "no signature (backfill)"
NOT_VERIFIABLE = "not verifiable"

# What each key of a table that has few values may be.
CHOICES = {
    "scheme": ("hmac", "ed25519", "ecdsa-p256", "token", "url"),
    "hash": ("sha256", "sha1", "sha512"),
    "encoding": ("hex", "base64"),
    "unit": ("s", "ms", "rfc3339"),
    "key": ("text", "base64", "hex", "pem"),
}
# What a signed time looks like: only then is it certain where it ends and the body begins.
TIMES = {
    "s": "[0-9]+",
    "ms": "[0-9]+",
    "rfc3339": r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d([.]\d+)?([Zz]|[+-]\d\d:\d\d)",
}
# The characters that no URL has are left out, so that no part of a JSON body counts as one.
URL = re.compile(r"""https?://[^\s"<>\\^`{|}\x00-\x20\x7f]+""")

# The characters of a value that stands beside another one without anything between them.
PLAIN = re.compile(rb"[A-Za-z0-9\-._~:/?#@!$&'()*+,;=%]*")

VARIABLE = re.compile(r"body|sorted_form|method|url|(header|query|item)[.].+|(/[^/]*)+")

# Whether a signature is that of these bytes: a secret, made ready.
Key = Callable[[bytes, bytes], bool]


class Unusable(ValueError):
    """A table or a secret that nothing can be verified with."""


class Refused(Exception):
    """Why a message is not what its provider signed."""


class Outcome(NamedTuple):
    """What became of a message, and why."""

    result: str
    reason: str

    @property
    def verified(self) -> bool | None:
        """True or False; None where nothing can be said of the message."""
        return {VERIFIED: True, FAILED: False}.get(self.result)


@dataclass(frozen=True)
class Scheme:
    """The keys of `[provider.NAME.signature]`, with their defaults."""

    scheme: str = "hmac"
    header: tuple[str, ...] = ()
    hash: str = "sha256"
    items: str = ""
    pair: str = ""
    tag: str = ""
    encoding: str = "hex"
    signed: str = "{body}"
    timestamp: str = ""
    unit: str = "s"
    stray_letter: bool = False
    key: str = "text"
    key_prefix: str = ""


def scheme_of(table: Mapping[str, Any]) -> Scheme:
    """The table with its defaults, all its values looked at."""
    known = {field.name: type(field.default) for field in fields(Scheme)}
    # What tells a repeated delivery is the bridge's alone.
    values = {name: value for name, value in table.items() if name != "replay"}
    headers = values.pop("header", [])
    headers = [headers] if isinstance(headers, str) else headers
    if not isinstance(headers, list) or not all(isinstance(name, str) for name in headers):
        raise Unusable("signature.header is neither a text nor a list of texts")
    for name, value in values.items():
        if name not in known:
            raise Unusable(f"signature.{name} is unknown: take the verify.py of the same release")
        if type(value) is not known[name]:
            wanted = "a text" if known[name] is str else "true or false"
            raise Unusable(f"signature.{name} is not {wanted}")
        if value not in CHOICES.get(name, (value,)):
            raise Unusable(f"signature.{name} is none of {', '.join(CHOICES[name])}")
    scheme = Scheme(header=tuple(headers), **values)
    if scheme.pair and not scheme.tag:
        raise Unusable("signature.tag is missing: beside a `pair`, it names the signatures")
    return scheme


# --- The provider's table


def merged(base: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """The base with the table's keys over it. Tables are merged, all else is replaced."""
    result = dict(base)
    for name, value in table.items():
        below = result.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        result[name] = merged(below, value) if both else value
    return result


def resolved(tables: Mapping[str, Any], name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A provider's table, with the values of those that it extends."""
    if name in above:
        raise Unusable(f"provider.{name} extends itself: {' → '.join((*above, name))}")
    if not isinstance(tables.get(name), dict):
        remedy = f"print it with `hookferry config providers {name}`"
        raise Unusable(f"there is no provider.{name} in the file: {remedy}")
    table = tables[name]
    base = table.get("extends")
    if base is None:
        return table
    if not isinstance(base, str):
        raise Unusable(f"provider.{name}.extends is no name")
    return merged(resolved(tables, base, (*above, name)), table)


def signature_table(path: str | os.PathLike[str], name: str | None = None) -> dict[str, Any]:
    """The signature of a provider, by a file of one or several tables."""
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file).get("provider")
    except ValueError as error:
        raise Unusable(f"{path} is no TOML: {error}") from None
    if not isinstance(tables, dict) or not tables:
        raise Unusable(f"{path} has no table [provider.NAME]")
    if name is None and len(tables) > 1:
        raise Unusable(f"{path} has several providers: name one of {', '.join(tables)}")
    name = next(iter(tables)) if name is None else name
    table = resolved(tables, name).get("signature")
    if not isinstance(table, dict):
        raise Unusable(f"provider.{name} has no table `signature`")
    return table


# --- Secrets


def base64_bytes(text: str) -> bytes:
    """Base64 of the standard or the URL's alphabet, with or without its padding."""
    padding = "" if text.endswith("=") else "=" * (-len(text) % 4)
    return base64.b64decode(text.replace("-", "+").replace("_", "/") + padding, validate=True)


def secret_text(secret: bytes, prefix: str) -> str:
    """The text of a secret's file, without the white space around it and the prefix."""
    try:
        text = secret.decode().strip().removeprefix(prefix)
    except UnicodeDecodeError:
        raise Unusable("a secret is no UTF-8 text") from None
    if not text:
        raise Unusable("a secret is empty")
    return text


def secret_bytes(scheme: Scheme, secret: bytes) -> bytes:
    """The key that the text writes."""
    text = secret_text(secret, scheme.key_prefix)
    if scheme.key == "pem":
        return text.encode()
    if "\n" in text or "\r" in text:
        raise Unusable("a secret has several lines: give each secret a file of its own")
    if scheme.key == "text":
        return text.encode()
    digits = "".join(text.split())
    try:
        return base64_bytes(digits) if scheme.key == "base64" else binascii.unhexlify(digits)
    except ValueError:
        raise Unusable(f"a secret is no {scheme.key}, as the provider's `key` says it is") from None


def hmac_key(scheme: Scheme, secret: bytes) -> Key:
    """A secret that provider and consumer share."""
    if scheme.key == "pem":
        raise Unusable("signature.key is `pem`, which no HMAC has")
    key = secret_bytes(scheme, secret)

    def matches(signed: bytes, given: bytes) -> bool:
        return hmac.compare_digest(hmac.new(key, signed, scheme.hash).digest(), given)

    return matches


def public_key(scheme: Scheme, secret: bytes) -> Key:
    """A public key: PEM, DER, or the 32 bytes of an Ed25519 key."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    except ImportError:
        raise Unusable(f"{scheme.scheme} needs a library: pip install cryptography") from None
    if scheme.key == "text":
        raise Unusable(f"signature.key is `text`: a key of {scheme.scheme} is base64, hex or pem")
    octets = secret_bytes(scheme, secret)
    try:
        if scheme.key == "pem":
            key = serialization.load_pem_public_key(octets)
        elif scheme.scheme == "ed25519" and len(octets) == 32:
            key = ed25519.Ed25519PublicKey.from_public_bytes(octets)
        else:
            key = serialization.load_der_public_key(octets)
    except Exception as error:  # of several kinds, by the library's version
        raise Unusable(f"a secret is no public key: {error}") from None
    if scheme.scheme == "ed25519":
        is_right, algorithm = isinstance(key, ed25519.Ed25519PublicKey), ()
    else:
        is_right = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
        algorithm = (ec.ECDSA(hashes.SHA256()),)
    if not is_right:
        raise Unusable(f"a secret is a public key of another kind than {scheme.scheme}")

    def matches(signed: bytes, given: bytes) -> bool:
        try:
            key.verify(given, signed, *algorithm)
        except InvalidSignature:
            return False
        return True

    return matches


# --- What was signed


def sorted_form(body: bytes) -> bytes:
    """The fields of a form: names by their bytes, each with the set of its values, nothing between."""
    form: dict[bytes, set[bytes]] = {}
    for field in filter(None, body.split(b"&")):
        name, _, value = field.replace(b"+", b" ").partition(b"=")
        values = form.setdefault(urllib.parse.unquote_to_bytes(name), set())
        values.add(urllib.parse.unquote_to_bytes(value))
    return b"".join(name + value for name in sorted(form) for value in sorted(form[name]))


def pointed(body: bytes, pointer: str) -> str | None:
    """The text, number or truth value that a JSON pointer (RFC 6901) leads to, as it is written."""
    try:
        value = json.loads(body.decode(), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and re.fullmatch("0|[1-9][0-9]{0,8}", step):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None


class Message:
    """A message, and the variables that a template may name of it."""

    def __init__(self, scheme: Scheme, headers: Mapping[str, str], body: bytes) -> None:
        self._scheme = scheme
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._body = body
        self._items: dict[str, list[str]] = {}
        self._bare: list[str] = []
        # Where a provider signs in several headers, those after the first have their own names.
        names = ("hookferry-signature", *scheme.header)
        for header in dict.fromkeys(filter(None, map(self._headers.get, names))):
            self._split(header)

    def has_signature(self) -> bool:
        return "hookferry-signature" in self._headers

    def origin(self) -> str | None:
        """What the bridge says of how the event came: `webhook` or `backfill`."""
        return self._headers.get("hookferry-origin")

    def _split(self, header: str) -> None:
        separators, pair = self._scheme.items, self._scheme.pair
        parts = re.split(f"[{re.escape(separators)}]", header) if separators else [header]
        for part in filter(None, map(str.strip, parts)):
            if not pair:
                self._bare.append(part)
                continue
            name, found, value = part.partition(pair)
            if found:
                self._items.setdefault(name, []).append(value)

    def signatures(self) -> list[bytes]:
        """Those that are written as the provider writes them. Any of them may be the right one."""
        texts = self._items.get(self._scheme.tag, []) if self._scheme.pair else self._bare
        if not texts:
            named = f" named `{self._scheme.tag}`" if self._scheme.pair else ""
            raise Refused(f"hookferry-signature has no item{named}")
        decode = binascii.unhexlify if self._scheme.encoding == "hex" else base64_bytes
        found = []
        for text in texts:
            try:
                found.append(decode(text))
            except ValueError:
                continue
        if not found:
            raise Refused(f"no signature in hookferry-signature is {self._scheme.encoding}")
        return found

    def value(self, variable: str) -> bytes:
        """What a variable stands for. A missing one is a refusal, never an empty text."""
        if variable == "body":
            return self._body
        if variable == "sorted_form":
            return self._sorted_form()
        text = self._text(variable)
        if text is None:
            raise Refused(f"{{{variable}}} was signed, and the message does not have it")
        if f"{{{variable}}}" == self._scheme.timestamp:
            text = self._time(text)
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise Refused(f"{{{variable}}} is no text") from None

    def _text(self, variable: str) -> str | None:
        kind, _, name = variable.partition(".")
        if variable == "method":
            return "POST"
        if variable == "url":
            return self._headers.get("hookferry-url")
        if variable.startswith("/"):
            return pointed(self._body, variable)
        if kind == "header":
            return self._headers.get(name.lower())
        if kind == "query":
            _, _, query = self._headers.get("hookferry-url", "").partition("?")
            values = urllib.parse.parse_qs(query, keep_blank_values=True).get(name, [])
            return self._only(variable, values)
        values = [] if name == self._scheme.tag else self._items.get(name, [])
        return self._only(variable, values)

    def _only(self, variable: str, values: Sequence[str]) -> str | None:
        if len(values) > 1:
            raise Refused(f"{{{variable}}} is there {len(values)} times")
        return values[0] if values else None

    def _time(self, text: str) -> str:
        letter = "[A-Za-z]?" if self._scheme.stray_letter else ""
        found = re.fullmatch(f"(?P<time>{TIMES[self._scheme.unit]}){letter}", text, re.ASCII)
        if not found:
            raise Refused(f"{self._scheme.timestamp} is no time in {self._scheme.unit}")
        return found["time"]

    def _sorted_form(self) -> bytes:
        content_type = self._headers.get("content-type", "application/x-www-form-urlencoded")
        if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
            raise Refused("{sorted_form} was signed, and the body is no form, by its content type")
        return sorted_form(self._body)


def missing_signature(origin: str | None) -> str:
    """Why a message without a signature, which no recovery has fetched, has failed."""
    if origin == "webhook":
        return (
            "there is no hookferry-signature, though the event was delivered (hookferry-origin: "
            "webhook): it was lost on the way, or forward_signature = false leaves it out"
        )
    return "there is no hookferry-signature, and hookferry-origin does not say where the event is from"


class Template:
    """The signed bytes, as the table describes them."""

    def __init__(self, scheme: Scheme) -> None:
        # Texts and variables in turn, beginning and ending with a text.
        parts = re.split(r"\{([^{}]*)\}", scheme.signed)
        self._texts, self._variables = parts[0::2], parts[1::2]
        # Their own form says where they end; or nothing does, and nothing can be asked of them.
        self._whole = {"body", "sorted_form", "method", "url", scheme.timestamp.strip("{}")}
        for variable in self._variables:
            if not VARIABLE.fullmatch(variable):
                raise Unusable(f"signature.signed has an unknown variable: {{{variable}}}")
        if any(brace in text for brace in "{}" for text in self._texts):
            raise Unusable("signature.signed has a brace without its other one")
        if not {"body", "sorted_form"} & set(self._variables):
            raise Unusable("signature.signed has neither {body} nor {sorted_form}: it proves no event")

    def fill(self, message: Message) -> bytes:
        signed = self._texts[0].encode()
        for index, variable in enumerate(self._variables):
            value = message.value(variable)
            if variable not in self._whole:
                self._check_ends(index, value)
            signed += value + self._texts[index + 1].encode()
        return signed

    def _check_ends(self, index: int, value: bytes) -> None:
        """Else an end of it could be moved into the body, under the same signature."""
        variable = self._variables[index]
        # The text at the very beginning separates nothing, and neither does the end.
        before = self._texts[index] if index else None
        after = self._texts[index + 1] if index + 1 < len(self._variables) else None
        for text in filter(None, (before, self._texts[index + 1])):
            if text.encode() in value:
                reason = f"has `{text}` in it, which marks its end in what was signed"
                raise Refused(f"{{{variable}}} {reason}")
        if "" in (before, after) and not PLAIN.fullmatch(value):
            reason = "has a character in it that a body may begin or end with, and nothing marks its end"
            raise Refused(f"{{{variable}}} {reason}")

    def has_url(self) -> bool:
        return "url" in self._variables


class Verifier:
    """A provider's signature and its secrets, each as it lies in a file.

    `url` is what the signed URL must be, but for its query, where the provider signs one. Without
    it, the URL that the message names is believed.
    """

    def __init__(
        self, table: Mapping[str, Any], secrets: Sequence[bytes], url: str | None = None
    ) -> None:
        self._scheme = scheme_of(table)
        self._url = url
        self._keys: list[Key] = []
        self._template: Template | None = None
        if self._scheme.scheme in ("token", "url"):
            return
        self._template = Template(self._scheme)
        make = hmac_key if self._scheme.scheme == "hmac" else public_key
        self._keys = [make(self._scheme, secret) for secret in secrets]

    def verify(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Whether one of the secrets made one of the signatures over exactly these bytes."""
        message = Message(self._scheme, headers, body)
        if message.origin() == "backfill" and not message.has_signature():
            reason = "a recovery fetched the event, so nobody has signed it; that is the bridge's word"
            return Outcome(BACKFILL, reason)
        if self._template is None:
            reason = f"`{self._scheme.scheme}` signs nothing, and its secret does not travel"
            return Outcome(NOT_VERIFIABLE, reason)
        if not self._keys:
            return Outcome(NOT_VERIFIABLE, "no secret was given")
        if not message.has_signature():
            return Outcome(FAILED, missing_signature(message.origin()))
        try:
            return self._compare(self._template, message)
        except Refused as refused:
            return Outcome(FAILED, str(refused))

    def _compare(self, template: Template, message: Message) -> Outcome:
        if template.has_url():
            self._check_url(message.value("url").decode())
        signed = template.fill(message)
        # All of them, whichever matches: the time that this takes tells nothing of the secrets.
        matches = [key(signed, given) for given in message.signatures() for key in self._keys]
        if any(matches):
            return Outcome(VERIFIED, "the provider has signed these bytes")
        return Outcome(FAILED, "no signature is one of these bytes with any of the secrets")

    def _check_url(self, signed: str) -> None:
        if not URL.fullmatch(signed):
            raise Refused("hookferry-url is no URL")
        if self._url is not None and signed != self._url and not signed.startswith(f"{self._url}?"):
            raise Refused(f"hookferry-url is another URL than {self._url}")


# --- The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of all who verify: this command and the consumers."""
    option = parser.add_argument
    option("--provider", metavar="FILE", default=ONE_CODEX,
           help="its table, as `hookferry config providers NAME` prints it; default: One Codex's")
    option("--provider-name", metavar="NAME", help="the provider, where the file has several")
    option("--secret-file", metavar="FILE", action="append", default=[],
           help="a file with a secret or a public key; may be given again")
    option("--secret-env", metavar="VARIABLE",
           help=f"a variable with a secret; default: {SECRET_VARIABLE}, without a --secret-file")
    option("--signed-url", metavar="URL", help="the URL that the provider was given, where it signs one")


def secrets_of(args: argparse.Namespace) -> list[bytes]:
    """The secrets as they lie in the files and the variable."""
    secrets = [pathlib.Path(path).read_bytes() for path in args.secret_file]
    name = args.secret_env or (None if secrets else SECRET_VARIABLE)
    value = os.environ.get(name) if name else None
    if args.secret_env and not value:
        raise Unusable(f"the variable {name} is not set")
    return secrets + [os.fsencode(value)] if value else secrets


def verifier_of(args: argparse.Namespace) -> Verifier:
    """The verifier that the options describe; without a secret, all is `not verifiable`."""
    table = signature_table(args.provider, args.provider_name)
    return Verifier(table, secrets_of(args), args.signed_url)


def headers_of(args: argparse.Namespace) -> dict[str, str]:
    """The headers of the file, with those of the command line."""
    headers = json.loads(pathlib.Path(args.headers).read_bytes()) if args.headers else {}
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        raise Unusable(f"{args.headers} is no JSON object of texts")
    for line in args.header:
        name, colon, value = line.partition(":")
        if not colon:
            raise Unusable(f"a header is written `NAME: VALUE`, and this one is not: {line}")
        headers[name.strip()] = value.strip()
    return headers


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add_arguments(parser)
    option = parser.add_argument
    option("--headers", metavar="FILE", help="the message's headers, as a JSON object")
    option("-H", dest="header", metavar="'NAME: VALUE'", action="append", default=[],
           help="a header of the message; may be given again")
    option("body", metavar="BODY", help="a file with the message's bytes; - is the standard input")
    args = parser.parse_args()
    try:
        body = sys.stdin.buffer.read() if args.body == "-" else pathlib.Path(args.body).read_bytes()
        outcome = verifier_of(args).verify(headers_of(args), body)
    except (OSError, ValueError) as error:
        print(f"verify.py: {error}", file=sys.stderr)
        return 2
    print(f"{outcome.result}: {outcome.reason}")
    return {VERIFIED: 0, FAILED: 1}.get(outcome.result, 3)


if __name__ == "__main__":
    sys.exit(main())
