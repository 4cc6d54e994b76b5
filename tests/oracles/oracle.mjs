// The vendors' own libraries for Node, asked over standard input and output: the same requests and
// answers as oracle.py, which describes them.
//
// The libraries for GitHub and Shopify take the body as text, so that bytes that are no UTF-8 never reach
// them; a byte order mark is kept.
import { createInterface } from "node:readline";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import { Webhooks } from "@octokit/webhooks";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, shopifyApi } from "@shopify/shopify-api";
import { createSHA256HMAC, HashFormat } from "@shopify/shopify-api/runtime";

const text = (body) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);

// @octokit/webhooks, for GitHub and whoever signs as GitHub does. The secret is text; an empty one throws.
//
// - The empty body and the empty signature throw, in both directions.
// - `sha256=` and lower-case hex, compared as text: upper case, another prefix, a list or a space is false.
// - The header's name is this program's: x-hub-signature-256, and x-hub-signature for "bitbucket".
// - No time is signed.
class GitHub {
  constructor(header) {
    this.header = header;
  }

  async sign({ secret, body }) {
    return { [this.header]: await new Webhooks({ secret }).sign(text(body)) };
  }

  async verify({ secret, body, headers }) {
    return new Webhooks({ secret }).verify(text(body), headers[this.header]);
  }
}

// @linear/sdk, which verifies only. The secret is text; an empty one throws.
//
// - `webhookTimestamp` in the body, milliseconds as a number, is what the clock is compared with, on both
//   sides of 60 s; exactly 60 s pass. The body must be JSON with it, else it throws, after the signature: so
//   the empty body, an array, `null` and a byte order mark before the JSON throw. `1.7e12` and a fraction
//   are taken; digits in a text throw. Of two fields of that name the last counts.
// - The header `linear-timestamp` is ignored.
// - Lower-case hex, compared as text: upper case fails. The body's bytes are verified as they are.
class Linear {
  async sign() {
    throw new Error("@linear/sdk has verify only");
  }

  async verify({ secret, body, headers }) {
    return new LinearWebhookClient(secret).verify(body, headers["linear-signature"] ?? "");
  }
}

// @shopify/shopify-api. The secret is text; an empty one throws. It signs with the function that its
// verification calls.
//
// - The empty body is "missing_body", although it can be signed. No time is signed.
// - Both families of headers are known under both names here: with `shopify-hmac-sha256` there and not
//   empty, `x-shopify-hmac-sha256` is not looked at, and nothing falls back.
// - Four more headers must be there and not be empty, else "missing_headers" although the signature is
//   right: `x-shopify-topic`, `-shop-domain`, `-api-version` and `-webhook-id`, or the same with `shopify-`.
//   What sign answers has them.
// - Names of headers in any case. Base64 is compared as text: without its padding it fails.
class Shopify {
  constructor(prefix) {
    this.prefix = prefix;
  }

  async sign({ secret, body }) {
    return {
      [`${this.prefix}-hmac-sha256`]: await createSHA256HMAC(secret, text(body), HashFormat.Base64),
      [`${this.prefix}-topic`]: "orders/create",
      [`${this.prefix}-shop-domain`]: "example.myshopify.com",
      [`${this.prefix}-api-version`]: "2026-07",
      [`${this.prefix}-webhook-id`]: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    };
  }

  async verify({ secret, body, given }) {
    const library = shopifyApi({
      apiKey: "key",
      apiSecretKey: secret,
      apiVersion: ApiVersion.July26,
      hostName: "example.com",
      isEmbeddedApp: false,
      logger: { log: () => {} },
    });
    const rawRequest = { method: "POST", url: "/", headers: given };
    const found = await library.webhooks.validate({ rawBody: text(body), rawRequest });
    if (!found.valid) throw new Error([found.reason, ...(found.missingHeaders ?? [])].join(" "));
    return true;
  }
}

const providers = {
  github: new GitHub("x-hub-signature-256"),
  bitbucket: new GitHub("x-hub-signature"),
  linear: new Linear(),
  shopify: new Shopify("x-shopify"),
  shopify_events: new Shopify("shopify"),
};

async function sign(provider, request) {
  try {
    return { headers: await provider.sign(request) };
  } catch (error) {
    return { headers: null, error: `${error.name}: ${error.message}` };
  }
}

async function verify(provider, request) {
  const clock = Date.now;
  Date.now = () => request.timestamp * 1000;
  try {
    return (await provider.verify(request)) ? { ok: true } : { ok: false, error: "answered false" };
  } catch (error) {
    return { ok: false, error: `${error.name}: ${error.message}` };
  } finally {
    Date.now = clock;
  }
}

async function answer(line) {
  try {
    const request = JSON.parse(line);
    const provider = providers[request.provider];
    if (!provider) throw new Error(`no provider ${request.provider}`);
    request.body = Buffer.from(request.body, "base64");
    request.given = request.headers ?? {};
    const lower = Object.entries(request.given).map(([name, value]) => [name.toLowerCase(), value]);
    request.headers = Object.fromEntries(lower);
    if (request.do === "sign") return await sign(provider, request);
    if (request.do === "verify") return await verify(provider, request);
    throw new Error(`cannot do ${request.do}`);
  } catch (error) {
    return { fault: `${error.name}: ${error.message}` };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
