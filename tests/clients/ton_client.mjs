// @ton/ton's own client, unmodified, against a local chain: it parses every answer strictly.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Cell, SendMode, beginCell, comment, contractAddress, internal } from '@ton/core';
import { keyPairFromSeed, sign } from '@ton/crypto';
import { TonClient, WalletContractV5R1 } from '@ton/ton';

const ORIGIN = process.env.COCOON_DEVNET;
const CODE = Cell.fromBase64(process.env.COCOON_PAY_CHANNEL_CODE);
const GLOBAL_ID = Number(process.env.COCOON_GLOBAL_ID);

const TON = 1_000_000_000n;
const DEPOSIT = 0x50430101;
const REDEEM = 0x50430102;
const VOUCHER = 0x564f5543;
/** What a page of transactions has. */
const PAGE = 2;

const keyOf = (name) => keyPairFromSeed(createHash('sha256').update(name).digest());
const client = new TonClient({ endpoint: `${ORIGIN}/api/v2/jsonRPC` });

async function eventually(what, condition) {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (await condition()) return;
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  throw new Error(`not within a minute: ${what}`);
}

async function fund(address, amount) {
  const body = JSON.stringify({ address: address.toString(), amount: amount.toString() });
  const answer = await fetch(`${ORIGIN}/devnet/faucet`, { method: 'POST', body });
  assert.equal(answer.status, 200, await answer.text());
  await eventually('the faucet', async () => (await client.getBalance(address)) >= amount);
}

const key = keyOf('the wallet of @ton/ton');
const wallet = client.open(WalletContractV5R1.create({
  publicKey: key.publicKey, walletId: { networkGlobalId: GLOBAL_ID },
}));

let seqno = 0;
/** Sends messages by one signed request, and waits until the wallet has run it. */
async function send(...messages) {
  const sendMode = SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS;
  await wallet.sendTransfer({ seqno, secretKey: key.secretKey, sendMode, messages });
  seqno += 1;
  await eventually('the wallet', async () => (await wallet.getSeqno()) === seqno);
}

// An account that is not there yet.
const nothing = await client.getContractState(wallet.address);
assert.deepEqual([nothing.state, nothing.balance, nothing.lastTransaction], ['uninitialized', 0n, null]);
assert.equal(await client.isContractDeployed(wallet.address), false);

// The wallet deploys itself with its first transfer.
await fund(wallet.address, 100n * TON);
const payee = WalletContractV5R1.create({ publicKey: keyOf('a payee').publicKey }).address;
await send(internal({ to: payee, value: TON, bounce: false, body: comment('hello') }));
assert.ok(await client.isContractDeployed(wallet.address));
await eventually('the payee', async () => (await client.getBalance(payee)) > 0n);
assert.equal(await client.getBalance(payee), TON);

// A channel, in which the wallet is both parties.
const terms = beginCell().storeAddress(wallet.address).storeBuffer(key.publicKey).storeAddress(wallet.address)
  .storeUint(86_400, 32).storeUint(7, 64).endCell();
const data = beginCell().storeUint(0, 2).storeCoins(0).storeCoins(0).storeUint(0, 32).storeRef(terms).endCell();
const init = { code: CODE, data };
const channel = contractAddress(0, init);
const operation = (op) => beginCell().storeUint(op, 32).storeUint(42, 64);
const deposit = internal({ to: channel, value: 5n * TON, init, body: operation(DEPOSIT).endCell() });
await send(deposit);
await eventually('the channel', () => client.isContractDeployed(channel));

async function channelState() {
  const { stack } = await client.runMethod(channel, 'channel_state');
  return { state: stack.readNumber(), deposited: stack.readBigNumber(), settled: stack.readBigNumber() };
}
const opened = await channelState();
assert.ok(opened.state === 0 && opened.deposited > 4n * TON && opened.settled === 0n);
const { stack: told } = await client.runMethod(channel, 'channel_terms');
assert.ok(told.readAddress().equals(wallet.address));
assert.equal(told.readBigNumber(), BigInt(`0x${key.publicKey.toString('hex')}`));

// What the channel says is signed is what we sign.
const amount = 2n * TON;
const voucher = beginCell().storeUint(VOUCHER, 32).storeInt(GLOBAL_ID, 32).storeAddress(channel);
const hash = voucher.storeCoins(amount).endCell().hash();
const { stack: hashed } = await client.runMethod(channel, 'voucher_hash', [{ type: 'int', value: amount }]);
assert.equal(hashed.readBigNumber(), BigInt(`0x${hash.toString('hex')}`));
const redeem = operation(REDEEM).storeCoins(amount).storeCoins(amount).storeBuffer(sign(hash, key.secretKey));
await send(internal({ to: channel, value: TON, body: redeem.endCell() }));
await eventually('the redeemed', async () => (await channelState()).settled === amount);
await assert.rejects(client.runMethod(channel, 'no_such_method'));
assert.equal((await client.runMethodWithError(channel, 'no_such_method')).exit_code, 11);

// All the wallet's transactions, page by page and at once: the faucet, three requests, what the channel paid.
const TRANSACTIONS = 5;
const all = () => client.getTransactions(wallet.address, { limit: 100 });
await eventually('the payment', async () => (await all()).length === TRANSACTIONS);
const pages = [];
for (let from = {}; ;) {
  const page = await client.getTransactions(wallet.address, { limit: PAGE, ...from });
  if (page.length === 0) break;
  pages.push(page);
  const last = page.at(-1);
  from = { lt: last.lt.toString(), hash: last.hash().toString('base64') };
}
const paged = pages.flat();
const names = (transactions) => transactions.map((transaction) => transaction.hash().toString('hex'));
assert.deepEqual(pages.map((page) => page.length), [2, 2, 1]);
assert.deepEqual(names(paged), names(await all()));
for (const [n, { prevTransactionLt, prevTransactionHash }] of paged.entries()) {
  const before = paged[n + 1];
  assert.equal(prevTransactionLt, before?.lt ?? 0n);
  assert.equal(prevTransactionHash, before === undefined ? 0n : BigInt(`0x${before.hash().toString('hex')}`));
}
const [newest] = paged;
const at = { lt: newest.lt.toString(), hash: newest.hash().toString('base64') };
for (const options of [{ limit: 1, inclusive: true, ...at }, { limit: 9, to_lt: paged[1].lt.toString() }]) {
  assert.deepEqual(names(await client.getTransactions(wallet.address, options)), names([newest]));
}
assert.equal((await client.getTransaction(wallet.address, at.lt, at.hash)).lt, newest.lt);
const { lastTransaction } = await client.getContractState(wallet.address);
assert.deepEqual(lastTransaction, at);

// Where a message went, and where it came from.
const sent = paged.find(({ outMessages }) => outMessages.get(0)?.info.dest.equals(channel));
const { createdLt } = sent.outMessages.get(0).info;
const arrived = await client.tryLocateResultTx(wallet.address, channel, createdLt.toString());
assert.equal(arrived.inMessage.info.createdLt, createdLt);
const left = await client.tryLocateSourceTx(wallet.address, channel, createdLt.toString());
assert.deepEqual(names([left]), names([sent]));

// The block that has the newest transaction.
const { latestSeqno } = await client.getMasterchainInfo();
let inBlock;
for (let number = latestSeqno; inBlock === undefined && number > 0; number -= 1) {
  for (const { workchain, shard, seqno: shardSeqno } of await client.getWorkchainShards(number)) {
    const transactions = await client.getShardTransactions(workchain, shardSeqno, shard);
    inBlock ??= transactions.find(({ account, lt }) => account.equals(wallet.address) && lt === at.lt);
  }
}
assert.equal(inBlock.hash, at.hash);

// What a request would cost, and one that is refused: its number is one that was.
const request = (number) => wallet.createTransfer({
  seqno: number, secretKey: key.secretKey, sendMode: SendMode.NONE, messages: [],
});
const estimate = { body: request(seqno), initCode: null, initData: null, ignoreSignature: true };
const { source_fees: fees } = await client.estimateExternalMessageFee(wallet.address, estimate);
assert.ok(fees.gas_fee > 0 && fees.in_fwd_fee > 0);
const balance = await client.getBalance(wallet.address);
const error = await client.sendExternalMessage(wallet, request(seqno - 1)).then(() => undefined, (why) => why);
const refused = error?.response?.data;
assert.equal(refused?.ok, false, `${error}`);
assert.deepEqual([await wallet.getSeqno(), await client.getBalance(wallet.address)], [seqno, balance]);

console.log(JSON.stringify({ transactions: paged.length, pages: pages.length, refused: refused.error }));
