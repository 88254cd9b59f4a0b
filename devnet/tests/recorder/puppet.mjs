// A contract that does what it is told: puppet.tolk, its address, its orders.

import { readFileSync } from 'node:fs';
import { Cell, Dictionary, beginCell, contractAddress, storeMessageRelaxed, storeOutList } from '@ton/core';
import { compile } from '../../../contracts/build.mjs';
import { TON } from '../../../contracts/tests/support/pay_channel.mjs';

const compiled = await compile('puppet', (name) => readFileSync(`${import.meta.dirname}/${name}`, 'utf8'));
export const CODE = Cell.fromBase64(compiled.code);

/** Code that refuses every message: `11 THROW` in TVM's bytes. */
const THROWING = beginCell().storeUint(0xf20b, 16).endCell();

const order = (number) => beginCell().storeUint(number, 8);

/** The orders it knows. Actions are a list as register c5 has it; `list` makes one. */
export const ORDERS = {
  nothing: () => order(0).endCell(),
  act: (actions) => order(1).storeRef(actions).endCell(),
  store: (data) => order(2).storeRef(data).endCell(),
  storeAndAct: (data, actions) => order(3).storeRef(data).storeRef(actions).endCell(),
  fail: (code) => order(4).storeUint(code, 16).endCell(),
  failWith: (code, argument) => order(5).storeUint(code, 16).storeInt(argument, 32).endCell(),
  spin: () => order(6).endCell(),
  commitAndFail: (data, actions, code) => (
    order(7).storeRef(data).storeRef(actions).storeUint(code, 16).endCell()
  ),
  lookAround: () => order(8).endCell(),
  checkSignatures: (times, key, signature) => (
    order(9).storeUint(times, 8).storeBuffer(key).storeRef(beginCell().storeBuffer(signature)).endCell()
  ),
  actAndFail: (actions, code) => order(10).storeRef(actions).storeUint(code, 16).endCell(),
  unknown: () => order(99).endCell(),
};

export const list = (actions) => beginCell().store(storeOutList(actions)).endCell();

/** The action that sends a message; `changes` are to its header. */
export function send(to, value, { mode = 0, body = Cell.EMPTY, init, bounce = true, extra, ...changes } = {}) {
  const info = {
    type: 'internal', ihrDisabled: true, bounce, bounced: false, src: null, dest: to,
    value: { coins: value, other: extra }, ihrFee: 0n, forwardFee: 0n, createdLt: 0n, createdAt: 0, ...changes,
  };
  return { type: 'sendMsg', mode, outMsg: { info, init, body } };
}

/** The action that sends a message to nobody on the chain. */
export function sendOut(mode, body = Cell.EMPTY) {
  const info = { type: 'external-out', src: null, dest: null, createdLt: 0n, createdAt: 0 };
  return { type: 'sendMsg', mode, outMsg: { info, body } };
}

export const reserve = (coins, mode) => ({ type: 'reserve', mode, currency: { coins } });

/** Amounts of other currencies by their numbers, as a message or a balance has them. */
export function currenciesOf(amounts) {
  const currencies = Dictionary.empty(Dictionary.Keys.Uint(32), Dictionary.Values.BigVarUint(5));
  for (const [currency, amount] of Object.entries(amounts)) currencies.set(Number(currency), amount);
  return currencies;
}

/** A list of actions that @ton/core would not write: `cells` are the actions without the list before them. */
export function rawList(cells) {
  return cells.reduce(
    (before, cell) => beginCell().storeRef(before).storeSlice(cell.beginParse()).endCell(),
    Cell.EMPTY,
  );
}

/** A message as an action has it, in a cell of its own. */
export const relaxed = ({ outMsg }) => beginCell().store(storeMessageRelaxed(outMsg)).endCell();

export class Puppet {
  constructor(chain, { data = Cell.EMPTY, workchain = 0 } = {}) {
    this.chain = chain;
    this.init = { code: CODE, data };
    this.address = contractAddress(workchain, this.init);
  }

  /** Gives it an order; the message deploys it if need be. */
  tell(body, { from = this.address, value = TON, ...fields } = {}) {
    return this.chain.send({ from, to: this.address, value, init: this.init, body, ...fields });
  }

  /** The same by an external message, which it accepts unless `accept` is false. */
  tellFromOutside(body, { accept = true, init } = {}) {
    const accepted = beginCell().storeUint(accept ? 1 : 0, 8).storeSlice(body.beginParse()).endCell();
    return this.chain.sendExternal(this.address, accepted, init);
  }
}

/** Deploys a contract that refuses every message, and gives its address. */
export async function throwing(chain, workchain = 0) {
  const init = { code: THROWING, data: Cell.EMPTY };
  const to = contractAddress(workchain, init);
  await chain.send({ from: to, to, value: TON, init, bounce: false });
  return to;
}
