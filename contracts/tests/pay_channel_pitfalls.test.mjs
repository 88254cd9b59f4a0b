// What has cost others money: redeploys, races, bounces, junk, external messages.

import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { Cell, beginCell, comment } from '@ton/core';
import { Chain } from './support/chain.mjs';
import { assertCovered } from './support/invariants.mjs';
import { AMPLE, DAY, ERROR, OP, PAYER, PayChannel, RECEIVER, STATE, STRANGER, TON, body } from './support/pay_channel.mjs';
import { throwingContract } from './support/throwing.mjs';

let chain;
let channel;
let opened;

before(async () => {
  chain = await Chain.create();
  channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
  opened = chain.snapshot();
});
beforeEach(() => chain.restore(opened));

async function accepted(op, options) {
  const receipt = await channel.send(op, options);
  assert.ok(receipt.accepted, `${op}: ${receipt.exitCode}`);
  return receipt;
}

async function refused(error, op, options) {
  assert.equal((await channel.send(op, options)).exitCode, error, op);
}

const WAYS_TO_CLOSE = {
  'the receiver closed': () => accepted('ReceiverClose', { from: RECEIVER }),
  'the receiver redeemed and closed': () => accepted('RedeemAndClose', { from: RECEIVER, amount: 2n * TON }),
  'it was finalized': async () => {
    await accepted('StartClose', { from: PAYER });
    chain.now += DAY;
    await accepted('Finalize', { from: STRANGER });
  },
};

for (const [how, close] of Object.entries(WAYS_TO_CLOSE)) {
  test(`after ${how}, nothing opens the channel again: an old voucher finds no money`, async () => {
    const signature = channel.sign(4n * TON);
    await accepted('Redeem', { from: RECEIVER, amount: TON, cumulative: 4n * TON, signature });
    await close();
    await accepted('Sweep', { from: PAYER });
    chain.now += 20 * 365 * DAY;
    // Each message has the StateInit with it: on an account that is gone it would begin anew.
    await refused(ERROR.state, 'Deposit', { from: PAYER, value: 5n * TON });
    await refused(ERROR.state, 'Redeem', { from: RECEIVER, amount: 4n * TON, signature });
    assert.equal(await chain.status(channel.address), 'active');
    assert.equal((await channel.state()).state, STATE.closed);
  });
}

test('a closed channel that fell into debt for its rent is frozen, and does not begin anew', async () => {
  chain = await Chain.create({ prices: 'old' });
  channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
  await accepted('ReceiverClose', { from: RECEIVER });
  chain.now += 30 * 365 * DAY;
  // The first message finds the debt, the second one the frozen account.
  for (let n = 0; n < 2; n += 1) await channel.send('Deposit', { from: PAYER, value: TON });
  assert.equal(await chain.status(channel.address), 'frozen');
});

test('a redeem is in time until finalize has run, whatever the clock says', async () => {
  await accepted('StartClose', { from: PAYER });
  await accepted('Redeem', { from: RECEIVER, amount: TON });
  chain.now += DAY - 1;
  await accepted('Redeem', { from: RECEIVER, amount: 2n * TON });
  await refused(ERROR.tooEarly, 'Finalize', { from: PAYER });
  chain.now += 1;
  await accepted('Redeem', { from: RECEIVER, amount: 3n * TON });
  chain.now += 1;
  await accepted('Redeem', { from: RECEIVER, amount: 4n * TON });
  await accepted('Finalize', { from: PAYER });
  await refused(ERROR.state, 'Redeem', { from: RECEIVER, amount: 5n * TON });
  await refused(ERROR.state, 'Finalize', { from: PAYER });
});

test('starting to close again neither postpones nor hastens the end', async () => {
  await accepted('StartClose', { from: PAYER });
  const { closeAt } = await channel.state();
  chain.now += 60;
  await refused(ERROR.state, 'StartClose', { from: PAYER });
  assert.equal((await channel.state()).closeAt, closeAt);
});

test('a deposit while closing goes back', async () => {
  await accepted('StartClose', { from: PAYER });
  const receipt = await channel.send('Deposit', { from: PAYER, value: TON });
  assert.ok(receipt.bounced && receipt.sent[0].value > TON - AMPLE);
});

test('a payee that refuses every message is still paid', async () => {
  for (const address of [PAYER, RECEIVER]) await chain.setAccount(address, throwingContract(address));
  const receipt = await accepted('RedeemAndClose', { from: RECEIVER, amount: 2n * TON });
  assert.deepEqual(receipt.sent.map(({ bounce }) => bounce), [false, false]);
  assert.ok((await chain.balance(PAYER)) > 3n * TON - AMPLE);
  assert.ok((await chain.balance(RECEIVER)) > 2n * TON - AMPLE);
  await assertCovered(channel);
});

test('a message marked as bounced changes nothing', async () => {
  const stored = await chain.data(channel.address);
  for (const op of [OP.Redeem, OP.Paid, OP.Finalize, OP.Sweep]) {
    const bounced = beginCell().storeUint(0xffffffff, 32).storeUint(op, 32).storeUint(42, 64).endCell();
    for (const content of [bounced, body('ReceiverClose'), Cell.EMPTY]) {
      const receipt = await chain.send({ from: RECEIVER, to: channel.address, value: TON, body: content, bounce: false, bounced: true });
      assert.ok(receipt.accepted && receipt.sent.length === 0);
    }
  }
  assert.equal((await chain.data(channel.address)).toString(), stored.toString());
});

test('no external message is accepted', async () => {
  const balance = await channel.balance();
  for (const op of Object.keys(OP)) {
    const content = op in { Paid: 0, Refund: 0, Excesses: 0 } ? Cell.EMPTY : body(op, { amount: TON, signature: channel.sign(TON) });
    await assert.rejects(chain.sendExternal(channel.address, content), /not accepted/, op);
  }
  assert.equal(await channel.balance(), balance);
});

test('junk is sent back at its own cost', async () => {
  let deep = Cell.EMPTY;
  for (let depth = 0; depth < 100; depth += 1) deep = beginCell().storeRef(deep).endCell();
  const junk = {
    nothing: Cell.EMPTY,
    'a text': comment('deposit'),
    'an empty comment': beginCell().storeUint(0, 32).endCell(),
    'an operation of its own': beginCell().storeUint(0x50430109, 32).storeUint(0, 64).endCell(),
    'half an operation': beginCell().storeUint(OP.Deposit >>> 16, 16).endCell(),
    'a redeem without fields': beginCell().storeUint(OP.Redeem, 32).endCell(),
    'a deep tree': beginCell().storeUint(0, 32).storeRef(deep).endCell(),
    'an answer': beginCell().storeUint(OP.Paid, 32).storeUint(0, 64).storeCoins(TON).endCell(),
  };
  const stored = await chain.data(channel.address);
  const balance = await channel.balance();
  for (const [what, content] of Object.entries(junk)) {
    for (const from of [PAYER, RECEIVER, STRANGER]) {
      const receipt = await chain.send({ from, to: channel.address, value: TON, body: content });
      assert.ok(!receipt.accepted && receipt.bounced, what);
      assert.ok(receipt.gas < 4000n, `${what}: ${receipt.gas} gas`);
    }
  }
  assert.equal((await chain.data(channel.address)).toString(), stored.toString());
  assert.equal(await channel.balance(), balance);
});

test('a message with too little for its gas takes nothing from the channel', async () => {
  const balance = await channel.balance();
  for (const value of [0n, 1n, 1000n, 50_000n, 100_000n]) {
    for (const op of ['Redeem', 'Deposit', 'Finalize', 'ReceiverClose']) {
      const receipt = await channel.send(op, { from: RECEIVER, amount: TON, value });
      assert.ok(!receipt.accepted);
    }
  }
  assert.ok((await channel.balance()) >= balance);
});

test('a channel does not grow, however often it is used', async () => {
  await accepted('Deposit', { from: PAYER, value: TON });
  const { cells } = await chain.stored(channel.address);
  for (let n = 1n; n <= 20n; n += 1n) {
    await accepted('Deposit', { from: STRANGER, value: TON });
    await accepted('Redeem', { from: RECEIVER, amount: n * (TON / 10n) });
  }
  assert.equal((await chain.stored(channel.address)).cells, cells);
});

test('extra currencies are not taken with a deposit', async () => {
  const message = { from: PAYER, to: channel.address, value: TON, body: body('Deposit'), extra: [[100, 7n]] };
  assert.equal((await chain.send(message)).exitCode, ERROR.extraCurrency);
});
