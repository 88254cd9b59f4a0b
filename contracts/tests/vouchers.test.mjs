// Which vouchers a PayChannel honours, and under which keys and terms it takes no money.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { beforeEach, test } from 'node:test';
import { createShardAccount } from '@ton/sandbox';
import { Chain, MAINNET, TESTNET, account } from './support/chain.mjs';
import { keyPairFromSeed } from '@ton/crypto';
import {
  CODE, ERROR, MAX_CLOSE_DELAY, PAYER, PayChannel, RECEIVER, TERMS, TON, VOUCHER_DOMAIN, storageCell,
} from './support/pay_channel.mjs';
import { bytesOf, smallOrderEncodings } from './support/ed25519.mjs';

let chain;
let channel;

beforeEach(async () => {
  chain = await Chain.create();
  channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
});

const redeem = (amount, options = {}) => channel.send('Redeem', { from: RECEIVER, amount, ...options });

test('the voucher of the right domain, network and channel, signed by the payer, is honoured', async () => {
  assert.ok((await redeem(TON, { signature: channel.sign(TON) })).accepted);
});

const OTHERS = {
  'of another kind of message': () => channel.sign(TON, { domain: VOUCHER_DOMAIN + 1 }),
  'for another network': () => channel.sign(TON, { globalId: TESTNET }),
  'for another channel': () => channel.sign(TON, { channel: new PayChannel(chain, { ...TERMS, salt: 8n }).address }),
  'for another amount': () => channel.sign(TON + 1n),
  'signed by another key': () => channel.sign(TON, { key: keyPairFromSeed(createHash('sha256').update('other').digest()) }),
  'with a bit turned': () => Buffer.from(channel.sign(TON).map((byte, index) => (index === 63 ? byte ^ 1 : byte))),
  'without a signature': () => Buffer.alloc(64),
};
for (const [what, signature] of Object.entries(OTHERS)) {
  for (const op of ['Redeem', 'RedeemAndClose']) {
    test(`${op}: a voucher ${what} is refused`, async () => {
      const receipt = await channel.send(op, { from: RECEIVER, amount: TON, signature: signature() });
      assert.equal(receipt.exitCode, ERROR.signature);
      assert.equal((await channel.state()).settled, 0n);
    });
  }
}

test('the same channel on the test network takes vouchers of the test network alone', async () => {
  chain = await Chain.create({ globalId: TESTNET });
  channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
  assert.equal((await redeem(TON, { signature: channel.sign(TON, { globalId: MAINNET }) })).exitCode, ERROR.signature);
  assert.ok((await redeem(TON, { signature: channel.sign(TON, { globalId: TESTNET }) })).accepted);
});

test('a voucher pays once', async () => {
  const signature = channel.sign(2n * TON);
  assert.ok((await redeem(2n * TON, { signature })).accepted);
  assert.equal((await redeem(2n * TON, { signature })).exitCode, ERROR.stale);
  assert.equal((await channel.send('RedeemAndClose', { from: RECEIVER, amount: 2n * TON, signature })).exitCode, ERROR.stale);
});

test('after a newer voucher an older one pays nothing', async () => {
  assert.ok((await redeem(2n * TON)).accepted);
  assert.equal((await redeem(TON)).exitCode, ERROR.stale);
});

test('what a voucher allows is a ceiling', async () => {
  assert.equal((await redeem(TON + 1n, { cumulative: TON })).exitCode, ERROR.aboveVoucher);
});

test('a voucher above what is deposited pays up to that', async () => {
  assert.equal((await redeem(5n * TON + 1n)).exitCode, ERROR.amount);
  assert.ok((await redeem(5n * TON, { cumulative: 9n * TON })).accepted);
});

test('amounts at the end of their range are compared, not wrapped', async () => {
  const largest = (1n << 120n) - 1n;
  assert.equal((await redeem(largest)).exitCode, ERROR.amount);
  assert.equal((await redeem(0n, { cumulative: largest })).exitCode, ERROR.stale);
  assert.ok((await redeem(TON, { cumulative: largest })).accepted);
  assert.equal((await channel.send('PartialRefund', { from: RECEIVER, amount: largest })).exitCode, ERROR.amount);
});

const opening = (terms, workchain) => new PayChannel(chain, { ...TERMS, ...terms }, workchain).send('Deposit', { from: PAYER, value: TON });

test('no money comes into a channel whose key has a small order, however it is written', async () => {
  const weak = smallOrderEncodings();
  // Two points each of order 4 and 8 and 8, one each of order 1 and 2, in every encoding of y and of the sign of x.
  assert.equal(weak.length, 14);
  for (const key of weak) {
    const receipt = await opening({ payerKey: key });
    assert.equal(receipt.exitCode, ERROR.weakKey, key.toString('hex'));
    assert.ok(receipt.bounced);
  }
});

test('keys beside the weak ones are not refused', async () => {
  for (const key of smallOrderEncodings()) {
    for (const [index, change] of [[0, 2], [0, 0x20], [15, 1], [30, 1], [31, 0x40]]) {
      const beside = Buffer.from(key);
      beside[index] ^= change;
      if (smallOrderEncodings().some((one) => one.equals(beside))) continue;
      assert.ok((await opening({ payerKey: beside })).accepted, beside.toString('hex'));
    }
  }
});

test('why: under the identity anybody signs anything', async () => {
  const payerKey = bytesOf(1n);
  // No such channel holds money; this one was made by hand, with storage that its address is not the hash of.
  const forged = new PayChannel(chain, { ...TERMS, payerKey });
  const data = storageCell(forged.terms, { deposited: 5n * TON });
  await chain.setAccount(forged.address, createShardAccount({ address: forged.address, code: CODE, data, balance: 6n * TON }));
  const signature = Buffer.concat([bytesOf(1n), bytesOf(0n)]);
  assert.ok((await forged.send('Redeem', { from: RECEIVER, amount: 5n * TON, signature })).accepted);
});

test('no money comes into a channel that could not be left or paid out of', async () => {
  for (const terms of [
    { closeDelay: MAX_CLOSE_DELAY + 1 }, { closeDelay: 2 ** 32 - 1 }, { payer: account('payer', -1) }, { receiver: account('receiver', -1) },
  ]) {
    assert.equal((await opening(terms)).exitCode, ERROR.terms);
  }
  assert.equal((await opening({}, -1)).exitCode, ERROR.terms);
  assert.ok((await opening({ closeDelay: MAX_CLOSE_DELAY })).accepted);
});
