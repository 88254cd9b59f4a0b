// Whatever a contract can do or get wrong, by one that does what it is told.

import { createHash } from 'node:crypto';
import { Cell, SendMode, beginCell } from '@ton/core';
import { sign } from '@ton/crypto';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import { KEY, TON } from '../../../../contracts/tests/support/pay_channel.mjs';
import { chainOf, treeOf } from '../cells.mjs';
import {
  CODE, ORDERS, Puppet, currenciesOf, list, rawList, relaxed, reserve, send, sendOut, throwing,
} from '../puppet.mjs';
import { attempt } from '../recording.mjs';

const PAYEE = account('a payee');

const ALL = SendMode.CARRY_ALL_REMAINING_BALANCE;
const INCOMING = SendMode.CARRY_ALL_REMAINING_INCOMING_VALUE;
const IGNORE = SendMode.IGNORE_ERRORS;
/** +16: where the action fails, the message that caused it bounces. */
const BOUNCE = 16;

/** How actions begin, in block.tlb. */
const SEND_MESSAGE = 0x0ec3c86d;
const SET_CODE = 0xad4de08e;
const RESERVE = 0x36e6b809;

async function puppetWith(chain, value = 20n * TON) {
  const puppet = new Puppet(chain);
  await puppet.tell(ORDERS.nothing(), { value });
  return puppet;
}

/** Each order from the same state. */
async function tryEach(puppet, orders, fields = { value: TON / 2n }) {
  const { chain } = puppet;
  const state = chain.snapshot();
  for (const order of orders) {
    await chain.restore(state);
    await puppet.tell(order, fields);
  }
  await chain.restore(state);
}

const act = (...actions) => ORDERS.act(list(actions));

async function modes(chain) {
  const puppet = await puppetWith(chain);
  const bases = [0, INCOMING, ALL, INCOMING | ALL, 4, 8];
  const flags = [0, 1, 2, 3, 16, 18, 32, 34, 48, 51];
  // The last three are no modes. What becomes of them with 2, see divergences.mjs.
  const known = (mode) => (mode & 192) !== 192 && (mode & 12) === 0;
  const every = bases.flatMap((base) => flags.map((flag) => base | flag));
  for (const mode of every.filter((one) => known(one) || (one & IGNORE) === 0)) {
    await tryEach(puppet, [TON / 5n, 100n * TON].map((value) => act(send(PAYEE, value, { mode }))));
  }
  await tryEach(puppet, [0, 1, 2, 3, 16, 18, 32, 64, 128].map((mode) => act(sendOut(mode, treeOf(3)))));
}

/** Several actions for one message, of which the last may fail, or leave nothing for those after it. */
async function sequences(chain) {
  const puppet = await puppetWith(chain);
  const small = send(PAYEE, TON / 10n);
  const much = (mode) => send(PAYEE, 1000n * TON, { mode });
  const rest = (mode) => send(PAYEE, 0n, { mode });
  await tryEach(puppet, [
    act(small, small),
    act(small, much(0)),
    act(small, much(BOUNCE)),
    act(small, much(IGNORE), small),
    act(rest(ALL), small),
    act(rest(ALL), rest(ALL)),
    act(rest(INCOMING), small),
    act(rest(INCOMING), rest(INCOMING)),
    act(rest(INCOMING), rest(INCOMING | 1)),
    act(small, rest(INCOMING)),
    act(small, rest(ALL | 32)),
    act(reserve(TON, 0), rest(ALL | 32)),
    act(reserve(TON, 0), rest(ALL)),
    act(send(PAYEE, 1n), send(PAYEE, 0n)),
    act(sendOut(0), small, sendOut(0)),
    // As many actions as there may be, and one more.
    act(...Array(254).fill(much(IGNORE)), small),
    act(...Array(256).fill(small)),
    ORDERS.storeAndAct(treeOf(5), list([small, much(0)])),
    ORDERS.storeAndAct(treeOf(40), list([small])),
    ORDERS.actAndFail(list([small]), 100),
    ORDERS.commitAndFail(treeOf(3), list([small]), 101),
    ORDERS.commitAndFail(treeOf(30), list([much(0)]), 102),
  ]);
  // The message is to come back with all that it brought, which has been sent on.
  await tryEach(puppet, [act(rest(INCOMING), much(BOUNCE))], { value: TON / 2n, ihrFee: 1n });
  const little = [act(small, much(0)), act(rest(INCOMING)), act(rest(INCOMING | 1))];
  await tryEach(puppet, little, { value: 3_000_000n, bounce: false });
}

async function reserves(chain) {
  const puppet = await puppetWith(chain);
  const rest = send(PAYEE, 0n, { mode: ALL });
  const orders = [];
  for (let mode = 0; mode < 32; mode += 1) {
    for (const coins of [0n, TON, 100n * TON]) orders.push(act(reserve(coins, mode), rest));
  }
  orders.push(act(reserve(TON, 32)));
  orders.push(act(reserve(TON, 0), reserve(TON, 0), rest));
  orders.push(act(reserve(15n * TON, 0), reserve(15n * TON, 0)));
  await tryEach(puppet, orders);
}

/** Lists that are wrong in themselves. */
async function malformed(chain) {
  const puppet = await puppetWith(chain);
  const begin = (tag) => beginCell().storeUint(tag, 32);
  const header = (mode) => begin(SEND_MESSAGE).storeUint(mode, 8);
  const message = relaxed(send(PAYEE, TON / 10n));
  const good = header(0).storeRef(message).endCell();
  const cells = [
    ...[0, 2, 16, 18].map((mode) => header(mode)),
    ...[0, 2, 16, 18].map((mode) => header(mode).storeRef(message).storeBit(1)),
    begin(SEND_MESSAGE), begin(SET_CODE), begin(0xdeadbeef).storeUint(0, 8), beginCell().storeUint(1, 7),
    begin(RESERVE).storeUint(0, 8).storeUint(15, 4),
  ].map((builder) => builder.endCell());
  const lists = cells.flatMap((cell) => [rawList([cell]), rawList([good, cell]), rawList([cell, good])]);
  // Not an action but something else before the end.
  lists.push(beginCell().storeUint(0, 8).endCell(), Cell.EMPTY);
  await tryEach(puppet, lists.map(ORDERS.act));
  const alone = [16, 0].map((mode) => ORDERS.act(rawList([header(mode).endCell()])));
  await tryEach(puppet, alone, { value: TON / 2n, bounce: false });
}

async function addresses(chain) {
  const puppet = await puppetWith(chain);
  const master = account('of the masterchain', -1);
  const refusing = [await throwing(chain), await throwing(chain, -1)];
  const sending = (to, changes) => act(send(to, TON / 10n, changes));
  const orders = [master, account('of no workchain', 5), account('nor of this', 127), puppet.address]
    .flatMap((to) => [0, 2, 16].map((mode) => sending(to, { mode })));
  for (const src of [puppet.address, PAYEE, master]) {
    // What becomes of another's address with 2, see divergences.mjs.
    orders.push(...[0, 16].map((mode) => sending(PAYEE, { mode, src })));
  }
  // Fields that the chain sets itself, whatever the contract wrote.
  for (const changes of [
    { bounced: true }, { ihrDisabled: false }, { forwardFee: 7n }, { createdLt: 9n, createdAt: 9 },
    { ihrFee: 1n }, { ihrFee: 3n },
  ]) {
    orders.push(sending(PAYEE, changes));
  }
  orders.push(...refusing.map((to) => sending(to, { body: treeOf(3), ihrFee: 3n })));
  await tryEach(puppet, orders);
}

async function sizes(chain) {
  const puppet = await puppetWith(chain);
  const sending = (changes, value = TON / 4n) => act(send(PAYEE, value, changes));
  const orders = [1, 3, 100, 400].flatMap((cells) => (
    [0, 2, 16].map((mode) => sending({ mode, body: treeOf(cells) }))
  ));
  // As many as a message may have, and one more.
  for (const [cells, mode] of [[8192, 1], [8193, 1], [8193, 2]]) {
    orders.push(sending({ mode, body: treeOf(cells) }, 19n * TON));
  }
  // Too little for so many cells.
  for (const value of [1n, 100_000n, 5_000_000n]) orders.push(sending({ body: treeOf(200) }, value));
  const skipped = send(PAYEE, 1n, { mode: 1 | IGNORE, body: treeOf(300) });
  orders.push(act(skipped, send(PAYEE, 1n, { mode: 1, body: treeOf(300, 1) })));
  // Cells that occur twice are counted once.
  const shared = treeOf(60);
  orders.push(sending({ body: beginCell().storeRef(shared).storeRef(shared).endCell() }));
  // What does not fit into the message's own cell is moved into one of its own.
  const full = beginCell().storeUint(1, 256).storeUint(2, 256).storeUint(3, 256);
  const fuller = beginCell().storeUint(1, 256).storeRef(full).storeRef(treeOf(3)).endCell();
  const special = { tick: true, tock: false };
  for (const init of [{ code: CODE, data: full.endCell() }, { code: CODE, data: treeOf(10), special }]) {
    for (const body of [Cell.EMPTY, full.endCell(), fuller]) orders.push(sending({ init, body }));
  }
  // The emulator, built for WebAssembly, has no stack for 512.
  for (const depth of [50, 200]) orders.push(sending({ body: chainOf(depth) }));
  await tryEach(puppet, orders);
  await tryEach(puppet, [sending({ body: treeOf(400) })], { value: TON / 2n, bounce: false });
}

async function state(chain) {
  const puppet = await puppetWith(chain);
  const setCode = (code) => ({ type: 'setCode', newCode: code });
  const library = (mode, root) => ({ type: 'changeLibrary', mode, libRef: { type: 'ref', library: root } });
  const named = (mode, root) => (
    { type: 'changeLibrary', mode, libRef: { type: 'hash', libHash: root.hash() } }
  );
  const [one, two] = [treeOf(2, 1), treeOf(2, 2)];
  await tryEach(puppet, [
    act(setCode(CODE)),
    act(setCode(treeOf(3))),
    act(setCode(treeOf(100)), setCode(CODE)),
    act(library(1, one)),
    act(library(2, one)),
    act(library(1, one), library(2, one)),
    act(library(2, one), library(1, two)),
    act(library(1, one), named(2, one)),
    act(library(1, one), named(0, one)),
    act(named(1, one)),
    act(named(BOUNCE | 1, one)),
    act(named(0, one)),
    act(library(3, one)),
    act(library(2, treeOf(1000))),
    act(library(2, treeOf(1001))),
    act(library(BOUNCE | 2, treeOf(1001))),
    ...[1, 10, 15, 25, 26, 27, 28, 40, 300].map((count) => ORDERS.store(treeOf(count))),
    ...[10, 100, 200].map((depth) => ORDERS.store(chainOf(depth))),
    ORDERS.store(beginCell().storeRef(treeOf(30)).storeRef(treeOf(30)).endCell()),
  ]);
  // Up and down across the size from which the chain keeps a hash of what is stored.
  for (const count of [5, 30, 31, 60, 8, 9, 25, 26, 24, 23, 40, 1]) {
    chain.now += 1000;
    await puppet.tell(ORDERS.store(treeOf(count)));
    await puppet.tell(ORDERS.nothing());
    await puppet.tell(act(send(PAYEE, TON / 100n)));
  }
}

async function exitCodes(chain) {
  const puppet = await puppetWith(chain);
  const failing = [0, 1, 2, 3, 5, 37, 200, 0x7fff, 0xffff].map(ORDERS.fail);
  const signature = sign(createHash('sha256').update('signed').digest(), KEY.secretKey);
  await tryEach(puppet, [
    ...failing,
    ORDERS.failWith(55, 0),
    ORDERS.failWith(55, 7),
    ORDERS.failWith(1, 9),
    ORDERS.failWith(56, -1),
    ORDERS.unknown(),
    // Half an order, and one without what it needs.
    beginCell().storeUint(1, 4).endCell(),
    beginCell().storeUint(1, 8).endCell(),
    ORDERS.spin(),
    ORDERS.lookAround(),
    // The first ten checks cost nothing of their own.
    ...[1, 9, 10, 11, 12, 30].map((times) => ORDERS.checkSignatures(times, KEY.publicKey, signature)),
  ]);
  await tryEach(puppet, failing.slice(0, 3), { value: TON / 2n, bounce: false });
  // With gas for some of it.
  for (const value of [100_000n, 700_000n, 1_000_000n]) {
    await tryEach(puppet, [ORDERS.spin(), ORDERS.lookAround()], { value });
  }
}

async function fromOutside(chain) {
  const puppet = await puppetWith(chain);
  const orders = [
    ORDERS.nothing(),
    ORDERS.fail(99),
    ORDERS.failWith(98, 5),
    ORDERS.spin(),
    ORDERS.lookAround(),
    ORDERS.unknown(),
    act(send(PAYEE, TON)),
    act(send(PAYEE, 1000n * TON)),
    ...[INCOMING, ALL, ALL | 32].map((mode) => act(send(PAYEE, 0n, { mode }))),
    ORDERS.commitAndFail(treeOf(3), list([send(PAYEE, TON)]), 97),
    ORDERS.store(treeOf(50)),
    ORDERS.store(beginCell().storeRef(treeOf(200)).endCell()),
    ORDERS.store(chainOf(200)),
    ORDERS.checkSignatures(12, KEY.publicKey, Buffer.alloc(64)),
  ];
  const before = chain.snapshot();
  for (const accept of [true, false]) {
    for (const order of orders) {
      await chain.restore(before);
      await attempt(puppet.tellFromOutside(order, { accept }));
    }
  }
  await chain.restore(before);
  await attempt(puppet.tellFromOutside(ORDERS.nothing(), { init: puppet.init }));
  await attempt(puppet.tellFromOutside(ORDERS.nothing(), { init: { code: CODE, data: treeOf(2) } }));
  await attempt(puppet.tellFromOutside(ORDERS.store(treeOf(3000))));
  await chain.restore(before);
  // With nothing on the account, and with next to nothing.
  const leave = (value) => puppet.tell(act(reserve(value, 0), send(PAYEE, 0n, { mode: ALL })));
  for (const value of [0n, 500_000n, 1_000_000n, 5_000_000n]) {
    await leave(value);
    for (const accept of [true, false]) {
      for (const order of [ORDERS.nothing(), ORDERS.spin(), ORDERS.store(treeOf(20))]) {
        await attempt(puppet.tellFromOutside(order, { accept }));
      }
    }
  }
}

/** What the chain tells a contract: times, amounts, prices, random numbers. */
async function surroundings(chain) {
  const puppet = await puppetWith(chain);
  for (const seed of ['one', 'two', 'three']) {
    chain.seed = createHash('sha256').update(seed).digest();
    chain.now += 12_345;
    await puppet.tell(ORDERS.lookAround());
    const header = { forwardFee: 999_999n, createdAt: chain.now - 1, createdLt: 5n };
    await puppet.tell(ORDERS.lookAround(), { bounce: false, ...header });
    await puppet.tellFromOutside(ORDERS.lookAround());
    await new Puppet(chain, { workchain: -1 }).tell(ORDERS.lookAround(), { value: 20n * TON });
  }
}

/** Currencies besides TON, which a contract holds and sends. */
async function currencies(chain) {
  const puppet = await puppetWith(chain);
  await puppet.tell(ORDERS.nothing(), { extra: { 7: 1000n, 9: 50n, 11: 1n } });
  // Never more than there is: the emulator, built for WebAssembly, ends there instead of giving code 38.
  const orders = [{ 7: 10n }, { 7: 1000n }, { 7: 1n, 9: 1n }].map(currenciesOf).flatMap((extra) => (
    [0, 2, 16, 64, 128, 160].map((mode) => act(send(PAYEE, TON / 10n, { mode, extra })))
  ));
  orders.push(act({ type: 'reserve', mode: 0, currency: { coins: 1n, other: currenciesOf({ 7: 1n }) } }));
  orders.push(act(send(PAYEE, 0n, { mode: ALL | 32 })));
  await tryEach(puppet, orders);
}

export const SCENARIOS = {
  'actions: modes of sending': modes,
  'actions: sequences': sequences,
  'actions: reserves': reserves,
  'actions: malformed': malformed,
  'actions: addresses': addresses,
  'actions: sizes': sizes,
  'actions: state': state,
  'actions: exit codes': exitCodes,
  'actions: from outside': fromOutside,
  'actions: surroundings': surroundings,
  'actions: currencies': currencies,
};
