// Time passes: rent, debt, frozen and deleted accounts.

import { SendMode } from '@ton/core';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import {
  DAY, PAYER, RECEIVER, STRANGER, TERMS, TON,
} from '../../../../contracts/tests/support/pay_channel.mjs';
import { Wallet } from '../../../../contracts/tests/support/wallets.mjs';
import { treeOf } from '../cells.mjs';
import { ORDERS, Puppet, list, reserve, send } from '../puppet.mjs';
import { attempt } from '../recording.mjs';
import { LocalChannel } from './channel.mjs';

const YEAR = 365 * DAY;

/** The emulator's time ends at 2^31 seconds: what takes many years begins early. */
const EARLY = YEAR;

async function accrues(chain) {
  const channel = new LocalChannel(chain, TERMS);
  await channel.deposit(5n * TON);
  const wallet = await new Wallet(chain, 'W5').fund({ value: TON });
  let amount = 0n;
  for (const passed of [1, 60, 3600, DAY, 30 * DAY, YEAR, 2 * YEAR, 5 * YEAR]) {
    chain.now += passed;
    amount += TON / 20n;
    await channel.send('Redeem', { from: RECEIVER, amount });
    await channel.send('Deposit', { from: STRANGER, value: TON / 10n });
    await wallet.send([{ to: account('payee'), value: 1n, bounce: false }]);
    await chain.send({ from: PAYER, to: account('payee'), value: 1000n, bounce: false });
  }
  await channel.send('StartClose', { from: PAYER });
  chain.now += YEAR;
  await channel.send('Finalize', { from: PAYER });
  await channel.send('Sweep', { from: PAYER });
}

/** A channel that is closed and left alone until its reserve is gone, and longer. */
async function channelInDebt(chain) {
  chain.now = EARLY;
  const channel = new LocalChannel(chain, TERMS);
  await channel.deposit(5n * TON);
  await channel.send('ReceiverClose', { from: RECEIVER });
  const state = chain.snapshot();
  for (const years of [2, 3, 10, 30, 60]) {
    await chain.restore(state);
    chain.now += years * YEAR;
    // Too little for the debt, then enough for it and for what the channel does.
    for (const value of [1n, 1_000_000n, 50_000_000n, TON]) {
      for (const bounce of [true, false]) await channel.send('Sweep', { from: PAYER, value, bounce });
      chain.now += 3600;
    }
  }
}

/** Deploys an account large enough to fall into debt soon, and leaves `balance` on it. */
async function largeAccount(chain, cells, balance) {
  const puppet = new Puppet(chain);
  const data = treeOf(cells);
  await puppet.tell(ORDERS.store(data), { value: 20n * TON });
  const rest = send(account('payee'), 0n, { mode: SendMode.CARRY_ALL_REMAINING_BALANCE });
  await puppet.tell(ORDERS.act(list([reserve(balance, 0), rest])));
  return { puppet, state: { code: puppet.init.code, data } };
}

/** Frozen when it owes more than 0.1 TON, and back to life with the state it had. */
async function freezes(chain) {
  chain.now = EARLY;
  for (const balance of [TON / 10n, TON]) {
    const nothing = chain.snapshot();
    const { puppet, state } = await largeAccount(chain, 400, balance);
    const alive = chain.snapshot();
    for (const years of [0.5, 3, 8, 20, 45]) {
      await chain.restore(alive);
      chain.now += years * YEAR;
      // What finds the debt, and then the state it left; a signed message pays nothing and gets nowhere.
      for (const bounce of [true, false]) await puppet.tell(ORDERS.nothing(), { value: TON / 100n, bounce });
      await attempt(puppet.tellFromOutside(ORDERS.nothing()));
      await chain.send({ from: account('payee'), to: puppet.address, value: TON / 50n, bounce: false });
      chain.now += 1000;
      // With the state of its address, and with the one it was frozen in.
      await puppet.tell(ORDERS.nothing(), { value: 2n * TON });
      await puppet.tell(ORDERS.lookAround(), { value: 30n * TON, init: state });
      await puppet.tell(ORDERS.nothing());
      chain.now += YEAR;
      await puppet.tell(ORDERS.lookAround());
    }
    await chain.restore(nothing);
  }
}

/** Frozen in the state that its address is the hash of, so that any deploy brings it back. */
async function freezesUnchanged(chain) {
  chain.now = EARLY;
  const puppet = new Puppet(chain, { data: treeOf(400) });
  const tell = (fields) => puppet.tell(ORDERS.nothing(), fields);
  await tell({ value: TON / 100n, bounce: false });
  for (const bounce of [true, false]) {
    chain.now += 15 * YEAR;
    await tell({ value: 1n, bounce, init: undefined });
    await tell({ value: TON / 100n, bounce, init: undefined });
    await tell({ value: 5n * TON });
    await tell({ value: TON / 100n, init: undefined });
    await puppet.tell(ORDERS.act(list([send(PAYER, 0n, { mode: SendMode.CARRY_ALL_REMAINING_BALANCE })])));
  }
}

/** The message that finds a debt so large brings enough for gas, or for its way back, or for neither. */
async function findsTheDebt(chain) {
  chain.now = EARLY;
  const { puppet, state } = await largeAccount(chain, 400, TON / 10n);
  const alive = chain.snapshot();
  for (const years of [10, 60]) {
    // Alive, or frozen long ago, or frozen and so long ago that it goes.
    for (const found of [[], [years], [years - 9, 9]]) {
      for (const init of [undefined, puppet.init, state]) {
        for (const value of [0n, 200n, 5n * TON]) {
          await chain.restore(alive);
          for (const before of found) {
            chain.now += before * YEAR / 2;
            await puppet.tell(ORDERS.nothing(), { value: 1n, init: undefined });
          }
          chain.now += years * YEAR / 2;
          await puppet.tell(ORDERS.lookAround(), { value, init, ihrFee: 1n });
          await puppet.tell(ORDERS.lookAround(), { value, init, bounce: false });
        }
      }
    }
  }
}

/** Deleted when it owes more than 1 TON after it was frozen. */
async function deleted(chain) {
  chain.now = EARLY;
  const { puppet } = await largeAccount(chain, 1000, TON / 100n);
  const alive = chain.snapshot();
  for (const steps of [[3, 50], [1, 1, 40], [60]]) {
    await chain.restore(alive);
    for (const years of steps) {
      chain.now += years * YEAR;
      for (const value of [0n, 200n, TON / 100n]) {
        for (const bounce of [true, false]) await puppet.tell(ORDERS.nothing(), { value, bounce });
      }
    }
    // Its address can be deployed anew, and knows nothing of what was.
    await puppet.tell(ORDERS.nothing(), { value: 10n * TON });
  }
}

/** Accounts without code owe rent too. */
async function withoutCode(chain) {
  chain.now = EARLY;
  const early = chain.snapshot();
  for (const value of [1n, 1000n, 100_000n, TON]) {
    await chain.restore(early);
    const to = account(`holds ${value}`);
    await chain.send({ from: PAYER, to, value, bounce: false });
    for (const years of [1, 20]) {
      chain.now += years * YEAR;
      for (const bounce of [true, false]) await chain.send({ from: PAYER, to, value: 10_000n, bounce });
      await chain.send({ from: PAYER, to, value: 0n, bounce: false });
    }
  }
}

export const SCENARIOS = {
  'rent: accrues': accrues,
  'rent: a channel in debt': channelInDebt,
  'rent: freezing': freezes,
  'rent: freezing unchanged': freezesUnchanged,
  'rent: the message that finds a debt': findsTheDebt,
  'rent: deleting': deleted,
  'rent: without code': withoutCode,
};
