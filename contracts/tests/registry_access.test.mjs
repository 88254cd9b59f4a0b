// Each operation of Registry, by each kind of sender, with and without a policy that waits.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Chain } from './support/chain.mjs';
import { ERROR, OP, OWNER, POLICY_DELAY, PUBLISHER, Registry, STRANGER, hashOf } from './support/registry.mjs';

const SENDERS = { owner: OWNER, publisher: PUBLISHER, stranger: STRANGER };
const { notOwner, notPublisher, nothingPending, tooEarly } = ERROR;
const ok = 0;
const byOwner = [ok, notOwner, notOwner];

/** What owner, publisher and a stranger are told: 0 where the operation is theirs. */
const TOLD = {
  //                nothing waits                                               a policy waits                          it may be activated
  ProposePolicy:  { still: byOwner,                                             waiting: byOwner,                       due: byOwner },
  ActivatePolicy: { still: [nothingPending, nothingPending, nothingPending],    waiting: [tooEarly, tooEarly, tooEarly], due: [ok, ok, ok] },
  CancelPolicy:   { still: [nothingPending, notOwner, notOwner],                waiting: byOwner,                       due: byOwner },
  SetPrices:      { still: byOwner,                                             waiting: byOwner,                       due: byOwner },
  SetGateways:    { still: byOwner,                                             waiting: byOwner,                       due: byOwner },
  SetChannelCode: { still: byOwner,                                             waiting: byOwner,                       due: byOwner },
  SetPublisher:   { still: byOwner,                                             waiting: byOwner,                       due: byOwner },
  AppendRoot:     { still: [notPublisher, ok, notPublisher],                    waiting: [notPublisher, ok, notPublisher], due: [notPublisher, ok, notPublisher] },
};

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

for (const [op, byState] of Object.entries(TOLD)) {
  for (const [name, told] of Object.entries(byState)) {
    test(`${op} when ${name}`, async () => {
      for (const [index, who] of Object.keys(SENDERS).entries()) {
        await chain.restore(snapshots[name]);
        const stored = await chain.data(registry.address);
        const balance = await registry.balance();
        const fields = { version: 2, number: 1, hash: hashOf('new'), publisher: STRANGER, epoch: 2, root: hashOf('second') };
        const receipt = await registry.send(op, { from: SENDERS[who], ...fields });
        assert.equal(receipt.exitCode, told[index], `${op} by ${who} when ${name}`);
        assert.deepEqual(receipt.sent.map(({ to }) => to.toString()), [SENDERS[who].toString()]);
        if (told[index] === ok) {
          assert.ok(receipt.accepted && receipt.actionCode === 0 && !receipt.sent[0].bounce);
          assert.notEqual((await chain.data(registry.address)).toString(), stored.toString());
          assert.ok((await registry.balance()) >= (await registry.rentReserve()));
        } else {
          assert.ok(receipt.bounced);
          assert.equal((await chain.data(registry.address)).toString(), stored.toString());
          assert.ok((await registry.balance()) >= balance - receipt.rent);
        }
      }
    });
  }
}

test('the table has every operation', () => {
  assert.deepEqual(Object.keys(TOLD), Object.keys(OP));
});
