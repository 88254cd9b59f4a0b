// Checks a receipt in the browser: a compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037), signed by the key that a
// backend's attested keyset names. What is proven and what is not: `checkReceipt`.

/** Longest receipt that is looked at, characters. */
const MAX_TOKEN = 8192;
const RECEIPT_TYPE = "cocoon-receipt+jwt";
/** nanoTON prices are for so many tokens. */
const PER_TOKENS = 1_000_000n;
const CLASSES = ["prompt", "cached", "completion", "reasoning"];

/** Why a receipt is not believed. */
export class Refused extends Error {}
/** Why it could not be checked: that says nothing about the receipt. */
export class NotChecked extends Error {}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function bytesOfBase64(text, what) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new Refused(`${what} is not base64.`);
  }
}

function bytesOfBase64Url(text, what) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new Refused(`${what} is not base64url.`);
  const bytes = bytesOfBase64(text.replaceAll("-", "+").replaceAll("_", "/"), what);
  // One signature has one spelling.
  if (base64Url(bytes) !== text) throw new Refused(`${what} is not base64url as it must be written.`);
  return bytes;
}

const base64Url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function json(bytes, what) {
  try {
    const value = JSON.parse(utf8.decode(bytes));
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw new Refused(`${what} is not a JSON object.`);
}

/** The parts of a receipt, nothing of which is proven yet. */
export function parse(token) {
  if (typeof token !== "string" || token.length > MAX_TOKEN) throw new Refused("It is too long for a receipt.");
  const parts = token.split(".");
  if (parts.length !== 3) throw new Refused("It is not a JWS of three parts.");
  const header = json(bytesOfBase64Url(parts[0], "The header"), "The header");
  if (header.alg !== "EdDSA" || header.typ !== RECEIPT_TYPE || header.crit !== undefined) {
    throw new Refused("Its header is not that of a receipt.");
  }
  return {
    kid: header.kid,
    claims: json(bytesOfBase64Url(parts[1], "The receipt"), "The receipt"),
    signed: new TextEncoder().encode(`${parts[0]}.${parts[1]}`),
    signature: bytesOfBase64Url(parts[2], "The signature"),
  };
}

/** The receipt key of the keyset in `document`, once the keyset's SHA-256 is `digest`. */
async function receiptKey(document, digest) {
  const bytes = bytesOfBase64(typeof document?.keyset === "string" ? document.keyset : "", "The keyset");
  if (hex(await crypto.subtle.digest("SHA-256", bytes)) !== digest) {
    throw new Refused("The keyset that the gateway gave is not the one that the receipt names.");
  }
  const key = json(bytes, "The keyset").receipt_key;
  if (key?.kty !== "OKP" || key.crv !== "Ed25519" || typeof key.x !== "string") {
    throw new Refused("The keyset names no Ed25519 key for receipts.");
  }
  // RFC 7638: these members, in this order, without a space.
  const canonical = new TextEncoder().encode(`{"crv":"Ed25519","kty":"OKP","x":"${key.x}"}`);
  const thumbprint = base64Url(new Uint8Array(await crypto.subtle.digest("SHA-256", canonical)));
  const raw = bytesOfBase64Url(key.x, "The receipt key");
  if (raw.length !== 32) throw new Refused("The keyset's key for receipts is not an Ed25519 key.");
  return { thumbprint, raw };
}

async function imported(raw) {
  try {
    return await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
  } catch {
    throw new NotChecked("This browser cannot check Ed25519 signatures.");
  }
}

/** What the tokens cost at the receipt's own prices: one rounding, down. */
function costOf({ usage, price }) {
  const parts = CLASSES.map((name) => {
    if (!Number.isSafeInteger(usage?.[name]) || usage[name] < 0) throw new Refused(`It does not say how many ${name} tokens.`);
    if (!/^[0-9]{1,20}$/.test(price?.[name] ?? "")) throw new Refused(`It does not say the price of ${name} tokens.`);
    return BigInt(usage[name]) * BigInt(price[name]);
  });
  return parts.reduce((sum, part) => sum + part, 0n) / PER_TOKENS;
}

/** Whether what the gateway lists for a request is what its receipt says. */
function compare(claims, listed) {
  const said = [
    ["id", claims.jti, listed.receipt_id],
    ["model", claims.model, listed.model],
    ["way to end", claims.finish, listed.finish],
    ...CLASSES.map((name) => [`number of ${name} tokens`, claims.usage[name], listed.usage[name]]),
  ];
  const other = said.find(([, one, two]) => one !== two);
  if (other) throw new Refused(`The gateway lists another ${other[0]} (${other[2]}) than the receipt says (${other[1]}).`);
  // Less is charged where the account had no more.
  if (BigInt(listed.cost) > BigInt(claims.cost)) {
    throw new Refused(`The gateway charged ${listed.cost} nanoTON, and the receipt says ${claims.cost}.`);
  }
}

/**
 * Checks the receipt of a listed request. `documentOf` fetches the attestation document of a keyset by its digest.
 *
 * Proven by what this gives back: the receipt was signed by the key in the keyset that it names, nothing of it was changed
 * since, it is for what the gateway lists, its cost is what its tokens cost at its prices, and no more was charged.
 * Not proven: that the keyset belongs to an attested machine (the gateway checked that, not this page), and that the
 * hashes are those of the question and the answer (this page has neither).
 *
 * Throws `Refused` where the receipt is not to be believed, `NotChecked` where this could not be found out.
 */
export async function checkReceipt(token, listed, documentOf) {
  if (!globalThis.crypto?.subtle) {
    throw new NotChecked("This browser only checks signatures on pages that come over HTTPS or from this machine.");
  }
  const { kid, claims, signed, signature } = parse(token);
  if (!/^[0-9a-f]{64}$/.test(claims.iss ?? "")) throw new Refused("It names no keyset.");
  let document;
  try {
    document = await documentOf(claims.iss);
  } catch (error) {
    throw new NotChecked(`The keyset that it names could not be fetched: ${error.message}`);
  }
  const { thumbprint, raw } = await receiptKey(document, claims.iss);
  if (kid !== thumbprint) throw new Refused("It names another key than the keyset's.");
  const key = await imported(raw);
  if (!(await crypto.subtle.verify("Ed25519", key, signature, signed))) {
    throw new Refused("The signature does not verify: the receipt was changed, or another key signed it.");
  }
  if (claims.final !== true) throw new Refused("It is not final.");
  if (String(costOf(claims)) !== claims.cost) throw new Refused("Its cost is not what its tokens cost at its prices.");
  compare(claims, listed);
  return { claims, tee: document.tee, kid };
}
