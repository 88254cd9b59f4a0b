// Sealing done by other code than ours: @hpke/core and @hpke/hybridkem-x-wing for requests, Node.js' own cryptography
// for the frames of a response. Written from EHBP's specification.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

const asked = JSON.parse(process.env.COCOON_INTEROP);
const kem = { X25519: () => new DhkemX25519HkdfSha256(), XWing: () => new XWing() }[asked.kem]();
const suite = new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const info = new TextEncoder().encode("ehbp request");

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const text = (bytes) => Buffer.from(bytes).toString();

function frame(ciphertext) {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(ciphertext.byteLength);
  return Buffer.concat([prefix, Buffer.from(ciphertext)]);
}

function frames(body) {
  const found = [];
  for (let at = 0; at < body.length; ) {
    const length = Buffer.from(body).readUInt32BE(at);
    if (length > 0) found.push(body.slice(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return found;
}

// An empty frame, as the specification allows one anywhere.
const joined = (all) => hex(Buffer.concat([all[0], Buffer.alloc(4), ...all.slice(1)]));

function responseKeys(secret, encapsulatedKey, nonce) {
  const salt = Buffer.concat([Buffer.from(encapsulatedKey), Buffer.from(nonce)]);
  const derive = (label, length) => Buffer.from(hkdfSync("sha256", secret, salt, label, length));
  const [key, base] = [derive("key", 32), derive("nonce", 12)];
  return (number) => {
    const iv = Buffer.from(base);
    iv[11] ^= number;
    return ["aes-256-gcm", key, iv];
  };
}

async function exportSecret(context) {
  return Buffer.from(await context.export(new TextEncoder().encode("ehbp response"), 32));
}

// As a backend: opens the request, and seals a response to it.
async function answer({ private_key, encapsulated_key, body, response }) {
  const recipientKey = await kem.deserializePrivateKey(bytes(private_key).buffer);
  const context = await suite.createRecipientContext({ recipientKey, enc: bytes(encapsulated_key).buffer, info });
  const opened = [];
  for (const ciphertext of frames(bytes(body))) opened.push(text(await context.open(ciphertext)));
  const nonce = randomBytes(32);
  const keys = responseKeys(await exportSecret(context), bytes(encapsulated_key), nonce);
  const sealed = response.map((piece, number) => {
    const cipher = createCipheriv(...keys(number));
    return frame(Buffer.concat([cipher.update(piece), cipher.final(), cipher.getAuthTag()]));
  });
  return { opened, nonce: hex(nonce), body: joined(sealed) };
}

// As a client: seals a request. The secret, too, is given back: the response comes to another run of this script.
async function ask({ public_key, request }) {
  const recipientPublicKey = await kem.deserializePublicKey(bytes(public_key).buffer);
  const context = await suite.createSenderContext({ recipientPublicKey, info });
  const sealed = [];
  for (const piece of request) sealed.push(frame(await context.seal(new TextEncoder().encode(piece))));
  const secret = hex(await exportSecret(context));
  return { encapsulated_key: hex(context.enc), body: joined(sealed), secret };
}

// As a client: opens the response.
function read({ secret, encapsulated_key, nonce, body }) {
  const keys = responseKeys(bytes(secret), bytes(encapsulated_key), bytes(nonce));
  const opened = frames(bytes(body)).map((sealed, number) => {
    const decipher = createDecipheriv(...keys(number));
    decipher.setAuthTag(sealed.slice(-16));
    return text(Buffer.concat([decipher.update(sealed.slice(0, -16)), decipher.final()]));
  });
  return { opened };
}

console.log(JSON.stringify(await { answer, ask, read }[asked.step](asked)));
