// Each operation of Registry, by each kind of sender, with and without a policy that waits.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ok, testAccess } from './support/access.mjs';
import { Chain } from './support/chain.mjs';
import { ERROR, OP, OWNER, POLICY_DELAY, PUBLISHER, Registry, STRANGER, hashOf } from './support/registry.mjs';

const SENDERS = { owner: OWNER, publisher: PUBLISHER, stranger: STRANGER };

const all = (code) => [code, code, code];
const owner = (code) => [code, ERROR.notOwner, ERROR.notOwner];
const publisher = [ERROR.notPublisher, ok, ERROR.notPublisher];
const { nothingPending, tooEarly } = ERROR;

/** What they are told. Still: no policy waits. Waiting: a second before its time. Due: at its time. */
const TOLD = {
  ProposePolicy: { still: owner(ok), waiting: owner(ok), due: owner(ok) },
  ActivatePolicy: { still: all(nothingPending), waiting: all(tooEarly), due: all(ok) },
  CancelPolicy: { still: owner(nothingPending), waiting: owner(ok), due: owner(ok) },
  SetPrices: { still: owner(ok), waiting: owner(ok), due: owner(ok) },
  SetGateways: { still: owner(ok), waiting: owner(ok), due: owner(ok) },
  SetChannelCode: { still: owner(ok), waiting: owner(ok), due: owner(ok) },
  SetPublisher: { still: owner(ok), waiting: owner(ok), due: owner(ok) },
  AppendRoot: { still: publisher, waiting: publisher, due: publisher },
};
const FIELDS = { version: 2, number: 1, hash: hashOf('new'), publisher: STRANGER, epoch: 2, root: hashOf('second') };

let chain;
let registry;
const snapshots = {};

before(async () => {
  chain = await Chain.create();
  registry = new Registry(chain);
  await registry.send('AppendRoot', { from: PUBLISHER, epoch: 1, root: hashOf('first') });
  snapshots.still = chain.snapshot();
  await registry.send('ProposePolicy', { from: OWNER, version: 1, hash: hashOf('policy') });
  chain.now += POLICY_DELAY - 1;
  snapshots.waiting = chain.snapshot();
  chain.now += 1;
  snapshots.due = chain.snapshot();
});

testAccess(TOLD, SENDERS, () => ({ chain, contract: registry, snapshots }), FIELDS, async () => {
  assert.ok((await registry.balance()) >= (await registry.rentReserve()));
});

test('the table has every operation', () => {
  assert.deepEqual(Object.keys(TOLD), Object.keys(OP));
});
