// Messages from nowhere: to accounts that are not there, deploys that fail, flags that few use.

import { Cell, Dictionary, beginCell, comment, contractAddress } from '@ton/core';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import { TON } from '../../../../contracts/tests/support/pay_channel.mjs';
import { chainOf, treeOf } from '../cells.mjs';
import { CODE, ORDERS, Puppet, throwing } from '../puppet.mjs';
import { attempt } from '../recording.mjs';

const SENDER = account('a sender');
/** Nothing; less than a message costs, just that, and a little more, under either price list; plenty. */
const VALUES = [
  0n, 1n, 5_000n, 66_666n, 66_667n, 66_668n, 399_999n, 400_000n, 400_001n, 1_000_000n, TON,
];

async function plain(chain) {
  const text = 'a long story '.repeat(60);
  const bodies = [Cell.EMPTY, comment(''), comment('hello'), comment(text), treeOf(20), chainOf(100)];
  for (const [n, body] of bodies.entries()) {
    for (const bounce of [true, false]) {
      await chain.send({ from: SENDER, to: account(`payee ${n}`), value: TON, body, bounce });
    }
  }
  for (const value of VALUES) {
    for (const bounce of [true, false]) {
      // The second time there may be something on it.
      for (const body of [comment('short'), Cell.EMPTY]) {
        await chain.send({ from: SENDER, to: account(`${value} ${bounce}`), value, bounce, body });
      }
    }
  }
}

/** What is left of a message's value pays for its way back, or does not. */
async function bounces(chain) {
  for (const workchain of [0, -1]) {
    const to = await throwing(chain, workchain);
    for (const value of [...VALUES, 10n * TON]) {
      for (const from of [SENDER, account('a sender', -1)]) {
        await chain.send({ from, to, value, body: comment('come back') });
      }
    }
  }
  const to = await throwing(chain);
  const broad = beginCell().storeUint(7, 300).storeRef(treeOf(3)).endCell();
  for (const body of [Cell.EMPTY, treeOf(50), broad]) {
    // How much of it is to come back: since version 12 these flags are where a fee was that nobody pays.
    for (const ihrFee of [0n, 1n, 2n, 3n]) {
      for (const value of [TON, 500_000n]) await chain.send({ from: SENDER, to, value, body, ihrFee });
      await chain.send({ from: SENDER, to: account('is not there'), value: TON, body, ihrFee });
    }
  }
  for (const extra of [{ 7: 100n }, { 7: 100n, 9: 1n }]) {
    await chain.send({ from: SENDER, to, value: TON, extra });
    await chain.send({ from: SENDER, to: account('takes currencies'), value: TON, extra, bounce: false });
  }
}

async function headers(chain) {
  const puppet = new Puppet(chain);
  for (const fields of [
    { ihrDisabled: false }, { forwardFee: 123_456n }, { createdAt: chain.now - 5 }, { ihrFee: 1n },
    // Sent long ago, and as if after this block began.
    { createdLt: 77n }, { createdLt: 10n ** 12n },
    { bounced: true, bounce: false }, { bounced: true, bounce: true },
  ]) {
    await puppet.tell(ORDERS.lookAround(), { from: SENDER, ...fields });
    await chain.send({ from: SENDER, to: account('payee'), value: TON, bounce: false, ...fields });
  }
}

/** A contract's libraries, of which there is one. */
function libraries(isPublic) {
  const root = beginCell().storeUint(5, 8).endCell();
  const dictionary = Dictionary.empty(Dictionary.Keys.BigUint(256), {
    serialize: (library, builder) => builder.storeBit(library.isPublic).storeRef(library.root),
    parse: () => { throw new Error('never read'); },
  });
  return dictionary.set(BigInt(`0x${root.hash().toString('hex')}`), { isPublic, root });
}

/** State that a message brings and that the account cannot take, or can. */
async function deploys(chain) {
  const good = { code: CODE, data: beginCell().storeUint(1, 8).endCell() };
  const states = [
    good,
    { code: CODE },
    { data: good.data },
    {},
    { ...good, special: { tick: true, tock: true } },
    { ...good, libraries: libraries(false) },
    { ...good, libraries: libraries(true) },
    { code: CODE, data: treeOf(40) },
    { code: CODE, data: treeOf(24) },
    { code: treeOf(30), data: Cell.EMPTY },
    { code: Cell.EMPTY, data: Cell.EMPTY },
  ];
  for (const workchain of [0, -1]) {
    for (const init of states) {
      const send = (fields) => chain.send({
        from: SENDER, to: contractAddress(workchain, init), value: TON, init, body: ORDERS.nothing(), ...fields,
      });
      // With another state than its address says, then with too little, then in earnest, then once more.
      await send({ init: { ...init, data: treeOf(2, 9) } });
      await send({ value: 10_000n, bounce: false });
      await send({ value: 5n * TON });
      await send({ init: good });
    }
  }
  const submit = (to, init) => attempt(chain.sendExternal(to, Cell.EMPTY, init));
  const nowhere = account('is not there');
  const uninit = account('has money alone');
  await chain.send({ from: SENDER, to: uninit, value: TON, bounce: false });
  await submit(contractAddress(0, good), good);
  for (const to of [nowhere, uninit]) {
    await submit(to);
    await submit(to, good);
  }
}

export const SCENARIOS = {
  'transfers: plain': plain,
  'transfers: bounces': bounces,
  'transfers: headers': headers,
  'transfers: deploys': deploys,
};
