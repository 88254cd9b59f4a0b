// The roots of epochs: appended in order, by number, and provable for ever from the peaks alone.

import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { Chain } from './support/chain.mjs';
import { path, peaks, proves } from './support/mountains.mjs';
import { ERROR, PUBLISHER, Registry, hashOf } from './support/registry.mjs';

const MANY = 130;

let chain;
let registry;
let begun;

before(async () => {
  chain = await Chain.create();
  registry = new Registry(chain);
  for (let epoch = 1; epoch <= 3; epoch += 1) await append(epoch);
  begun = chain.snapshot();
});
beforeEach(() => chain.restore(begun));

const root = (epoch) => hashOf(`epoch ${epoch}`);
const append = (epoch, content = root(epoch)) => registry.send('AppendRoot', { from: PUBLISHER, epoch, root: content });

test('an epoch that is skipped, repeated or out of order is refused', async () => {
  for (const epoch of [0, 1, 2, 3, 5, 2 ** 32 - 1]) assert.equal((await append(epoch)).exitCode, ERROR.epoch, `${epoch}`);
  assert.ok((await append(4)).accepted);
  assert.equal((await append(4, root('another'))).exitCode, ERROR.epoch);
});

test(`after each of ${MANY} epochs the peaks are those of a range built whole, and few`, async () => {
  const roots = [1, 2, 3].map(root);
  for (let epoch = 4; epoch <= MANY; epoch += 1) {
    roots.push(root(epoch));
    assert.ok((await append(epoch)).accepted);
    const onChain = await registry.epochs();
    assert.deepEqual(onChain, { lastEpoch: epoch, peaks: peaks(roots) });
    assert.ok(onChain.peaks.length <= Math.ceil(Math.log2(epoch + 1)));
  }
});

test('every epoch is proved by its path, and no other root, epoch or path is', async () => {
  const roots = [1, 2, 3].map(root);
  for (let epoch = 4; epoch <= 13; epoch += 1) {
    roots.push(root(epoch));
    await append(epoch);
  }
  const { lastEpoch, peaks: onChain } = await registry.epochs();
  for (let epoch = 1; epoch <= lastEpoch; epoch += 1) {
    const siblings = path(roots, epoch);
    assert.ok(proves(siblings, epoch, root(epoch), lastEpoch, onChain), `${epoch}`);
    assert.ok(!proves(siblings, epoch, root(epoch + 1), lastEpoch, onChain));
    assert.ok(!proves(siblings, (epoch % lastEpoch) + 1, root(epoch), lastEpoch, onChain));
    assert.ok(!proves([...siblings, 0n], epoch, root(epoch), lastEpoch, onChain));
  }
});

test('the same root in another epoch is another leaf', async () => {
  await append(4, root(3));
  const { peaks: onChain } = await registry.epochs();
  assert.deepEqual(onChain, peaks([root(1), root(2), root(3), root(3)]));
  assert.notDeepEqual(onChain, peaks([root(1), root(2), root(4), root(3)]));
});
