// Who pays a gateway by a payment channel, with nothing of ours: cells, wallet and client are TON's official ones.
// COCOON_PART says which part it plays:
//   pays      opens, pays, tries what is not its right, deposits more, closes with the gateway
//   prepares  opens and pays
//   leaves    takes the rest back alone, from a channel that was prepared

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { Address, Cell, SendMode, beginCell, contractAddress, internal } from '@ton/core';
import { keyPairFromSeed, sign } from '@ton/crypto';
import { TonClient, WalletContractV5R1 } from '@ton/ton';
import { eventually } from './eventually.mjs';

const { COCOON_DEVNET: ORIGIN, COCOON_GATEWAY: GATEWAY, COCOON_MODEL: MODEL } = process.env;
const CODE = Cell.fromBase64(process.env.COCOON_PAY_CHANNEL_CODE);
const RECEIVER = Address.parse(process.env.COCOON_TREASURY);
const CLOSE_DELAY = Number(process.env.COCOON_CLOSE_DELAY);
const GLOBAL_ID = -3;

const TON = 1_000_000_000n;
const MILLI = TON / 1000n;
const CLOSING = 1;
const CLOSED = 2;

const keyOf = (name) => keyPairFromSeed(createHash('sha256').update(name).digest());
const client = new TonClient({ endpoint: `${ORIGIN}/api/v2/jsonRPC` });

// The wallet and the key of its vouchers, which signs nothing else.
const key = keyOf('a payer');
const vouchers = keyOf('its vouchers');
const wallet = client.open(WalletContractV5R1.create({
  publicKey: key.publicKey, walletId: { networkGlobalId: GLOBAL_ID },
}));

/** Code and storage of a channel with these terms. */
function newChannel(receiver, closeDelay) {
  const terms = beginCell().storeAddress(wallet.address).storeBuffer(vouchers.publicKey).storeAddress(receiver)
    .storeUint(closeDelay, 32).storeUint(1, 64).endCell();
  const data = beginCell().storeUint(0, 2).storeCoins(0).storeCoins(0).storeUint(0, 32).storeRef(terms).endCell();
  return { code: CODE, data };
}

const init = newChannel(RECEIVER, CLOSE_DELAY);
const channel = contractAddress(0, init);

/** Sends one message to the channel, and waits until the wallet has run the request. */
async function send(op, value, rest = (body) => body, more = {}) {
  const seqno = (await client.isContractDeployed(wallet.address)) ? await wallet.getSeqno() : 0;
  const body = rest(beginCell().storeUint(op, 32).storeUint(seqno, 64)).endCell();
  const messages = [internal({ to: channel, value, body, ...more })];
  const sendMode = SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS;
  await wallet.sendTransfer({ seqno, secretKey: key.secretKey, sendMode, messages });
  await eventually('the wallet', async () => (await wallet.getSeqno()) === seqno + 1);
}

async function state() {
  if (!(await client.isContractDeployed(channel))) return undefined;
  const { stack } = await client.runMethod(channel, 'channel_state');
  return {
    state: stack.readNumber(), deposited: stack.readBigNumber(), settled: stack.readBigNumber(),
    closeAt: stack.readNumber(),
  };
}

function signatureOf(cumulative, { by = vouchers, globalId = GLOBAL_ID, of = channel } = {}) {
  const voucher = beginCell().storeUint(0x564f5543, 32).storeInt(globalId, 32).storeAddress(of);
  return sign(voucher.storeCoins(cumulative).endCell().hash(), by.secretKey);
}

/** As it stands after `Bearer `. */
function token(cumulative, changes = {}) {
  const amount = Buffer.alloc(8);
  amount.writeBigUInt64BE(cumulative);
  const bytes = Buffer.concat([(changes.of ?? channel).hash, amount, signatureOf(cumulative, changes)]);
  return `cocoon-voucher-${bytes.toString('base64url')}`;
}

async function ask(method, path, bearer, body) {
  const headers = { 'content-type': 'application/json' };
  if (bearer !== undefined) headers.authorization = `Bearer ${bearer}`;
  const answer = await fetch(`${GATEWAY}${path}`, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, cost: answer.headers.get('cocoon-cost'), json: await answer.json() };
}

let requests = 0;
let charged = 0n;
const HELLO = { model: MODEL, max_tokens: 16, messages: [{ role: 'user', content: 'hello' }] };
const complete = (bearer) => ask('POST', '/chat/completions', bearer, HELLO);

/** A request whose voucher was taken and whose body is not all there; what is given sends the rest. */
async function stalls(cumulative) {
  const body = JSON.stringify(HELLO);
  const headers = {
    authorization: `Bearer ${token(cumulative)}`, 'content-type': 'application/json', 'content-length': body.length,
  };
  const request = http.request(`${GATEWAY}/chat/completions`, { method: 'POST', headers });
  const answer = once(request, 'response');
  request.write(body.slice(0, 10));
  await eventually('its voucher', async () => (await read(token(1n))).ceiling === `${cumulative}`);
  return async () => {
    request.end(body.slice(10));
    const [response] = await answer;
    return { status: response.statusCode, json: JSON.parse(await text(response)) };
  };
}

async function pays(cumulative) {
  const { status, cost, json } = await complete(token(cumulative));
  assert.equal(status, 200, JSON.stringify(json));
  requests += 1;
  charged += BigInt(cost);
}

async function refused(asking, status, code) {
  const { status: found, json } = await asking;
  assert.deepEqual([found, json.error.code], [status, code], JSON.stringify(json));
}

const toOpen = (address = channel) => ask('POST', '/channels', undefined, { address: address.toString() });
const read = async (bearer) => (await ask('GET', `/channels/${channel}`, bearer)).json;

async function opens() {
  const { status, json: offer } = await ask('GET', '/channels');
  assert.equal(status, 200);
  assert.ok(Address.parse(offer.receiver).equals(RECEIVER));
  assert.deepEqual([offer.global_id, offer.min_close_delay_s], [GLOBAL_ID, CLOSE_DELAY]);
  assert.equal(offer.code_hash, CODE.hash().toString('hex'));
  const gift = JSON.stringify({ address: wallet.address.toString(), amount: `${20n * TON}` });
  assert.equal((await fetch(`${ORIGIN}/devnet/faucet`, { method: 'POST', body: gift })).status, 200);
  await eventually('the faucet', async () => (await client.getBalance(wallet.address)) > 0n);
  await refused(toOpen(), 400, 'channel_not_accepted');
  await refused(complete(token(1n)), 401, 'unknown_channel');
  await send(0x50430101, TON + 50n * MILLI, undefined, { init });
  const { deposited } = await eventually('the channel', state);
  assert.ok(deposited > TON);
  await refused(complete(token(1n)), 401, 'unknown_channel');
  const { json: opened } = await toOpen();
  assert.deepEqual([opened.status, opened.deposited, opened.ceiling], ['open', `${deposited}`, '0']);
  assert.ok(Address.parse(opened.address).equals(channel));
  return deposited;
}

/** Whoever is not the receiver can do nothing to it. */
async function triesWhatIsTheReceivers() {
  // The settler redeems what was charged; from here on it has nothing to do.
  const before = await eventually('all is redeemed', async () => {
    const now = await state();
    return now.settled === charged && now;
  });
  const ceiling = 900n * MILLI;
  const claims = (body) => body.storeCoins(charged + MILLI).storeCoins(ceiling).storeBuffer(signatureOf(ceiling));
  for (const [op, rest] of [
    [0x50430102, claims],
    [0x50430103, claims],
    [0x50430104],
    [0x50430105, (body) => body.storeCoins(MILLI)],
    [0x50430107],
    [0x50430108],
    [0x50430181, (body) => body.storeCoins(MILLI)],
    [0x50430109],
  ]) {
    const spent = await client.getBalance(wallet.address);
    await send(op, 100n * MILLI, rest);
    // What is refused comes back, but for fees.
    await eventually(`${op.toString(16)} is refused`, async () => (
      (await client.getBalance(wallet.address)) > spent - 20n * MILLI
    ));
    assert.deepEqual(await state(), before, op.toString(16));
  }
}

const parts = {
  async pays() {
    const first = await opens();
    // Others that are as good, but for whom they pay and how soon they can be left.
    for (const other of [newChannel(wallet.address, CLOSE_DELAY), newChannel(RECEIVER, CLOSE_DELAY - 1)]) {
      const to = contractAddress(0, other);
      await send(0x50430101, TON, undefined, { to, init: other });
      await eventually('it is there', () => client.isContractDeployed(to));
      await refused(toOpen(to), 400, 'channel_not_accepted');
    }
    await refused(complete(token(1n)), 402, 'insufficient_balance');
    await refused(complete(token(200n * MILLI, { by: key })), 401, 'invalid_api_key');
    await refused(complete(token(200n * MILLI, { globalId: -239 })), 401, 'invalid_api_key');
    await refused(complete(token(200n * MILLI, { of: wallet.address })), 401, 'unknown_channel');
    await refused(complete(token(200n * MILLI).slice(0, -4)), 401, 'invalid_api_key');
    await refused(complete(token(first + 1n)), 402, 'channel_exhausted');
    // Of all that, the one nanoTON that was signed has counted, and nothing else.
    assert.deepEqual((({ ceiling, held }) => [ceiling, held])(await read(token(1n))), ['1', '0']);
    await pays(200n * MILLI);
    // An older voucher says who asks, and allows nothing.
    await pays(150n * MILLI);
    const after = await read(token(1n));
    assert.deepEqual([after.ceiling, after.charged, after.held], [`${200n * MILLI}`, `${charged}`, '0']);
    const { json: credits } = await ask('GET', '/credits', token(1n));
    assert.equal(credits.data.balance, `${200n * MILLI - charged}`);
    assert.equal(credits.data.topup ?? null, null, 'a channel is paid into by its contract');
    await refused(ask('GET', `/channels/${wallet.address}`, token(1n)), 403, 'forbidden');
    await refused(ask('POST', '/organization/withdrawals', token(1n), { amount: '1' }), 403, 'forbidden');
    await Promise.all([600n, 700n, 800n, 900n].map((cumulative) => pays(cumulative * MILLI)));
    await triesWhatIsTheReceivers();
    await send(0x50430101, 2n * TON);
    const { deposited } = await eventually('the deposit', async () => {
      const now = await state();
      return now.deposited > first && now;
    });
    assert.equal((await toOpen()).json.deposited, `${deposited}`);
    await pays(first + TON);
    // A request that was let in before the end, and whose body comes after it.
    const stalled = await stalls(first + TON + MILLI);
    const last = await client.getBalance(wallet.address);
    const { json: closed } = await ask('POST', `/channels/${channel}/close`, token(1n));
    assert.deepEqual([closed.status, closed.charged], ['closed', `${charged}`]);
    await refused(stalled(), 403, 'channel_closed');
    await refused(complete(token(deposited)), 403, 'channel_closed');
    await refused(toOpen(), 403, 'channel_closed');
    await eventually('it is closed', async () => (await state()).state === CLOSED);
    await refused(toOpen(), 403, 'channel_closed');
    assert.equal((await state()).settled, charged);
    const rest = deposited - charged;
    await eventually('the refund', async () => (await client.getBalance(wallet.address)) > last + rest - MILLI);
    return { deposited: `${deposited}` };
  },

  async prepares() {
    const deposited = await opens();
    await pays(200n * MILLI);
    return { deposited: `${deposited}` };
  },

  /** The gateway is gone, and its settler too. */
  async leaves() {
    const { deposited, settled } = await state();
    await send(0x50430106, 100n * MILLI);
    const { closeAt } = await eventually('it closes', async () => {
      const now = await state();
      return now.state === CLOSING && now;
    });
    // Too early: nothing happens.
    await send(0x50430107, 100n * MILLI);
    assert.equal((await state()).state, CLOSING);
    const before = await client.getBalance(wallet.address);
    await eventually('the close delay is over', async () => Date.now() / 1000 > closeAt + 1);
    await send(0x50430107, 100n * MILLI);
    await eventually('it is closed', async () => (await state()).state === CLOSED);
    const rest = deposited - settled;
    await eventually('the refund', async () => (
      (await client.getBalance(wallet.address)) > before + rest - 100n * MILLI
    ));
    return { deposited: `${deposited}`, settled: `${settled}` };
  },
};

const said = await parts[process.env.COCOON_PART]();
console.log(JSON.stringify({ requests, charged: `${charged}`, ...said }));
