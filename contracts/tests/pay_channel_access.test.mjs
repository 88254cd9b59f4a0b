// Each operation of PayChannel, by each kind of sender, in each state.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Chain } from './support/chain.mjs';
import { DAY, ERROR, OP, PAYER, PayChannel, RECEIVER, STRANGER, TON } from './support/pay_channel.mjs';
import { assertCovered } from './support/invariants.mjs';

const SENDERS = { payer: PAYER, receiver: RECEIVER, stranger: STRANGER };
const { state, notPayer, notReceiver, tooEarly, amount } = ERROR;
const ok = 0;

/** What payer, receiver and a stranger are told: 0 where the operation is theirs. */
const TOLD = {
  //                new: nothing deposited                 open                               closing                             due: closing, at close_at            closed
  Deposit:        { new: [ok, ok, ok],                     open: [ok, ok, ok],                closing: [state, state, state],     due: [state, state, state],           closed: [state, state, state] },
  Redeem:         { new: [notReceiver, amount, notReceiver], open: [notReceiver, ok, notReceiver], closing: [notReceiver, ok, notReceiver], due: [notReceiver, ok, notReceiver], closed: [state, state, state] },
  RedeemAndClose: { new: [notReceiver, amount, notReceiver], open: [notReceiver, ok, notReceiver], closing: [notReceiver, ok, notReceiver], due: [notReceiver, ok, notReceiver], closed: [state, state, state] },
  ReceiverClose:  { new: [notReceiver, ok, notReceiver],   open: [notReceiver, ok, notReceiver], closing: [notReceiver, ok, notReceiver], due: [notReceiver, ok, notReceiver], closed: [state, state, state] },
  PartialRefund:  { new: [notReceiver, amount, notReceiver], open: [notReceiver, ok, notReceiver], closing: [notReceiver, ok, notReceiver], due: [notReceiver, ok, notReceiver], closed: [state, state, state] },
  StartClose:     { new: [ok, notPayer, notPayer],         open: [ok, notPayer, notPayer],    closing: [state, state, state],     due: [state, state, state],           closed: [state, state, state] },
  Finalize:       { new: [state, state, state],            open: [state, state, state],       closing: [tooEarly, tooEarly, tooEarly], due: [ok, ok, ok],               closed: [state, state, state] },
  Sweep:          { new: [state, state, state],            open: [state, state, state],       closing: [state, state, state],     due: [state, state, state],           closed: [ok, notPayer, notPayer] },
};

let chain;
let channel;
const snapshots = {};

before(async () => {
  chain = await Chain.create();
  channel = new PayChannel(chain);
  snapshots.new = chain.snapshot();
  await channel.deposit(5n * TON);
  await channel.send('Redeem', { from: RECEIVER, amount: TON });
  snapshots.open = chain.snapshot();
  await channel.send('StartClose', { from: PAYER });
  chain.now += DAY - 1;
  snapshots.closing = chain.snapshot();
  chain.now += 1;
  snapshots.due = chain.snapshot();
  await channel.send('Finalize', { from: STRANGER });
  snapshots.closed = chain.snapshot();
});

for (const [op, byState] of Object.entries(TOLD)) {
  for (const [name, told] of Object.entries(byState)) {
    test(`${op} when ${name}`, async () => {
      for (const [index, who] of Object.keys(SENDERS).entries()) {
        await chain.restore(snapshots[name]);
        // A message that is refused still deploys, which gives nobody anything.
        const stored = (await chain.data(channel.address)) ?? channel.init.data;
        const balance = await channel.balance();
        const receipt = await channel.send(op, { from: SENDERS[who], amount: 2n * TON });
        assert.equal(receipt.exitCode, told[index], `${op} by ${who} when ${name}`);
        if (told[index] === ok) {
          assert.ok(receipt.accepted && receipt.actionCode === 0 && receipt.skippedActions === 0);
          await assertCovered(channel);
        } else {
          await assertRefused(receipt, SENDERS[who], stored, balance);
        }
      }
    });
  }
}

test('the table has every operation', () => {
  const answers = ['Paid', 'Refund', 'Excesses'];
  assert.deepEqual(Object.keys(TOLD), Object.keys(OP).filter((op) => !answers.includes(op)));
});

/** A refused message changes nothing, and its value goes back to where it came from. */
async function assertRefused(receipt, sender, stored, balance) {
  assert.ok(receipt.bounced);
  assert.deepEqual(receipt.sent.map(({ to }) => to.toString()), [sender.toString()]);
  assert.equal((await chain.data(channel.address)).toString(), stored.toString());
  assert.ok((await channel.balance()) >= balance - receipt.rent);
}
