// Tries each operation of a contract, by each kind of sender, in each state, against a table of what they are told.

import assert from 'node:assert/strict';
import { test } from 'node:test';

/** What a sender is told whose message is accepted. */
export const ok = 0;

/**
 * Registers a test for each operation in each state.
 * @param {Record<string, Record<string, number[]>>} told by operation and state, the exit code for each sender
 * @param {Record<string, Address>} senders in the order of those codes
 * @param {() => {chain, contract, snapshots}} world with a snapshot for each state; asked for when the tests run
 * @param {object} fields of every message
 * @param {(contract) => Promise<void>} holds fails where a contract that accepted a message is not as it should be
 */
export function testAccess(told, senders, world, fields, holds) {
  for (const [op, byState] of Object.entries(told)) {
    for (const [state, codes] of Object.entries(byState)) {
      test(`${op} when ${state}`, async () => {
        const { chain, contract, snapshots } = world();
        for (const [index, [who, from]] of Object.entries(senders).entries()) {
          await chain.restore(snapshots[state]);
          // A message that is refused still deploys, which gives nobody anything.
          const stored = (await chain.data(contract.address)) ?? contract.init.data;
          const balance = await contract.balance();
          const receipt = await contract.send(op, { from, ...fields });
          assert.equal(receipt.exitCode, codes[index], `${op} by ${who} when ${state}`);
          if (codes[index] === ok) {
            assert.ok(receipt.accepted && receipt.actionCode === 0 && receipt.skippedActions === 0);
            assert.ok(receipt.sent.every(({ bounce }) => !bounce));
            await holds(contract);
          } else {
            // It changes nothing, and its value goes back to where it came from.
            assert.ok(receipt.bounced);
            assert.deepEqual(receipt.sent.map(({ to }) => to.toString()), [from.toString()]);
            assert.equal((await chain.data(contract.address)).toString(), stored.toString());
            assert.ok((await contract.balance()) >= balance - receipt.rent);
          }
        }
      });
    }
  }
}
