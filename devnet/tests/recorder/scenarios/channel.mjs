// PayChannel: all its operations, by whoever may and may not, in each state.

import { Cell, beginCell, comment } from '@ton/core';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import { smallOrderEncodings } from '../../../../contracts/tests/support/ed25519.mjs';
import {
  AMPLE, DAY, MAX_CLOSE_DELAY, OP, PAYER, PayChannel, RECEIVER, STRANGER, TERMS, TON, VOUCHER_DOMAIN, body,
} from '../../../../contracts/tests/support/pay_channel.mjs';
import { throwing } from '../puppet.mjs';
import { attempt } from '../recording.mjs';

const OPERATIONS = [
  'Deposit', 'Redeem', 'RedeemAndClose', 'ReceiverClose', 'PartialRefund', 'StartClose', 'Finalize', 'Sweep',
];
const SENDERS = [PAYER, RECEIVER, STRANGER];

/** A channel whose vouchers name the chain's own network. */
export class LocalChannel extends PayChannel {
  sign(cumulative, changes = {}) {
    return super.sign(cumulative, { globalId: this.chain.globalId, ...changes });
  }
}

async function opened(chain, terms = TERMS) {
  const channel = new LocalChannel(chain, terms);
  await channel.deposit(10n * TON);
  return channel;
}

/** Ways from an open channel to a closed one. */
const ENDS = [
  (channel) => channel.send('RedeemAndClose', { from: RECEIVER, amount: 7n * TON }),
  (channel) => channel.send('ReceiverClose', { from: RECEIVER }),
  async (channel) => {
    await channel.send('StartClose', { from: PAYER });
    channel.chain.now += DAY - 1;
    await channel.send('Redeem', { from: RECEIVER, amount: 4n * TON });
    await channel.send('Finalize', { from: STRANGER });
    channel.chain.now += 1;
    await channel.send('Redeem', { from: RECEIVER, amount: 5n * TON });
    await channel.send('Finalize', { from: STRANGER });
  },
];

async function life(chain) {
  const channel = await opened(chain);
  await channel.send('Deposit', { from: STRANGER, value: 2n * TON });
  for (const amount of [1n, TON / 3n, TON, 2n * TON]) {
    chain.now += 3600;
    await channel.send('Redeem', { from: RECEIVER, amount, cumulative: amount + TON });
  }
  await channel.send('PartialRefund', { from: RECEIVER, amount: TON });
  const open = chain.snapshot();
  for (const end of ENDS) {
    await chain.restore(open);
    await end(channel);
    chain.now += 60;
    for (const op of ['Redeem', 'Finalize', 'Deposit']) {
      await channel.send(op, { from: RECEIVER, amount: 8n * TON });
    }
    await channel.send('Sweep', { from: PAYER });
    await channel.send('Sweep', { from: PAYER, bounce: false });
  }
}

async function access(chain) {
  const channel = await opened(chain);
  const states = [chain.snapshot()];
  await channel.send('StartClose', { from: PAYER });
  states.push(chain.snapshot());
  chain.now += DAY;
  await channel.send('Finalize', { from: STRANGER });
  states.push(chain.snapshot());
  for (const state of states) {
    for (const op of OPERATIONS) {
      for (const from of SENDERS) {
        await chain.restore(state);
        await channel.send(op, { from, amount: TON });
      }
    }
  }
}

async function vouchers(chain) {
  const channel = await opened(chain);
  const amount = 2n * TON;
  const redeem = (fields) => channel.send('Redeem', { from: RECEIVER, amount, ...fields });
  for (const changes of [
    { domain: VOUCHER_DOMAIN + 1 }, { globalId: 7 }, { channel: account('another channel') },
    { cumulative: amount + 1n },
  ]) {
    await redeem({ signature: channel.sign(amount, changes) });
  }
  for (const signature of [Buffer.alloc(64), Buffer.alloc(64, 0xff)]) await redeem({ signature });
  await redeem({ amount: 0n });
  await redeem({ amount: 11n * TON });
  await redeem({ amount: 3n * TON, cumulative: amount });
  // The same twice, an older one, and one without an end.
  const signature = channel.sign(amount);
  await redeem({ signature });
  await redeem({ signature });
  await redeem({ amount: TON });
  await redeem({ amount: 3n * TON, cumulative: 2n ** 119n });
  // Keys under which anybody signs, and terms that no deposit may come under.
  const terms = smallOrderEncodings().map((payerKey) => ({ payerKey }));
  terms.push({ closeDelay: MAX_CLOSE_DELAY + 1 });
  terms.push({ payer: account('payer', -1) }, { receiver: account('receiver', -1) });
  for (const change of terms) {
    const refusing = new LocalChannel(chain, { ...TERMS, ...change });
    await refusing.send('Deposit', { from: PAYER, value: TON });
  }
}

async function values(chain) {
  const channel = await opened(chain);
  const state = chain.snapshot();
  const senders = {
    Redeem: RECEIVER, Deposit: PAYER, PartialRefund: RECEIVER, StartClose: PAYER, ReceiverClose: RECEIVER,
  };
  for (const [op, from] of Object.entries(senders)) {
    const required = await channel.required(op);
    // Around the prices of a message and of some gas; and what the operation asks for.
    const values = [0n, 1n, 6_667n, 66_668n, 200_000n, 400_001n, 1_000_000n, 2_500_000n, AMPLE];
    for (const value of [...values, required - 1n, required, required + 1n]) {
      for (const bounce of [true, false]) {
        await chain.restore(state);
        await channel.send(op, { from, amount: TON, value, bounce });
      }
    }
  }
}

async function pitfalls(chain) {
  const channel = await opened(chain);
  const to = channel.address;
  const op = (number, bits = 32) => beginCell().storeUint(number, bits);
  const junk = [
    Cell.EMPTY,
    comment('deposit'),
    comment('a text that is longer than what a single cell holds '.repeat(5)),
    op(OP.Sweep + 1).storeUint(0, 64).endCell(),
    op(OP.Deposit >>> 16, 16).endCell(),
    op(OP.Redeem).endCell(),
    op(OP.Paid).storeUint(0, 64).storeCoins(TON).endCell(),
  ];
  for (const content of junk) await chain.send({ from: PAYER, to, value: TON, body: content });
  // Marked as bounced; and with another currency.
  for (const number of [OP.Redeem, OP.Paid]) {
    const content = op(0xffffffff).storeUint(number, 32).storeUint(42, 64).endCell();
    await chain.send({ from: RECEIVER, to, value: TON, body: content, bounce: false, bounced: true });
  }
  for (const extra of [{ 7: 100n }, { 7: 100n, 8: 2n }]) {
    await chain.send({ from: PAYER, to, value: TON, body: body('Deposit'), extra });
  }
  for (const name of OPERATIONS) {
    await attempt(chain.sendExternal(to, body(name, { amount: TON, signature: channel.sign(TON) })));
  }
  // A payee that refuses what it is paid.
  const refusing = await throwing(chain);
  const theirs = await opened(chain, { ...TERMS, payer: refusing, receiver: refusing });
  await theirs.send('RedeemAndClose', { from: refusing, amount: 2n * TON });
  await theirs.send('Sweep', { from: refusing });
  await new LocalChannel(chain, TERMS, -1).send('Deposit', { from: PAYER, value: 5n * TON });
}

export const SCENARIOS = {
  'channel: life': life,
  'channel: access': access,
  'channel: vouchers': vouchers,
  'channel: values': values,
  'channel: pitfalls': pitfalls,
};
