// Checks that a receipt is in a published epoch, by the proof, the receipt and what the chain has. It shares no code
// with Cocoon: cells are @ton/core's, hashes are Node's, and the rules are those of docs/SETTLEMENT.md ("Epochs"),
// contracts/README.md ("The mountain range") and contracts/schema.tlb.
//
// COCOON_PROOF and COCOON_RECEIPT are files, COCOON_ENDPOINT an origin that answers as toncenter v2 does,
// COCOON_REGISTRY the raw address of the registry that is believed, COCOON_GLOBAL_ID the network's number.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Address, Cell } from '@ton/core';

/** Of Registry's code, as `contracts/build/registry.json` has it. */
const REGISTRY_CODE = '97784cd176f06e1dfd53574d8ca09a3ac6c98ca7466add303f97455fac1522f6';

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();

function require(holds, why) {
  if (!holds) throw new Error(why);
}

const digest = (text) => {
  require(/^[0-9a-f]{64}$/.test(text), 'not a SHA-256');
  return Buffer.from(text, 'hex');
};
const uint = (value, bytes) => {
  require(Number.isSafeInteger(value) && value >= 0, 'not a count');
  return Buffer.from(value.toString(16).padStart(2 * bytes, '0'), 'hex');
};

/** The root of RFC 6962's tree over `count` leaves (section 2.1.1, read from the root down). */
function treeRoot(leaf, position, count, siblings) {
  if (count === 1) {
    require(siblings.length === 0, 'too many siblings');
    return leaf;
  }
  require(siblings.length > 0, 'too few siblings');
  let split = 1;
  while (split * 2 < count) split *= 2;
  const [below, sibling] = [siblings.slice(0, -1), siblings.at(-1)];
  return position < split
    ? sha256(Buffer.of(1), treeRoot(leaf, position, split, below), sibling)
    : sha256(Buffer.of(1), sibling, treeRoot(leaf, position - split, count - split, below));
}

/** The peak that the siblings lead to, and which of the peaks it has to be. */
function climb(root, epoch, last, siblings) {
  let [begin, which] = [0, 0];
  for (let bit = 31; bit >= 0; bit -= 1) {
    const size = 2 ** bit;
    if (Math.floor(last / size) % 2 === 0) continue;
    if (epoch > begin && epoch <= begin + size) {
      require(siblings.length === bit, 'the proof is of another time, or was cut: make it anew');
      let position = epoch - 1 - begin;
      let hash = sha256(Buffer.of(2), uint(epoch, 4), root);
      for (const sibling of siblings) {
        hash = position % 2 === 1 ? sha256(Buffer.of(3), sibling, hash) : sha256(Buffer.of(3), hash, sibling);
        position = Math.floor(position / 2);
      }
      return { hash, which };
    }
    begin += size;
    which += 1;
  }
  throw new Error(`the registry has no epoch ${epoch}`);
}

async function ask(method, params) {
  const answer = await fetch(`${process.env.COCOON_ENDPOINT}/api/v2/jsonRPC`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  });
  const { ok, result, error } = await answer.json();
  require(ok, `${method}: ${error}`);
  return result;
}

/** The last epoch and the peaks, the largest mountain first, from the registry's own cells. */
async function registryOnChain(address) {
  const account = await ask('getAddressInformation', { address });
  require(account.state === 'active', 'the registry is not deployed');
  require(Cell.fromBase64(account.code).hash().toString('hex') === REGISTRY_CODE, 'the code is not the registry\'s');
  const storage = Cell.fromBase64(account.data).beginParse();
  storage.loadAddress();
  storage.loadAddress();
  const last = storage.loadUint(32);
  const peaks = [];
  for (let next = storage.loadMaybeRef(); next;) {
    const peak = next.beginParse();
    peaks.unshift(peak.loadBuffer(32));
    next = peak.loadMaybeRef();
    peak.endParse();
  }
  return { last, peaks };
}

async function networkOnChain() {
  const { config } = await ask('getConfigParam', { config_id: 19 });
  return Cell.fromBase64(config.bytes).beginParse().loadInt(32);
}

async function verify() {
  const proof = JSON.parse(readFileSync(process.env.COCOON_PROOF, 'utf8'));
  const receipt = sha256(Buffer.from(readFileSync(process.env.COCOON_RECEIPT, 'utf8').trim()));
  require(proof.format === 'cocoon-epoch-proof/1', 'another format');
  require(proof.receipt === receipt.toString('hex'), 'the proof is of another receipt');

  const global = Number(process.env.COCOON_GLOBAL_ID);
  require(proof.global_id === global && await networkOnChain() === global, 'another network');
  const registry = Address.parse(process.env.COCOON_REGISTRY);
  require(Address.parse(proof.registry).equals(registry), 'another registry');

  const { epoch, count, position } = proof;
  require(position < count, 'no such position');
  const leaf = sha256(Buffer.of(0), receipt);
  const tree = treeRoot(leaf, position, count, proof.siblings.map(digest));
  const root = sha256(Buffer.of(4), uint(epoch, 4), uint(count, 8), digest(proof.cuts), tree);
  const { last, peaks } = await registryOnChain(registry.toRawString());
  const { hash, which } = climb(root, epoch, last, proof.mountain.map(digest));
  require(peaks[which]?.equals(hash), 'it does not lead to what the registry has');
  return { proved: true, epoch, position, of: count, last };
}

try {
  console.log(JSON.stringify(await verify()));
} catch (error) {
  console.log(JSON.stringify({ refused: error.message }));
}
