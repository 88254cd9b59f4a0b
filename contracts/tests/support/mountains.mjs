// A Merkle mountain range by its definition (README.md): built whole from all leaves, not by appending.

import { createHash } from 'node:crypto';

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest();
const number = (bytes) => BigInt(`0x${bytes.toString('hex')}`);
const bytes = (value) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex');

export function leaf(epoch, root) {
  const counted = Buffer.alloc(4);
  counted.writeUInt32BE(epoch);
  return number(sha256(Buffer.of(2), counted, bytes(root)));
}

export const node = (left, right) => number(sha256(Buffer.of(3), bytes(left), bytes(right)));

/** The root of a perfect tree over `leaves`. */
function tree(leaves) {
  if (leaves.length === 1) return leaves[0];
  return node(tree(leaves.slice(0, leaves.length / 2)), tree(leaves.slice(leaves.length / 2)));
}

/** Where each mountain begins and how many leaves it has: the powers of two in `count`, the largest first. */
function mountains(count) {
  const ranges = [];
  let begin = 0;
  for (let size = 2 ** 31; size >= 1; size /= 2) {
    if (Math.floor(count / size) % 2 === 1) {
      ranges.push({ begin, size });
      begin += size;
    }
  }
  return ranges;
}

/** The peaks over the roots of epochs 1, 2 and so on, the smallest mountain first. */
export function peaks(roots) {
  const leaves = roots.map((root, index) => leaf(index + 1, root));
  return mountains(roots.length).map(({ begin, size }) => tree(leaves.slice(begin, begin + size))).reverse();
}

/** What proves the root of `epoch`: its siblings from the leaf up. */
export function path(roots, epoch) {
  const leaves = roots.map((root, index) => leaf(index + 1, root));
  const index = epoch - 1;
  const mountain = mountains(roots.length).find(({ begin, size }) => index >= begin && index < begin + size);
  let [begin, size] = [mountain.begin, mountain.size];
  const siblings = [];
  while (size > 1) {
    size /= 2;
    const inRight = index >= begin + size;
    siblings.unshift(tree(inRight ? leaves.slice(begin, begin + size) : leaves.slice(begin + size, begin + 2 * size)));
    if (inRight) begin += size;
  }
  return siblings;
}

/** Whether `siblings` prove that `root` is that of `epoch`, by nothing but the last epoch and the peaks on the chain. */
export function proves(siblings, epoch, root, lastEpoch, peaksOnChain) {
  const ranges = mountains(lastEpoch);
  const which = ranges.findIndex(({ begin, size }) => epoch > begin && epoch <= begin + size);
  if (which < 0 || 2 ** siblings.length !== ranges[which].size) return false;
  let position = epoch - 1 - ranges[which].begin;
  let hash = leaf(epoch, root);
  for (const sibling of siblings) {
    hash = position % 2 === 1 ? node(sibling, hash) : node(hash, sibling);
    position = Math.floor(position / 2);
  }
  return hash === peaksOnChain[ranges.length - 1 - which];
}
