// Makes the files of this folder with @ton/core, @ton/ton and the official TVM of @ton/sandbox, none of which this
// crate uses: what both make is what the chain means. `npm ci` in contracts/, then
// `node crates/ton/goldens/make.mjs`. A test makes them anew and compares.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Chain, MAINNET, TESTNET, account } from '../../../contracts/tests/support/chain.mjs';
import * as channels from '../../../contracts/tests/support/pay_channel.mjs';
import * as mountains from '../../../contracts/tests/support/mountains.mjs';
import * as registries from '../../../contracts/tests/support/registry.mjs';
import { smallOrderEncodings } from '../../../contracts/tests/support/ed25519.mjs';

const require = createRequire(new URL('../../../contracts/package.json', import.meta.url));
const {
  SendMode, beginCell, comment, contractAddress, internal, storeStateInit, storeTransaction,
} = require('@ton/core');
const { WalletContractV5R1 } = require('@ton/ton');
const { keyPairFromSeed, sign } = require('@ton/crypto');

const { TON } = channels;
const here = (name, value) => writeFileSync(new URL(name, import.meta.url), value);
const json = (value) => `${JSON.stringify(value, null, 1)}\n`;
const hash = (cell) => cell.hash().toString('hex');
const raw = (address) => address.toRawString();

function vouchers() {
  const channel = contractAddress(0, { code: channels.CODE, data: channels.storageCell(channels.TERMS) });
  const key = channels.KEY;
  const amounts = [1n, 255n, 256n, 5n * TON, (1n << 64n) - 1n].map((amount) => [TESTNET, amount]);
  return [[MAINNET, 1n], ...amounts].map(([globalId, cumulative]) => {
    const cell = channels.voucherCell({ globalId, channel, cumulative });
    return {
      globalId, channel: raw(channel), cumulative: `${cumulative}`, bits: cell.bits.toString(), hash: hash(cell),
      signature: sign(cell.hash(), key.secretKey).toString('hex'),
    };
  });
}

function channel() {
  const terms = channels.TERMS;
  const data = channels.storageCell(terms);
  const state = { state: 1, deposited: 5n * TON, settled: 2n * TON, closeAt: 1_790_000_000 };
  const signature = Buffer.alloc(64, 0xab);
  const fields = { amount: TON, cumulative: 2n * TON, signature };
  const bodies = Object.keys(channels.OP).map((name) => [name, hash(answer(name) ?? channels.body(name, fields))]);
  return {
    payer: raw(terms.payer), payerKey: terms.payerKey.toString('hex'), receiver: raw(terms.receiver),
    closeDelay: terms.closeDelay, salt: `${terms.salt}`,
    address: raw(contractAddress(0, { code: channels.CODE, data })),
    newStorage: hash(data), usedStorage: hash(channels.storageCell(terms, state)),
    queryId: 42, signature: signature.toString('hex'), bodies: Object.fromEntries(bodies),
  };

  function answer(name) {
    if (name !== 'Paid' && name !== 'Refund') return undefined;
    return beginCell().storeUint(channels.OP[name], 32).storeUint(42, 64).storeCoins(TON).endCell();
  }
}

function registry() {
  const number = (byte) => BigInt(`0x${Buffer.alloc(32, byte).toString('hex')}`);
  const publisher = registries.PUBLISHER;
  const fields = { version: 4, number: 5, hash: number(0xaa), publisher, epoch: 6, root: number(0xbb) };
  const data = registries.storageCell();
  return {
    owner: raw(registries.OWNER), publisher: raw(publisher),
    address: raw(contractAddress(0, { code: registries.CODE, data })),
    newStorage: hash(data), usedStorage: hash(registries.storageCell({ lastEpoch: 6, peaks: [number(1), number(2)] })),
    bodies: Object.fromEntries(Object.keys(registries.OP).map((name) => [name, hash(registries.body(name, fields))])),
  };
}

/** Ranges over 1 to 13 epochs, built whole: the peaks, and what proves each epoch. */
function ranges() {
  const text = (value) => value.toString(16).padStart(64, '0');
  const roots = Array.from({ length: 13 }, (_, index) => registries.hashOf(`epoch ${index + 1}`));
  return roots.map((_, index) => {
    const some = roots.slice(0, index + 1);
    const paths = some.map((_root, at) => mountains.path(some, at + 1).map(text));
    return { roots: some.map(text), peaks: mountains.peaks(some).map(text), paths };
  });
}

const PAYOUT_OP = 0x50410101;
const payoutBody = (id) => beginCell().storeUint(PAYOUT_OP, 32).storeUint(id, 64).endCell();
const walletOf = (networkGlobalId) => WalletContractV5R1.create({
  publicKey: keyPairFromSeed(Buffer.alloc(32, 1)).publicKey,
  walletId: { networkGlobalId, context: { workchain: 0, walletVersion: 'v5r1', subwalletNumber: 0 } },
});

function signed(wallet, { seqno, timeout, payouts }) {
  return wallet.createTransfer({
    seqno, timeout, secretKey: keyPairFromSeed(Buffer.alloc(32, 1)).secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
    messages: payouts.map(({ id, to, amount, bounce }) => (
      internal({ to, value: amount, bounce, body: payoutBody(id) })
    )),
  });
}

/** The external message as it is sent, with the body and the state in cells of their own. */
function wrapped(wallet, body, deploy) {
  const init = deploy ? wallet.init : undefined;
  const builder = beginCell().storeUint(0b10, 2).storeUint(0, 2).storeAddress(wallet.address).storeCoins(0n);
  if (init) builder.storeBit(true).storeBit(true).storeRef(beginCell().store(storeStateInit(init)).endCell());
  else builder.storeBit(false);
  return builder.storeBit(true).storeRef(body).endCell();
}

function wallets() {
  const payouts = [
    { id: 1n, to: account('first'), amount: 1n, bounce: false },
    { id: 0xffffffffffffffffn, to: account('second'), amount: 250n * TON, bounce: true },
    { id: 7n, to: account('third', -1), amount: 256n, bounce: false },
  ];
  return [MAINNET, TESTNET].map((globalId) => {
    const wallet = walletOf(globalId);
    const body = signed(wallet, { seqno: 3, timeout: 1_790_000_060, payouts });
    return {
      globalId, address: raw(wallet.address), shown: wallet.address.toString(),
      seqno: 3, validUntil: 1_790_000_060, bodyHash: hash(body),
      message: hash(wrapped(wallet, body, false)), deploying: hash(wrapped(wallet, body, true)),
      payouts: payouts.map(({ id, to, amount, bounce }) => ({ id: `${id}`, to: raw(to), amount: `${amount}`, bounce })),
    };
  });
}

/** Transactions of a treasury, as the official TVM makes them. */
async function transactions() {
  const recorded = {};
  const boc = (transaction) => beginCell().store(storeTransaction(transaction)).endCell().toBoc().toString('base64');
  const record = (name, { transactions: [first] }) => { recorded[name] = boc(first); return first; };
  const wallet = walletOf(MAINNET);
  const from = account('user');
  const chain = await Chain.create();
  const poor = (value, bounce) => pay(comment('cocoon:abc'), { value, bounce });
  const pay = (body, more = {}) => (
    chain.send({ from, to: wallet.address, value: 5n * TON, body, bounce: false, ...more })
  );

  record('not_deployed', await pay(comment('cocoon:abc')));
  record('not_deployed_and_bounced', await pay(comment('cocoon:abc'), { bounce: true }));
  const run = async (seqno, payouts, deploy) => {
    const body = signed(wallet, { seqno, timeout: chain.now + 60, payouts });
    return chain.sendExternal(wallet.address, body, deploy ? wallet.init : undefined);
  };
  await chain.send({ from, to: wallet.address, value: 10n * TON, bounce: false });
  record('deploys', await run(0, [{ id: 100n, to: account('payee'), amount: TON, bounce: false }], true));
  record('deposit', await pay(comment('cocoon:abc')));
  record('deposit_bounceable', await pay(comment('cocoon:abc'), { bounce: true }));
  record('deposit_small', await pay(comment('cocoon:abc'), { value: TON / 100n }));
  record('deposit_long', await pay(comment(`cocoon:${'x'.repeat(300)}`)));
  record('deposit_too_long', await pay(comment(`cocoon:${'x'.repeat(600)}`)));
  record('no_comment', await pay(undefined));
  record('empty_comment', await pay(comment('')));
  record('encrypted', await pay(beginCell().storeUint(0x2167da4b, 32).storeUint(7, 64).endCell()));
  record('not_utf8', await pay(beginCell().storeUint(0, 32).storeUint(0xff, 8).endCell()));
  record('half_a_byte', await pay(beginCell().storeUint(0, 32).storeUint(0xf, 4).endCell()));
  const begun = beginCell().storeUint(0, 32).storeUint(0x61, 8);
  record('two_references', await pay(begun.storeRef(comment('a')).storeRef(comment('b')).endCell()));
  record('ignored', await pay(beginCell().storeUint(0x73696e74, 32).endCell(), { bounce: true }));
  // Not enough for the wallet's 778 units of gas, at 66.67 nanoTON each.
  record('failed', await poor(20_000n, true));
  record('failed_kept', await poor(20_000n, false));

  // A batch whose second payout is more than the wallet has left.
  const payouts = [
    { id: 1n, to: account('one'), amount: TON, bounce: false },
    { id: 2n, to: account('two'), amount: 5000n * TON, bounce: false },
    { id: 3n, to: account('three'), amount: 2n * TON, bounce: true },
  ];
  const batch = await run(1, payouts, false);
  record('batch', batch);
  const back = batch.transactions.find((one) => one.inMessage.info.bounced);
  recorded.bounce = boc(back);
  return {
    treasury: raw(wallet.address), user: raw(from), batchBody: hash(batch.transactions[0].inMessage.body),
    payouts: payouts.map(({ id, to, amount, bounce }) => ({ id: `${id}`, to: raw(to), amount: `${amount}`, bounce })),
    validUntil: chain.now + 60, transactions: recorded,
  };
}

here('weak_keys.txt', `${smallOrderEncodings().map((key) => key.toString('hex')).join('\n')}\n`);
here('vouchers.json', json(vouchers()));
here('pay_channel.json', json(channel()));
here('registry.json', json(registry()));
here('mountains.json', json(ranges()));
here('wallets.json', json(wallets()));
here('transactions.json', json(await transactions()));
