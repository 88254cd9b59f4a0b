// Registry: all its operations, and epochs enough for several peaks.

import { Cell, comment } from '@ton/core';
import { TON } from '../../../../contracts/tests/support/pay_channel.mjs';
import {
  OP, OWNER, POLICY_DELAY, PUBLISHER, Registry, STRANGER, hashOf,
} from '../../../../contracts/tests/support/registry.mjs';

const OPERATIONS = Object.keys(OP);

/** Of any operation, such as a registry takes first. */
const FIELDS = {
  version: 1, number: 1, hash: hashOf('a policy'), publisher: PUBLISHER, epoch: 1, root: hashOf('a root'),
};

async function operations(chain) {
  const registry = new Registry(chain);
  const fresh = chain.snapshot();
  for (const op of OPERATIONS) {
    for (const from of [OWNER, PUBLISHER, STRANGER]) {
      await chain.restore(fresh);
      // The second time it is refused, or nothing new.
      for (let n = 0; n < 2; n += 1) await registry.send(op, { from, ...FIELDS });
    }
  }
  await chain.restore(fresh);
  for (const version of [1, 2, 3]) {
    await registry.send('ProposePolicy', { from: OWNER, version, hash: hashOf(`policy ${version}`) });
    if (version === 2) await registry.send('CancelPolicy', { from: OWNER });
    chain.now += POLICY_DELAY - 1;
    await registry.send('ActivatePolicy', { from: STRANGER });
    chain.now += 1;
    await registry.send('ActivatePolicy', { from: STRANGER });
  }
  for (const op of OPERATIONS) {
    for (const value of [0n, 1n, 66_667n, 400_000n, (await registry.required(op)) - 1n]) {
      await registry.send(op, { from: OWNER, ...FIELDS, value });
    }
  }
  for (const body of [Cell.EMPTY, comment('hello')]) {
    await chain.send({ from: OWNER, to: registry.address, value: TON, body });
  }
}

async function epochs(chain) {
  const registry = new Registry(chain);
  const append = (epoch, root) => registry.send('AppendRoot', { from: PUBLISHER, epoch, root: hashOf(root) });
  for (let epoch = 1; epoch <= 33; epoch += 1) {
    chain.now += 3600;
    await append(epoch, `root ${epoch}`);
  }
  await append(33, 'again');
}

export const SCENARIOS = { 'registry: operations': operations, 'registry: epochs': epochs };
