// For any sequence of messages, from anybody, with any value, at any time: the balance covers what is owed and the rent
// reserve, the receiver gets no more than the newest voucher allows, and every nanoTON deposited is accounted for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginCell } from '@ton/core';
import fc from 'fast-check';
import { Chain } from './support/chain.mjs';
import { assertCovered } from './support/invariants.mjs';
import { DAY, OP, PAYER, PayChannel, RECEIVER, STATE, STRANGER, TON } from './support/pay_channel.mjs';

const RUNS = 30;
const LENGTH = { minLength: 5, maxLength: 30, size: 'max' };
/** The same messages in every run; another number tries others. */
const SEED = Number(process.env.COCOON_CONTRACTS_SEED ?? 20260812);

const YEAR = 365 * DAY;
const amount = fc.oneof(fc.bigInt(0n, 12n * TON), fc.constantFrom(0n, 1n, TON, 5n * TON));
/** What ends a channel comes seldom: after it there is little to see. */
function weighted(weights) {
  return Object.entries(weights).map(([op, weight]) => ({ weight, arbitrary: fc.constant(op) }));
}

const message = fc.record({
  op: fc.oneof(...weighted({ Deposit: 5, Redeem: 8, PartialRefund: 3, StartClose: 2, Finalize: 2, RedeemAndClose: 1, ReceiverClose: 1, Sweep: 1, junk: 1 })),
  // Mostly those who may: a sequence of refusals shows nothing.
  from: fc.oneof({ weight: 3, arbitrary: fc.constant('whose it is') }, { weight: 1, arbitrary: fc.constantFrom(PAYER, RECEIVER, STRANGER) }),
  value: fc.oneof(fc.constant(6n * TON), fc.bigInt(0n, TON / 100n), fc.bigInt(0n, 6n * TON)),
  amount,
  above: fc.oneof(fc.constant(0n), fc.bigInt(-TON, TON)),
  bounce: fc.boolean(),
  wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 * DAY }), fc.constantFrom(DAY, YEAR)),
});

const OWNER = { Deposit: PAYER, StartClose: PAYER, Sweep: PAYER, Finalize: STRANGER, junk: STRANGER };

/** What has happened to a channel, as its messages tell. */
class Books {
  deposited = 0n;
  paid = 0n;
  refunded = 0n;
  newestVoucher = 0n;
  /** Taken since the last message that topped the reserve up. */
  rent = 0n;
  accepted = 0;

  async send(channel, { op, from, value, amount, above, bounce }) {
    const sender = from === 'whose it is' ? (OWNER[op] ?? RECEIVER) : from;
    const before = (await channel.chain.data(channel.address)) ? await channel.state() : { state: STATE.open, deposited: 0n };
    const receipt = op === 'junk' ? await junk(channel, sender, value, bounce) : await this.#operate(channel, { op, from: sender, value, amount, above, bounce });
    this.rent = receipt.accepted ? 0n : this.rent + receipt.rent;
    if (!receipt.accepted) return;
    this.accepted += 1;
    const after = await channel.state();
    if (op === 'Deposit') this.deposited += after.deposited - before.deposited;
    assert.ok(before.state !== STATE.closed || after.state === STATE.closed, 'a closed channel is closed for ever');
    for (const { op: answer, to, value: sent, rest } of receipt.sent) {
      if (answer === OP.Excesses) continue;
      rest.skip(64);
      const named = rest.loadCoins();
      assert.ok(sent >= named, 'an answer with less than it names');
      assert.equal(to.toString(), (answer === OP.Paid ? RECEIVER : PAYER).toString());
      if (answer === OP.Paid) this.paid += named;
      else this.refunded += named;
    }
  }

  #operate(channel, { op, amount, above, ...rest }) {
    const cumulative = amount + above < 0n ? 0n : amount + above;
    if (op.startsWith('Redeem') && cumulative > this.newestVoucher) this.newestVoucher = cumulative;
    return channel.send(op, { ...rest, amount, cumulative });
  }

  async check(channel) {
    await assertCovered(channel, this.rent);
    const { deposited, settled } = await channel.state();
    assert.equal(this.paid, settled);
    assert.ok(settled <= this.newestVoucher, 'the receiver got more than the newest voucher');
    assert.equal(this.deposited, this.paid + this.refunded + (deposited - settled));
  }
}

function junk(channel, from, value, bounce) {
  const body = beginCell().storeUint(0, 32).storeStringTail('deposit').endCell();
  return channel.chain.send({ from, to: channel.address, value, bounce, body, init: channel.init });
}

for (const prices of ['current', 'old']) {
  test(`whatever is sent, under ${prices} prices`, async (t) => {
    const chain = await Chain.create({ prices });
    const nothing = chain.snapshot();
    const begin = chain.now;
    let accepted = 0;
    let sent = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(message, LENGTH), async (messages) => {
        await chain.restore(nothing);
        chain.now = begin;
        const channel = new PayChannel(chain);
        const books = new Books();
        for (const one of [{ op: 'Deposit', from: PAYER, value: 10n * TON, amount: 0n, above: 0n, bounce: true, wait: 0 }, ...messages]) {
          chain.now += one.wait;
          await books.send(channel, one);
          if (await chain.data(channel.address)) await books.check(channel);
        }
        accepted += books.accepted;
        sent += messages.length + 1;
      }),
      { numRuns: RUNS, seed: SEED },
    );
    t.diagnostic(`${accepted} of ${sent} messages were accepted`);
    assert.ok(accepted * 4 > sent, `only ${accepted} of ${sent} messages were accepted`);
  });
}
