// A FIXTURE: answers in the shapes of the billing and key API for states that a real account hardly gets into: names that
// are markup, balances beyond 2^53, nothing at all, one endpoint that fails. Real answers are in `dashboard.mjs`.

import { createHash, generateKeyPairSync, sign } from "node:crypto";

export const KEY = "sk-cocoon-fixture-key-0123456789";
export const HOSTILE = '<img src=x onerror="document.title=\'owned\'"> & <script>alert(1)</script>';
const HOUR = 3600;
const DAY = 86_400;
const now = () => Math.floor(Date.now() / 1000);

const base64Url = (value) => Buffer.from(value).toString("base64url");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A backend that signs receipts as ours do. */
function signer() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { x } = publicKey.export({ format: "jwk" });
  const kid = createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
  const keyset = Buffer.from(JSON.stringify({ version: 1, receipt_key: { kty: "OKP", crv: "Ed25519", x, kid } }));
  const digest = sha256(keyset);
  const document = { tee: "dev", keyset: keyset.toString("base64"), devices: "", quote: "" };
  return {
    digest, document,
    receipt(claims) {
      const head = base64Url(JSON.stringify({ typ: "cocoon-receipt+jwt", alg: "EdDSA", kid }));
      const body = base64Url(JSON.stringify({ iss: digest, final: true, complete: true, ...claims }));
      return `${head}.${body}.${base64Url(sign(null, Buffer.from(`${head}.${body}`), privateKey))}`;
    },
  };
}

const MODELS = ["smollm2-135m-instruct", "qwen3-32b", "llama-3.3-70b-instruct", HOSTILE, "gemma-3-27b", "mistral-small", "phi-4", "deepseek-r1"];
const KEYS = [["key_01", "Production"], ["key_02", "Laptop of Ada"], ["key_03", HOSTILE]];
const PRICE = { table: 1, prompt: "20000000", cached: "5000000", completion: "60000000", reasoning: "60000000" };

const SPENT = { daily: "849002547", weekly: "2600000001", monthly: "8654321099", total: "8654321099" };
/** What is left of an account's limits. */
export const LIMITS = {
  rpm: 600, tpm: null, concurrency: 8, budget: { amount: "40000000000", period: "month" },
  used: {
    spent: SPENT, running: 3, requests: { limit: 600, remaining: 588, reset_ms: 1200 }, tokens: null,
    budget: { spent: "8654321099", held: "45000000", remaining: "31300678901", resets_at: now() + 9 * DAY },
  },
};
export const NO_LIMITS = {
  rpm: null, tpm: null, concurrency: null, budget: null, used: { spent: SPENT, running: 0, requests: null, tokens: null, budget: null },
};

/** The answers of an account; `change` lays others over them, by path. */
export function fixture(change = {}) {
  const backend = signer();
  const asked = [];
  const state = { revoked: new Set(), made: 0 };
  const request = (index) => {
    const usage = { prompt: 40 + index * 7, cached: index % 3 === 0 ? 16 : 0, completion: 120 + index, reasoning: index % 4 === 0 ? 30 : 0 };
    const cost = Object.entries(usage).reduce((sum, [name, tokens]) => sum + BigInt(tokens) * BigInt(PRICE[name]), 0n) / 1_000_000n;
    const created = now() - 60 - index * 1234;
    const model = MODELS[index % MODELS.length];
    const finish = index % 5 === 0 ? "length" : "stop";
    const jti = `0199aa00-0000-7000-8000-${String(index).padStart(12, "0")}`;
    const claims = { jti, iat: created, model, usage, price: PRICE, cost: String(cost), finish, started: created * 1000 - 900, finished: created * 1000 };
    const receipt = backend.receipt(claims);
    return {
      id: `0199bb00-0000-7000-8000-${String(index).padStart(12, "0")}`, receipt_id: jti, created, model,
      api_key_id: KEYS[index % KEYS.length][0], project_id: "default", cost: String(cost), finish,
      usage,
      privacy: index % 2 === 0 ? "sealed" : "gateway",
      receipt: index === 1 ? tampered(receipt) : index === 9 ? null : receipt,
    };
  };
  const requests = Array.from({ length: 30 }, (_, index) => request(index));
  const answers = {
    "/v1/key": () => ({ data: {
      label: "key_09", id: "key_09", account: "alice", project: null, scope: "admin", models: null, sealed_only: false, expires_at: null,
      limits: [{ of: "account", id: "alice", ...LIMITS }],
      usage_nano: SPENT,
    } }),
    "/v1/credits": () => ({ data: {
      balance: "12345678901", held: "45000000", available: "12300678901", deposited: "20000000000", granted: "1000000000", charged: "8654321099",
      topup: { address: "EQD__________________________________________0vo", comment: "acct-7f3a", link: "ton://transfer/EQD__________________________________________0vo?text=acct-7f3a" },
    } }),
    "/v1/requests": (url) => {
      const after = url.searchParams.get("after");
      const limit = Number(url.searchParams.get("limit"));
      const from = after ? requests.findIndex(({ id }) => id === after) + 1 : 0;
      const data = requests.slice(from, from + limit);
      return { object: "list", data, has_more: from + limit < requests.length, last_id: data.at(-1)?.id ?? null };
    },
    "/v1/organization/costs": spent,
    "/v1/organization/usage/completions": spent,
    // No money of its own, so that the sums are those of the other two.
    "/v1/organization/usage/embeddings": (url) => {
      const page = spent(url);
      return { ...page, data: page.data.map((bucket) => ({ ...bucket, results: [] })) };
    },
    "/v1/organization/limits": () => ({ object: "organization.limits", ...LIMITS }),
    "/v1/organization/projects/research/limits": () => ({ object: "organization.project.limits", project_id: "research", ...NO_LIMITS }),
    "/v1/organization/projects": () => ({ object: "list", data: [{ id: "default" }, { id: "research" }], has_more: false }),
    "/v1/organization/projects/default/api_keys": () => ({ object: "list", has_more: false, last_id: "key_01", data: KEYS.map(([id, name], index) => ({
      id, name, object: "organization.project.api_key", redacted_value: `sk-cocoon-…${id.slice(-4)}`, created_at: now() - DAY * (index + 1),
      expires_at: index === 1 ? now() + 30 * DAY : null, revoked_at: state.revoked.has(id) ? now() - 1 : null, models: index === 2 ? [HOSTILE] : null,
      rpm: index === 0 ? 60 : null, tpm: null, concurrency: null, budget: index === 0 ? { amount: "5000000000", period: "month" } : null,
      sealed_only: index === 1, project_id: "default",
    })) }),
    "/v1/organization/admin_api_keys": () => ({ object: "list", has_more: false, last_id: "key_09", data: [{
      id: "key_09", name: "Administrator", object: "organization.admin_api_key", redacted_value: "sk-cocoon-…y_09", created_at: now() - 9 * DAY, expires_at: null, revoked_at: null,
    }] }),
    "/v1/organization/projects/research/api_keys": () => ({ object: "list", data: [], has_more: false, last_id: null }),
    ...change,
  };
  return {
    asked, backend, requests,
    /** What would be answered for a path. */
    plain: (path, url) => answers[path](url),
    /** Answers one intercepted request. */
    async answer(route) {
      const asking = route.request();
      const url = new URL(asking.url());
      asked.push({ method: asking.method(), path: url.pathname, query: url.search, headers: asking.headers(), body: asking.postData() });
      const known = /^\/v1\/attestation\//.test(url.pathname) ? () => backend.document : answers[url.pathname];
      if (asking.method() === "DELETE") {
        state.revoked.add(url.pathname.split("/").at(-1));
        return await route.fulfill({ json: { deleted: true } });
      }
      if (asking.method() === "POST") {
        state.made += 1;
        return await route.fulfill({ json: { id: `key_new_${state.made}`, value: `sk-cocoon-made-by-the-fixture-${state.made}` } });
      }
      const answer = (await known?.(url)) ?? refusal(404, "Invalid URL");
      if (answer === "never") return await new Promise(() => {});
      return answer.status ? await route.fulfill({ status: answer.status, json: answer.json }) : await route.fulfill({ json: answer });
    },
  };
}

/** An error in OpenAI's shape. */
export const refusal = (status, message) => ({ status, json: { error: { message, type: "invalid_request_error", param: null, code: null } } });

/** One more token than was signed for. */
export function tampered(receipt) {
  const [head, body, signature] = receipt.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  claims.usage.completion += 1;
  return [head, base64Url(JSON.stringify(claims)), signature].join(".");
}

/** Costs are by day and name a model as a line item; usage is by hour too. */
function spent(url) {
  const costs = url.pathname.endsWith("/costs");
  const query = url.searchParams;
  const width = { "1h": HOUR, "1d": DAY }[query.get("bucket_width")];
  const group = query.get("group_by[]");
  const start = Number(query.get("start_time"));
  const data = Array.from({ length: Number(query.get("limit")) }, (_, index) => {
    const begin = start + index * width;
    const names = group === "api_key_id" ? KEYS.map(([id]) => id) : group === (costs ? "line_item" : "model") ? MODELS : [null];
    const results = index % 5 === 4 ? [] : names.map((name, which) => {
      const nano = BigInt(((index * 37 + which * 53) % 91) * 1_000_003 * (which + 1));
      const paid = costs ? { amount: { value: Number(nano) / 1e9, currency: "ton", nano: String(nano) } } : { cost: String(nano) };
      return { ...paid, ...(group ? { [group]: name } : {}) };
    });
    return { object: "bucket", start_time: begin, end_time: begin + width, results };
  }).filter(({ start_time: begin }) => begin <= now());
  return { object: "page", data, has_more: false, next_page: null };
}
