// Who pays: each message for itself, at the prices of the chain, never the deposit.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { createShardAccount } from '@ton/sandbox';
import { Chain } from './support/chain.mjs';
import { assertCovered } from './support/invariants.mjs';
import {
  CODE, DAY, ERROR, OP, PAYER, PayChannel, RECEIVER, STRANGER, TERMS, TON, storageCell,
} from './support/pay_channel.mjs';

const YEAR = 365 * DAY;

/** How each operation comes to be possible after a deposit of 5 TON, who sends it, and how many messages it can cause. */
const OPERATIONS = {
  Deposit: { from: STRANGER, messages: 0n },
  Redeem: { from: RECEIVER, messages: 1n },
  RedeemAndClose: { from: RECEIVER, messages: 2n },
  ReceiverClose: { from: RECEIVER, messages: 2n },
  PartialRefund: { from: RECEIVER, messages: 2n },
  StartClose: { from: PAYER, messages: 1n },
  Finalize: { from: STRANGER, messages: 2n, after: 'StartClose' },
  Sweep: { from: PAYER, messages: 1n, after: 'ReceiverClose' },
};

for (const prices of ['current', 'old']) {
  let chain;
  let channel;
  let opened;

  before(async () => {
    chain = await Chain.create({ prices });
    channel = new PayChannel(chain);
    await channel.deposit(5n * TON);
    opened = chain.snapshot();
  });

  /** The channel ready for `op`, after so many idle years whose rent has been taken. */
  async function ready(op, years) {
    await chain.restore(opened);
    const { after } = OPERATIONS[op];
    if (after !== undefined) await channel.send(after, { from: OPERATIONS[after].from });
    chain.now += DAY + years * YEAR;
    await chain.send({ from: STRANGER, to: channel.address, value: TON / 10n });
  }

  const send = (op, value) => channel.send(op, { from: OPERATIONS[op].from, amount: TON, value });
  /** What has to be deposited at least, so that the message is for something. */
  const least = (op) => (op === 'Deposit' ? 1n : 0n);

  for (const op of Object.keys(OPERATIONS)) {
    for (const years of [0, 5]) {
      test(`${prices} prices: ${op} after ${years} years needs exactly its required value`, async () => {
        await ready(op, years);
        const required = (await channel.required(op)) + least(op);
        const stored = await chain.data(channel.address);
        const balance = await channel.balance();

        const short = await send(op, required - 1n);
        assert.equal(short.exitCode, ERROR.lowValue);
        assert.equal((await chain.data(channel.address)).toString(), stored.toString());
        assert.equal(await channel.balance(), balance);

        const enough = await send(op, required);
        assert.ok(enough.accepted && enough.actionCode !== 37, `${enough.exitCode} ${enough.actionCode}`);
        await assertCovered(channel);
      });
    }

    test(`${prices} prices: ${op} takes less gas than it asks for, and not much less`, async () => {
      await ready(op, 0);
      const fees = (await channel.required(op)) - missing(await channel.state(), await channel.balance(), await channel.rentReserve());
      const bound = fees - OPERATIONS[op].messages * chain.prices.forward.lump;
      const { gas } = await send(op, TON);
      assert.ok(chain.gasFee(gas) <= bound, `${gas} gas`);
      assert.ok(chain.gasFee(gas) * 5n >= bound * 4n, `${gas} gas is far below what is asked for`);
    });
  }

  test(`${prices} prices: an idle channel pays the receiver in full after 50 years`, async () => {
    await chain.restore(opened);
    chain.now += 50 * YEAR;
    // The receiver makes up for the rent that the reserve did not cover.
    const receipt = await channel.send('Redeem', { from: RECEIVER, amount: 5n * TON, value: 3n * TON });
    assert.ok(receipt.accepted && receipt.rent > (await channel.rentReserve()) * 20n);
    const [payout] = receipt.sent;
    payout.rest.loadUint(64);
    assert.equal(payout.rest.loadCoins(), 5n * TON);
    assert.ok(payout.value >= 5n * TON);
    await assertCovered(channel);
  });

  test(`${prices} prices: the rent reserve lasts two years for the largest amounts there are`, async () => {
    await chain.restore(opened);
    const reserve = await channel.rentReserve();
    const largest = (1n << 120n) - 1n;
    const data = storageCell(TERMS, { deposited: largest, settled: largest });
    await chain.setAccount(channel.address, createShardAccount({ address: channel.address, code: CODE, data, balance: 1n << 62n }));
    // Sizes are counted anew where something is stored.
    assert.ok((await send('StartClose', TON)).accepted);
    const rent = chain.rent(await chain.stored(channel.address), 2 * YEAR);
    assert.ok(rent <= reserve, `${rent} of ${reserve}`);
    assert.ok(rent * 10n >= reserve * 9n, `${rent} is far below ${reserve}`);
  });
}

/** NanoTON that a channel lacks to what it owes and its reserve. */
function missing({ deposited, settled }, balance, reserve) {
  const least = deposited - settled + reserve;
  return balance < least ? least - balance : 0n;
}

test('the operations tried here are all there are', () => {
  const answers = [OP.Paid, OP.Refund, OP.Excesses];
  assert.deepEqual(Object.keys(OPERATIONS), Object.keys(OP).filter((op) => !answers.includes(OP[op])));
});
