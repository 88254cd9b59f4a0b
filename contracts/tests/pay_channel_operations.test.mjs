// What each operation of PayChannel does, to the nanoTON.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Chain, account } from './support/chain.mjs';
import { assertCovered } from './support/invariants.mjs';
import { AMPLE, DAY, ERROR, OP, PAYER, PayChannel, RECEIVER, STATE, STRANGER, TON } from './support/pay_channel.mjs';

let chain;
let channel;

beforeEach(async () => {
  chain = await Chain.create();
  channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
});

/** The messages of a receipt: to whom, what, and the nanoTON that its body names. */
function sent(receipt) {
  return receipt.sent.map(({ to, op, rest }) => {
    const queryId = rest.loadUintBig(64);
    assert.equal(queryId, 42n, 'an answer to another query');
    const amount = op === OP.Excesses ? undefined : rest.loadCoins();
    rest.endParse();
    return { to: to.toString(), op, amount };
  });
}

const paid = (amount) => ({ to: RECEIVER.toString(), op: OP.Paid, amount });
const refund = (amount) => ({ to: PAYER.toString(), op: OP.Refund, amount });
const excesses = (to) => ({ to: to.toString(), op: OP.Excesses, amount: undefined });

/** Everybody's nanoTON, but for what was taken as fees: nothing comes from nowhere, and nothing is lost. */
async function total() {
  let sum = 0n;
  for (const address of [channel.address, PAYER, RECEIVER, STRANGER]) sum += await chain.balance(address);
  return sum;
}

async function send(op, options) {
  const before = await total();
  const receipt = await channel.send(op, options);
  assert.ok(receipt.accepted, `${op}: ${receipt.exitCode}`);
  assert.equal(await total(), before + (options.value ?? AMPLE) - receipt.fees);
  await assertCovered(channel);
  return receipt;
}

test('a deposit adds what the message brings above its needs, whoever sends it', async () => {
  const value = (await channel.required('Deposit')) + 3n;
  assert.deepEqual(sent(await send('Deposit', { from: STRANGER, value })), []);
  assert.deepEqual(await channel.state(), { state: STATE.open, deposited: 5n * TON + 3n, settled: 0n, closeAt: 0 });
});

test('a deposit of nothing is refused', async () => {
  const receipt = await channel.send('Deposit', { from: PAYER, value: await channel.required('Deposit') });
  assert.equal(receipt.exitCode, ERROR.lowValue);
});

test('a redeem pays the receiver what is new, and no more than it asks for', async () => {
  assert.deepEqual(sent(await send('Redeem', { from: RECEIVER, amount: TON, cumulative: 4n * TON })), [paid(TON)]);
  assert.deepEqual(sent(await send('Redeem', { from: RECEIVER, amount: 3n * TON, cumulative: 4n * TON })), [paid(2n * TON)]);
  assert.deepEqual(await channel.state(), { state: STATE.open, deposited: 5n * TON, settled: 3n * TON, closeAt: 0 });
});

test('the last nanoTON can be redeemed', async () => {
  await send('Redeem', { from: RECEIVER, amount: 5n * TON });
  assert.equal((await channel.state()).settled, 5n * TON);
});

test('redeem and close pays both and ends the channel', async () => {
  const receipt = await send('RedeemAndClose', { from: RECEIVER, amount: 2n * TON });
  assert.deepEqual(sent(receipt), [refund(3n * TON), paid(2n * TON)]);
  assert.equal(receipt.sent[0].value, 3n * TON, 'a refund pays no fee');
  assert.deepEqual(await channel.state(), { state: STATE.closed, deposited: 2n * TON, settled: 2n * TON, closeAt: 0 });
});

test('redeem and close with nothing left sends no refund', async () => {
  assert.deepEqual(sent(await send('RedeemAndClose', { from: RECEIVER, amount: 5n * TON })), [paid(5n * TON)]);
});

test('a close by the receiver refunds what is not settled', async () => {
  await send('Redeem', { from: RECEIVER, amount: TON });
  const receipt = await send('ReceiverClose', { from: RECEIVER });
  assert.deepEqual(sent(receipt), [refund(4n * TON), excesses(RECEIVER)]);
  assert.equal(receipt.sent[0].value, 4n * TON);
});

test('a partial refund leaves the channel as it was, with less in it', async () => {
  await send('Redeem', { from: RECEIVER, amount: TON });
  const receipt = await send('PartialRefund', { from: RECEIVER, amount: 3n * TON });
  assert.deepEqual(sent(receipt), [refund(3n * TON), excesses(RECEIVER)]);
  assert.equal(receipt.sent[0].value, 3n * TON);
  assert.deepEqual(await channel.state(), { state: STATE.open, deposited: 2n * TON, settled: TON, closeAt: 0 });
});

for (const amount of [0n, 4n * TON + 1n]) {
  test(`a partial refund of ${amount} with 4 TON unsettled is refused`, async () => {
    await send('Redeem', { from: RECEIVER, amount: TON });
    assert.equal((await channel.send('PartialRefund', { from: RECEIVER, amount })).exitCode, ERROR.amount);
  });
}

test('after a partial refund no voucher gets more than is left', async () => {
  await send('PartialRefund', { from: RECEIVER, amount: 3n * TON });
  const receipt = await channel.send('Redeem', { from: RECEIVER, amount: 2n * TON + 1n, cumulative: 5n * TON });
  assert.equal(receipt.exitCode, ERROR.amount);
  await send('Redeem', { from: RECEIVER, amount: 2n * TON, cumulative: 5n * TON });
});

test('starting to close sets the time from which anyone may finalize', async () => {
  assert.deepEqual(sent(await send('StartClose', { from: PAYER })), [excesses(PAYER)]);
  const closeAt = chain.now + DAY;
  assert.deepEqual(await channel.state(), { state: STATE.closing, deposited: 5n * TON, settled: 0n, closeAt });
});

test('finalizing refunds what is not settled, and the excess goes to who sent it', async () => {
  await send('StartClose', { from: PAYER });
  await send('Redeem', { from: RECEIVER, amount: TON });
  chain.now += DAY;
  const receipt = await send('Finalize', { from: STRANGER });
  assert.deepEqual(sent(receipt), [refund(4n * TON), excesses(STRANGER)]);
  assert.equal(receipt.sent[0].value, 4n * TON);
});

test('the payer sweeps what reached a closed channel, down to the rent reserve', async () => {
  await send('ReceiverClose', { from: RECEIVER });
  const lost = await channel.send('Deposit', { from: PAYER, value: 3n * TON, bounce: false });
  assert.equal(lost.exitCode, ERROR.state);
  const before = await channel.balance();
  assert.ok(before > 2n * TON, 'a message that may not bounce leaves its value here');
  const receipt = await send('Sweep', { from: PAYER });
  assert.deepEqual(sent(receipt), [excesses(PAYER)]);
  assert.ok(receipt.sent[0].value > before);
  assert.equal(await channel.balance(), await channel.rentReserve());
});

test('what strays into an open channel is neither deposited nor given to who comes next', async () => {
  const surplus = async () => {
    const { deposited, settled } = await channel.state();
    return (await channel.balance()) - (deposited - settled);
  };
  const stray = await chain.send({ from: STRANGER, to: channel.address, value: TON, bounce: false });
  assert.equal(stray.exitCode, ERROR.unknownOp);
  const before = await surplus();
  assert.ok(before > TON - AMPLE);
  await send('Redeem', { from: RECEIVER, amount: TON });
  assert.equal(await surplus(), before);
  await send('Deposit', { from: PAYER, value: TON });
  assert.ok((await surplus()) >= before);
  await send('PartialRefund', { from: RECEIVER, amount: TON });
  assert.ok((await surplus()) >= before);
});

test('getters say what the address stands for and what a voucher signs', async () => {
  const terms = await chain.get(channel.address, 'channel_terms');
  assert.equal(terms.readAddress().toString(), PAYER.toString());
  assert.equal(terms.readBigNumber(), BigInt(`0x${channel.terms.payerKey.toString('hex')}`));
  assert.equal(terms.readAddress().toString(), RECEIVER.toString());
  assert.deepEqual([terms.readNumber(), terms.readBigNumber()], [channel.terms.closeDelay, channel.terms.salt]);
  const hash = await chain.get(channel.address, 'voucher_hash', [{ type: 'int', value: TON }]);
  assert.equal(hash.readBigNumber(), BigInt(`0x${channel.voucher(TON).hash().toString('hex')}`));
  await assert.rejects(chain.get(channel.address, 'required_value', [{ type: 'int', value: 1n }]), { exitCode: ERROR.unknownOp });
});

test('other terms are another address', () => {
  const { terms } = channel;
  const others = [
    { payer: STRANGER }, { payerKey: Buffer.alloc(32, 1) }, { receiver: account('other') }, { closeDelay: DAY + 1 }, { salt: 8n },
  ];
  const addresses = others.map((change) => new PayChannel(chain, { ...terms, ...change }).address.toString());
  assert.equal(new Set([channel.address.toString(), ...addresses]).size, others.length + 1);
});
