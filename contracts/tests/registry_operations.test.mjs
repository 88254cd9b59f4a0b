// What each operation of Registry does, and what it costs.

import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { Cell, beginCell, comment } from '@ton/core';
import { createShardAccount } from '@ton/sandbox';
import { Chain } from './support/chain.mjs';
import {
  CODE, ERROR, OP, OWNER, POLICY_DELAY, PUBLISHER, Registry, STRANGER, body, hashOf, storageCell,
} from './support/registry.mjs';

const YEAR = 365 * 86_400;
const NOTHING_WAITS = { pendingVersion: 0, pendingHash: 0n, activeAt: 0 };

let chain;
let registry;
let deployed;

before(async () => {
  chain = await Chain.create();
  registry = new Registry(chain);
  await accepted('SetGateways', {});
  deployed = chain.snapshot();
});
beforeEach(() => chain.restore(deployed));

async function accepted(op, { from = OWNER, ...fields }) {
  const receipt = await registry.send(op, { from, ...fields });
  assert.ok(receipt.accepted, `${op}: ${receipt.exitCode}`);
  return receipt;
}

async function refused(error, op, { from = OWNER, ...fields }) {
  assert.equal((await registry.send(op, { from, ...fields })).exitCode, error, op);
}

test('a policy is in force no earlier than 48 hours after it was proposed', async () => {
  await accepted('ProposePolicy', { version: 1, hash: hashOf('policy') });
  const activeAt = chain.now + POLICY_DELAY;
  const pending = { version: 0, hash: 0n, pendingVersion: 1, pendingHash: hashOf('policy'), activeAt };
  assert.deepEqual(await registry.policy(), pending);
  for (const early of [0, 1, POLICY_DELAY - 2]) {
    chain.now += early;
    await refused(ERROR.tooEarly, 'ActivatePolicy', {});
  }
  chain.now += 1;
  await accepted('ActivatePolicy', { from: STRANGER });
  assert.deepEqual(await registry.policy(), { version: 1, hash: hashOf('policy'), ...NOTHING_WAITS });
  await refused(ERROR.nothingPending, 'ActivatePolicy', {});
});

test('a policy proposed instead waits from the beginning', async () => {
  await accepted('ProposePolicy', { version: 1, hash: hashOf('one') });
  chain.now += POLICY_DELAY;
  await accepted('ProposePolicy', { version: 1, hash: hashOf('another') });
  await refused(ERROR.tooEarly, 'ActivatePolicy', {});
  chain.now += POLICY_DELAY;
  await accepted('ActivatePolicy', {});
  assert.equal((await registry.policy()).hash, hashOf('another'));
});

test('a cancelled policy never comes into force', async () => {
  await accepted('ProposePolicy', { version: 1, hash: hashOf('policy') });
  await accepted('CancelPolicy', {});
  chain.now += POLICY_DELAY;
  await refused(ERROR.nothingPending, 'ActivatePolicy', {});
  assert.deepEqual(await registry.policy(), { version: 0, hash: 0n, ...NOTHING_WAITS });
});

test('versions of policies and numbers of price tables only go up', async () => {
  await accepted('ProposePolicy', { version: 5, hash: hashOf('policy') });
  chain.now += POLICY_DELAY;
  await accepted('ActivatePolicy', {});
  for (const version of [0, 4, 5]) await refused(ERROR.version, 'ProposePolicy', { version });
  await accepted('SetPrices', { number: 7, hash: hashOf('prices') });
  for (const number of [0, 6, 7]) await refused(ERROR.version, 'SetPrices', { number });
  await accepted('SetPrices', { number: 2 ** 32 - 1, hash: hashOf('last prices') });
});

test('prices, gateways and channel code are set at once, each for itself', async () => {
  await accepted('SetPrices', { number: 3, hash: hashOf('prices') });
  await accepted('SetGateways', { hash: hashOf('gateways') });
  await accepted('SetChannelCode', { hash: hashOf('code') });
  const published = { number: 3, prices: hashOf('prices'), gateways: hashOf('gateways'), channelCode: hashOf('code') };
  assert.deepEqual(await registry.published(), published);
});

test('a new publisher may append, the old one may not', async () => {
  await accepted('SetPublisher', { publisher: STRANGER });
  await refused(ERROR.notPublisher, 'AppendRoot', { from: PUBLISHER, epoch: 1 });
  await accepted('AppendRoot', { from: STRANGER, epoch: 1 });
  const { owner, publisher } = await registry.roles();
  assert.deepEqual([owner.toString(), publisher.toString()], [OWNER.toString(), STRANGER.toString()]);
});

test('the code stays what it was', async () => {
  const code = async () => (await chain.code(registry.address)).hash().toString('hex');
  assert.equal(await code(), CODE.hash().toString('hex'));
  for (const op of Object.keys(OP)) {
    for (const from of [OWNER, PUBLISHER, STRANGER]) {
      await registry.send(op, { from, version: 1, number: 1, publisher: PUBLISHER, epoch: 1 });
      assert.equal(await code(), CODE.hash().toString('hex'));
    }
  }
});

test('junk and external messages are refused, what is marked as bounced changes nothing', async () => {
  const stored = await chain.data(registry.address);
  for (const content of [Cell.EMPTY, comment('hello'), beginCell().storeUint(0x52470109, 32).storeUint(0, 64).endCell()]) {
    for (const from of [OWNER, PUBLISHER]) {
      const receipt = await chain.send({ from, to: registry.address, value: 10n ** 9n, body: content });
      assert.ok(receipt.bounced && receipt.gas < 2000n);
    }
  }
  await assert.rejects(chain.sendExternal(registry.address, body('AppendRoot', { epoch: 1 })), /not accepted/);
  const bounced = { from: PUBLISHER, to: registry.address, value: 10n ** 9n, body: body('AppendRoot', { epoch: 1 }), bounce: false, bounced: true };
  assert.ok((await chain.send(bounced)).accepted);
  assert.equal((await chain.data(registry.address)).toString(), stored.toString());
});

for (const prices of ['current', 'old']) {
  test(`${prices} prices: every operation needs exactly its required value, after 3 years without any`, async () => {
    chain = await Chain.create({ prices });
    registry = new Registry(chain);
    await accepted('ProposePolicy', { version: 1 });
    chain.now += 3 * YEAR;
    await chain.send({ from: STRANGER, to: registry.address, value: 10n ** 8n });
    const idle = chain.snapshot();
    for (const op of Object.keys(OP)) {
      await chain.restore(idle);
      const fields = { from: op === 'AppendRoot' ? PUBLISHER : OWNER, version: 1, number: 1, publisher: STRANGER, epoch: 1 };
      const required = await registry.required(op);
      assert.ok(required > (await registry.rentReserve()) / 10n, 'what is missing to the reserve is part of it');
      await refused(ERROR.lowValue, op, { ...fields, value: required - 1n });
      await accepted(op, { ...fields, value: required });
      assert.ok((await registry.balance()) >= (await registry.rentReserve()));
    }
  });

  test(`${prices} prices: the most gas, with the most mountains to merge, is what is asked for`, async () => {
    chain = await Chain.create({ prices });
    registry = new Registry(chain);
    // 2^31 - 1 epochs: 31 mountains, and the next epoch makes one of all of them.
    const peaks = Array.from({ length: 31 }, (_, height) => hashOf(`peak ${height}`));
    const data = storageCell({ lastEpoch: 2 ** 31 - 1, peaks });
    await chain.setAccount(registry.address, createShardAccount({ address: registry.address, code: CODE, data, balance: 10n ** 9n }));
    const bound = (await registry.required('AppendRoot')) - chain.prices.forward.lump;
    const { gas } = await accepted('AppendRoot', { from: PUBLISHER, epoch: 2 ** 31 });
    assert.ok(chain.gasFee(gas) <= bound && chain.gasFee(gas) * 5n >= bound * 4n, `${gas} gas`);
    assert.equal((await registry.epochs()).peaks.length, 1);
    const changes = [['SetPrices', { number: 1 }], ['ProposePolicy', { version: 1 }], ['CancelPolicy', {}], ['ProposePolicy', { version: 1 }]];
    let most = 0n;
    for (const [op, fields] of changes) most = max(most, (await accepted(op, fields)).gas);
    chain.now += POLICY_DELAY;
    most = max(most, (await accepted('ActivatePolicy', {})).gas);
    for (const op of ['SetGateways', 'SetChannelCode', 'SetPublisher']) most = max(most, (await accepted(op, { publisher: STRANGER })).gas);
    const change = (await registry.required('SetPrices')) - chain.prices.forward.lump;
    assert.ok(chain.gasFee(most) <= change && chain.gasFee(most) * 5n >= change * 4n, `${most} gas`);
  });

  test(`${prices} prices: the rent reserve lasts two years with the most mountains there can be`, async () => {
    chain = await Chain.create({ prices });
    registry = new Registry(chain);
    const peaks = Array.from({ length: 31 }, (_, height) => hashOf(`peak ${height}`));
    const data = storageCell({ lastEpoch: 2 ** 32 - 2, peaks });
    await chain.setAccount(registry.address, createShardAccount({ address: registry.address, code: CODE, data, balance: 1n << 62n }));
    await accepted('ProposePolicy', { version: 1, hash: hashOf('policy') });
    await accepted('AppendRoot', { from: PUBLISHER, epoch: 2 ** 32 - 1 });
    assert.equal((await registry.epochs()).peaks.length, 32);
    const rent = chain.rent(await chain.stored(registry.address), 2 * YEAR);
    const reserve = await registry.rentReserve();
    assert.ok(rent <= reserve && rent * 10n >= reserve * 9n, `${rent} of ${reserve}`);
    // There is no epoch after the last number.
    assert.equal((await registry.send('AppendRoot', { from: PUBLISHER, epoch: 0 })).accepted, false);
  });
}

const max = (a, b) => (a > b ? a : b);
