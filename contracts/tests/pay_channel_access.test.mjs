// Each operation of PayChannel, by each kind of sender, in each state.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { ok, testAccess } from './support/access.mjs';
import { Chain } from './support/chain.mjs';
import { assertCovered } from './support/invariants.mjs';
import { DAY, ERROR, OP, PAYER, PayChannel, RECEIVER, STRANGER, TON } from './support/pay_channel.mjs';

const SENDERS = { payer: PAYER, receiver: RECEIVER, stranger: STRANGER };

const all = (code) => [code, code, code];
const payer = (code) => [code, ERROR.notPayer, ERROR.notPayer];
const receiver = (code) => [ERROR.notReceiver, code, ERROR.notReceiver];
const state = all(ERROR.state);
const { amount, tooEarly } = ERROR;

/** What they are told. New: nothing is deposited yet. Closing: a second before close_at. Due: at close_at. */
const TOLD = {
  Deposit: { new: all(ok), open: all(ok), closing: state, due: state, closed: state },
  Redeem: { new: receiver(amount), open: receiver(ok), closing: receiver(ok), due: receiver(ok), closed: state },
  RedeemAndClose: { new: receiver(amount), open: receiver(ok), closing: receiver(ok), due: receiver(ok), closed: state },
  ReceiverClose: { new: receiver(ok), open: receiver(ok), closing: receiver(ok), due: receiver(ok), closed: state },
  PartialRefund: { new: receiver(amount), open: receiver(ok), closing: receiver(ok), due: receiver(ok), closed: state },
  StartClose: { new: payer(ok), open: payer(ok), closing: state, due: state, closed: state },
  Finalize: { new: state, open: state, closing: all(tooEarly), due: all(ok), closed: state },
  Sweep: { new: state, open: state, closing: state, due: state, closed: payer(ok) },
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

testAccess(TOLD, SENDERS, () => ({ chain, contract: channel, snapshots }), { amount: 2n * TON }, assertCovered);

test('the table has every operation', () => {
  const answers = ['Paid', 'Refund', 'Excesses'];
  assert.deepEqual(Object.keys(TOLD), Object.keys(OP).filter((op) => !answers.includes(op)));
});
