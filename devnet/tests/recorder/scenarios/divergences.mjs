// Where the two executors do not do the same, each on a chain of its own. What they do: replay/divergences.rs.

import { Cell, beginCell, contractAddress } from '@ton/core';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import { TON } from '../../../../contracts/tests/support/pay_channel.mjs';
import { treeOf } from '../cells.mjs';
import { CODE, ORDERS, Puppet, currenciesOf, list, rawList, relaxed, send, sendOut } from '../puppet.mjs';
import { attempt } from '../recording.mjs';

const PAYEE = account('a payee');
const SEND_MESSAGE = 0x0ec3c86d;

const sendCell = (mode, message) => (
  beginCell().storeUint(SEND_MESSAGE, 32).storeUint(mode, 8).storeRef(message).endCell()
);
const good = sendCell(0, relaxed(send(PAYEE, TON / 10n)));
/** In a cell without a bit there is no message. */
const unreadable = (mode) => sendCell(mode, Cell.EMPTY);

/** A contract with other currencies carries out each list of actions from the same state. */
const lists = (...actions) => async (chain) => {
  const puppet = new Puppet(chain);
  await puppet.tell(ORDERS.nothing(), { value: 20n * TON, extra: { 7: 1000n, 9: 50n, 11: 1n } });
  const state = chain.snapshot();
  for (const one of actions) {
    await chain.restore(state);
    await puppet.tell(ORDERS.act(one), { value: TON / 2n });
  }
};

const sending = (changes) => list([send(PAYEE, TON / 10n, changes)]);

const unreadableAmong = (modes) => modes.flatMap((mode) => (
  [[unreadable(mode)], [good, unreadable(mode)], [unreadable(mode), good]].map(rawList)
));

/** An account is deployed with this state. */
const deploying = (changes) => async (chain) => {
  const init = { code: CODE, data: Cell.EMPTY, ...changes };
  const to = contractAddress(0, init);
  await chain.send({ from: PAYEE, to, value: TON, init, body: ORDERS.nothing() });
};

/** A message of as many cells as it may have, its root not counted. */
async function largestFromOutside(chain) {
  const puppet = new Puppet(chain);
  await puppet.tell(ORDERS.nothing(), { value: 2000n * TON });
  await attempt(puppet.tellFromOutside(ORDERS.store(treeOf(8192))));
}

const INVALID_MODES = [4, 8, 192].flatMap((base) => [2, 3, 18].map((flags) => base | flags));

export const SCENARIOS = {
  'divergence: an invalid mode with 2': lists(
    ...INVALID_MODES.map((mode) => sending({ mode })), list([sendOut(2 | 32)]),
  ),
  "divergence: another's address as the source, with 2": lists(sending({ mode: 2, src: PAYEE })),
  'divergence: an unreadable message with 2': lists(...unreadableAmong([2, 18])),
  'divergence: an unreadable message': lists(...unreadableAmong([0, 16])),
  'divergence: none of a currency': lists(sending({ extra: currenciesOf({ 7: 0n }) })),
  'divergence: three currencies': lists(sending({ extra: currenciesOf({ 7: 1n, 9: 1n, 11: 1n }) })),
  'divergence: flags that no message has': lists(sending({ ihrFee: 4n }), sending({ ihrFee: 200n })),
  'divergence: split depth 0': deploying({ splitDepth: 0 }),
  'divergence: split depth 5': deploying({ splitDepth: 5 }),
  'divergence: special flags, none of them set': deploying({ special: { tick: false, tock: false } }),
  'divergence: the largest message from outside': largestFromOutside,
};
