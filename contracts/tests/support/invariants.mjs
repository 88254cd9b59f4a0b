// What holds of a PayChannel after every accepted message, whatever it was.

import assert from 'node:assert/strict';
import { STATE } from './pay_channel.mjs';

/**
 * The balance covers what the channel owes and its rent reserve.
 * @param {PayChannel} channel
 * @param {bigint} rent nanoTON taken since the last accepted message, which tops the reserve up
 */
export async function assertCovered(channel, rent = 0n) {
  const { state, deposited, settled } = await channel.state();
  assert.ok(settled <= deposited, 'settled is above what is deposited');
  if (state === STATE.closed) assert.equal(deposited, settled, 'a closed channel owes something');
  const least = deposited - settled + (await channel.rentReserve()) - rent;
  const balance = await channel.balance();
  assert.ok(balance >= least, `the balance is ${balance}, and should be at least ${least}`);
}
