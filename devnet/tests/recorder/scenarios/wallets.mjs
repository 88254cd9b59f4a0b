// Wallets as people use them: transfers, batches, requests that are refused.

import { createHash } from 'node:crypto';
import { Cell, SendMode, beginCell, comment, internal } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import { AMPLE, PAYER, TERMS, TON, body } from '../../../../contracts/tests/support/pay_channel.mjs';
import { Wallet } from '../../../../contracts/tests/support/wallets.mjs';
import { treeOf } from '../cells.mjs';
import { throwing } from '../puppet.mjs';
import { attempt } from '../recording.mjs';
import { LocalChannel } from './channel.mjs';

const KINDS = ['V2R2', 'V3R2', 'V4R2', 'W5'];
const SOMEBODY = account('somebody');

const ALL = SendMode.CARRY_ALL_REMAINING_BALANCE;
const APART = SendMode.PAY_GAS_SEPARATELY;
const IGNORE = SendMode.IGNORE_ERRORS;

const keyOf = (name) => keyPairFromSeed(createHash('sha256').update(name).digest());
const OTHER_KEY = keyOf('another key');

async function transfers(chain) {
  for (const kind of KINDS) {
    const wallet = await new Wallet(chain, kind).fund();
    const send = (to, fields) => wallet.send([{ to, value: TON, ...fields }]);
    await send(SOMEBODY, { bounce: false });
    await send(SOMEBODY, { body: comment('thank you') });
    await send(SOMEBODY, { body: comment('a long story '.repeat(40)), bounce: false });
    await send(account('somebody', -1), { value: 3n * TON, bounce: false });
    await send(account('nobody', -1), { value: 3n * TON });
    await wallet.send([1n, 2n, 3n, 4n].map((n) => (
      { to: account(`payee ${n}`), value: n * TON, bounce: n % 2n === 0n }
    )));
    await send(wallet.address, { body: comment('to myself') });
    await wallet.send([]);
    await wallet.send([{ to: SOMEBODY, value: TON }], { sendMode: ALL | IGNORE });
    // With nothing left.
    await attempt(send(SOMEBODY));
  }
}

async function refused(chain) {
  const pay = [{ to: SOMEBODY, value: TON }];
  for (const kind of KINDS) {
    const wallet = new Wallet(chain, kind);
    const other = new Wallet(chain, kind, OTHER_KEY);
    const submit = (signed, init) => attempt(chain.sendExternal(wallet.address, signed, init));
    // An account that is not there, then one without code, then one with code.
    await submit(wallet.signed(pay), wallet.init);
    await wallet.fund({ deployed: false });
    await submit(wallet.signed(pay));
    await submit(other.signed(pay), other.init);
    await submit(wallet.signed(pay, { seqno: 5 }), wallet.init);
    await wallet.send([{ to: wallet.address, value: 1n }]);
    for (const changes of [
      { seqno: 0 }, { seqno: 2 }, { timeout: chain.now }, { timeout: chain.now - 1 },
      { secretKey: OTHER_KEY.secretKey },
    ]) {
      await submit(wallet.signed(pay, changes));
    }
    await submit(Cell.EMPTY);
    await submit(beginCell().storeUint(0, 500).endCell());
    await submit(wallet.signed(pay), other.init);
    const signed = wallet.signed(pay);
    await wallet.submit(signed);
    // The same once more.
    await submit(signed);
    await submit(wallet.signed(pay), wallet.init);
  }
}

async function batches(chain) {
  const wallet = await new Wallet(chain, 'W5').fund();
  for (const count of [1, 50]) {
    await wallet.send(Array.from({ length: count }, (_, n) => {
      const payment = { to: account(`payee ${n % 30}`), value: BigInt(n) * 1_000_000n };
      return { ...payment, bounce: n % 3 === 0, body: comment(`number ${n}`) };
    }));
  }
  const parties = { payer: wallet.address, receiver: wallet.address };
  const channels = Array.from({ length: 12 }, (_, n) => (
    new LocalChannel(chain, { ...TERMS, ...parties, salt: BigInt(n) })
  ));
  const toEach = (message) => wallet.send(channels.map((channel) => (
    { to: channel.address, ...message(channel) }
  )));
  const amount = TON / 2n;
  await toEach(({ init }) => ({ value: TON, init, body: body('Deposit') }));
  await toEach((channel) => (
    { value: AMPLE, body: body('Redeem', { amount, signature: channel.sign(amount) }) }
  ));
  await toEach(() => ({ value: AMPLE, body: body('StartClose') }));
  // Refused as long as they are not closed.
  await toEach(() => ({ value: AMPLE, body: body('Sweep') }));
}

/** Almost as many messages as a wallet can send at once, and more than it can pay for. */
async function largestBatches(chain) {
  const refusing = await throwing(chain);
  const payees = Array.from({ length: 250 }, (_, n) => (n % 50 === 0 ? refusing : SOMEBODY));
  const rich = await new Wallet(chain, 'W5').fund();
  await rich.send(payees.map((to) => ({ to, value: 1000n, bounce: false })), { sendMode: APART });
  const poor = await new Wallet(chain, 'W5', OTHER_KEY).fund({ value: 30n * TON });
  // What it cannot pay for is left out.
  await poor.send(payees.map((to, n) => ({ to, value: n % 25 === 0 ? 2n * TON : 400n * TON })));
  await poor.send(payees.slice(0, 5).map((to) => ({ to, value: TON / 1000n, bounce: false })));
}

async function short(chain) {
  for (const kind of KINDS) {
    for (const value of [TON, TON / 500n]) {
      for (const sendMode of [APART | IGNORE, APART, SendMode.NONE]) {
        const wallet = new Wallet(chain, kind, keyOf(`${kind} ${value} ${sendMode}`));
        await wallet.fund({ deployed: false, value });
        await attempt(wallet.send([{ to: wallet.address, value: 1n }]));
        const payments = [value / 2n, 3n * value, value / 4n].map((paid) => ({ to: SOMEBODY, value: paid }));
        await attempt(wallet.send(payments, { sendMode }));
      }
    }
  }
}

/** What only W5 has: another contract may act for it, and somebody else may deliver what it signed. */
async function extensions(chain) {
  const wallet = await new Wallet(chain, 'W5').fund();
  const { contract, address: to } = wallet;
  const extension = account('an extension');
  const outMsg = internal({ to: SOMEBODY, value: TON, body: comment('by another') });
  const actions = [{ type: 'sendMsg', mode: APART, outMsg }];
  const request = (authType) => contract.createRequest({ ...wallet.request(), authType, actions });
  const act = (from) => chain.send({ from, to, value: TON, body: request('extension') });
  const change = (make) => wallet.submit(contract[make]({ ...wallet.request(), extensionAddress: extension }));
  await act(extension);
  await change('createAddExtension');
  // It is one already.
  await attempt(change('createAddExtension'));
  await act(extension);
  await act(PAYER);
  await change('createRemoveExtension');
  await act(extension);
  const relayed = request('internal');
  for (let n = 0; n < 2; n += 1) await chain.send({ from: PAYER, to, value: TON, body: relayed });
}

/** So many extensions that the wallet has more than 25 cells, and fewer again. */
async function grows(chain) {
  const wallet = await new Wallet(chain, 'W5').fund();
  const many = Array.from({ length: 20 }, (_, n) => account(`extension ${n}`));
  const change = (make, extensionAddress) => (
    wallet.submit(wallet.contract[make]({ ...wallet.request(), extensionAddress }))
  );
  for (const extension of many) await change('createAddExtension', extension);
  await wallet.send([{ to: SOMEBODY, value: TON }]);
  for (const extension of many.slice(3)) await change('createRemoveExtension', extension);
  await wallet.send([{ to: SOMEBODY, value: TON }]);
}

/** Messages that bring much: what they cost is counted by cells and bits. */
async function large(chain) {
  const wallet = await new Wallet(chain, 'V4R2').fund();
  for (const cells of [2, 30, 300]) {
    await wallet.send([{ to: SOMEBODY, value: TON, body: treeOf(cells), bounce: false }]);
    await wallet.send([{ to: account('nobody'), value: TON, body: treeOf(cells, 1), bounce: true }]);
  }
  // As many as fit, and more than that.
  for (const cells of [8180, 8200]) {
    await attempt(wallet.send([{ to: SOMEBODY, value: 20n * TON, body: treeOf(cells), bounce: false }]));
  }
}

export const SCENARIOS = {
  'wallets: transfers': transfers,
  'wallets: refused': refused,
  'wallets: batches': batches,
  'wallets: the largest batches': largestBatches,
  'wallets: short of money': short,
  'wallets: extensions': extensions,
  'wallets: one that grows': grows,
  'wallets: large messages': large,
};
