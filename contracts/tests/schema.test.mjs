// schema.tlb is what the contracts store, take and send.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chain, MAINNET } from './support/chain.mjs';
import * as channels from './support/pay_channel.mjs';
import * as registries from './support/registry.mjs';
import { prefixes, read } from './support/tlb.mjs';

const { DAY, KEY, PAYER, PayChannel, RECEIVER, TERMS, TON } = channels;
const { OWNER, PUBLISHER, Registry, hashOf } = registries;

const snake = (name) => name.replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

test('it has every message, under its number', () => {
  const used = Object.entries({ ...channels.OP, ...registries.OP }).map(([name, op]) => [snake(name), op]);
  const { voucher, ...messages } = Object.fromEntries(Object.entries(prefixes).filter(([, prefix]) => prefix !== undefined));
  assert.deepEqual(messages, Object.fromEntries(used));
  assert.equal(voucher, channels.VOUCHER_DOMAIN);
});

test('a channel stores, takes and sends what it says', async () => {
  const chain = await Chain.create();
  const channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
  const signature = channel.sign(2n * TON);
  const fields = { amount: TON, cumulative: 2n * TON, signature };
  const { accepted, transactions } = await channel.send('Redeem', { from: RECEIVER, ...fields });
  assert.ok(accepted);
  const asked = read('PayChannelOperation', channels.body('Redeem', fields));
  assert.equal(asked.signature, signature.toString('hex').toUpperCase());
  assert.deepEqual([asked.is, asked.query_id, asked.amount, asked.cumulative], ['redeem', 42n, TON, 2n * TON]);
  const [paid] = transactions[0].outMessages.values();
  assert.deepEqual(read('PayChannelAnswer', paid.body), { is: 'paid', query_id: 42n, amount: TON });

  const closing = await channel.send('StartClose', { from: PAYER });
  const [excesses] = closing.transactions[0].outMessages.values();
  assert.deepEqual(read('Excesses', excesses.body), { is: 'excesses', query_id: 42n });
  const stored = read('PayChannelStorage', await chain.data(channel.address));
  const { state, deposited, settled, closeAt } = await channel.state();
  assert.deepEqual([stored.state, stored.deposited, stored.settled, stored.close_at], [BigInt(state), deposited, settled, BigInt(closeAt)]);
  assert.deepEqual(stored.terms, {
    is: 'pay_channel_terms', payer: PAYER.toString(), payer_key: BigInt(`0x${KEY.publicKey.toString('hex')}`),
    receiver: RECEIVER.toString(), close_delay: BigInt(DAY), salt: TERMS.salt,
  });
  const voucher = { is: 'voucher', global_id: BigInt(MAINNET), channel: channel.address.toString(), cumulative: TON };
  assert.deepEqual(read('Voucher', channel.voucher(TON)), voucher);
  for (const op of ['Deposit', 'RedeemAndClose', 'ReceiverClose', 'PartialRefund', 'StartClose', 'Finalize', 'Sweep']) {
    assert.equal(read('PayChannelOperation', channels.body(op, fields)).is, snake(op));
  }
});

test('a registry stores and takes what it says', async () => {
  const chain = await Chain.create();
  const registry = new Registry(chain);
  for (const epoch of [1, 2, 3]) await registry.send('AppendRoot', { from: PUBLISHER, epoch, root: hashOf(`${epoch}`) });
  await registry.send('ProposePolicy', { from: OWNER, version: 4, hash: hashOf('policy') });
  await registry.send('SetPrices', { from: OWNER, number: 5, hash: hashOf('prices') });
  await registry.send('SetChannelCode', { from: OWNER, hash: hashOf('code') });
  const stored = read('RegistryStorage', await chain.data(registry.address));
  const { lastEpoch, peaks } = await registry.epochs();
  assert.deepEqual([stored.owner, stored.publisher, stored.last_epoch], [OWNER.toString(), PUBLISHER.toString(), BigInt(lastEpoch)]);
  assert.deepEqual([stored.peaks.hash, stored.peaks.next.hash, stored.peaks.next.next], [...peaks, undefined]);
  const { activeAt } = await registry.policy();
  assert.deepEqual(stored.policy, {
    is: 'policy', version: 0n, hash: 0n,
    pending: { is: 'pending_policy', version: 4n, hash: hashOf('policy'), active_at: BigInt(activeAt) },
  });
  assert.deepEqual(stored.published, {
    is: 'published', prices_number: 5n, prices_hash: hashOf('prices'), gateways_hash: 0n, channel_code_hash: hashOf('code'),
  });
  for (const op of Object.keys(registries.OP)) {
    assert.equal(read('RegistryOperation', registries.body(op, { publisher: PUBLISHER })).is, snake(op));
  }
});
