// Registry as a client sees it: its address, its messages, its getters.

import { createHash } from 'node:crypto';
import { beginCell, contractAddress } from '@ton/core';
import { account } from './chain.mjs';
import { code } from './code.mjs';

export const CODE = code('registry');

export const OP = {
  ProposePolicy: 0x52470101,
  ActivatePolicy: 0x52470102,
  CancelPolicy: 0x52470103,
  SetPrices: 0x52470104,
  SetGateways: 0x52470105,
  SetChannelCode: 0x52470106,
  SetPublisher: 0x52470107,
  AppendRoot: 0x52470108,
};

export const ERROR = {
  lowValue: 200, unknownOp: 201, tooEarly: 202, notOwner: 230, notPublisher: 231, epoch: 232, version: 233, nothingPending: 234,
};

export const POLICY_DELAY = 48 * 3600;
export const OWNER = account('owner');
export const PUBLISHER = account('publisher');
export const STRANGER = account('stranger');
export const AMPLE = 500_000_000n;

/** A SHA-256 to publish, as a number. */
export const hashOf = (text) => BigInt(`0x${createHash('sha256').update(text).digest('hex')}`);

/** Storage, by default that of a registry which nothing has happened to: what its address is the hash of. */
export function storageCell({ owner = OWNER, publisher = PUBLISHER, lastEpoch = 0, peaks = [] } = {}) {
  const chained = peaks.reduceRight((next, hash) => beginCell().storeUint(hash, 256).storeMaybeRef(next).endCell(), null);
  const policy = beginCell().storeUint(0, 32).storeUint(0, 256).storeBit(false).endCell();
  const published = beginCell().storeUint(0, 32).storeUint(0, 256).storeUint(0, 256).storeUint(0, 256).endCell();
  return beginCell().storeAddress(owner).storeAddress(publisher).storeUint(lastEpoch, 32).storeMaybeRef(chained)
    .storeRef(policy).storeRef(published).endCell();
}

/** The body of operation `name`; `fields` beyond those it has are ignored. */
export function body(name, { queryId = 42n, version = 0, number = 0, hash = 0n, publisher, epoch = 0, root = 0n } = {}) {
  const builder = beginCell().storeUint(OP[name], 32).storeUint(queryId, 64);
  if (name === 'ProposePolicy') builder.storeUint(version, 32).storeUint(hash, 256);
  if (name === 'SetPrices') builder.storeUint(number, 32).storeUint(hash, 256);
  if (name === 'SetGateways' || name === 'SetChannelCode') builder.storeUint(hash, 256);
  if (name === 'SetPublisher') builder.storeAddress(publisher);
  if (name === 'AppendRoot') builder.storeUint(epoch, 32).storeUint(root, 256);
  return builder.endCell();
}

export class Registry {
  constructor(chain) {
    this.chain = chain;
    this.init = { code: CODE, data: storageCell() };
    this.address = contractAddress(0, this.init);
  }

  send(name, { from, value = AMPLE, bounce = true, ...fields }) {
    return this.chain.send({ from, to: this.address, value, bounce, init: this.init, body: body(name, fields) });
  }

  #get(method, stack) { return this.chain.get(this.address, method, stack); }

  async roles() {
    const stack = await this.#get('roles');
    return { owner: stack.readAddress(), publisher: stack.readAddress() };
  }

  async policy() {
    const stack = await this.#get('policy');
    const [version, hash, pendingVersion, pendingHash] = [stack.readNumber(), stack.readBigNumber(), stack.readNumber(), stack.readBigNumber()];
    return { version, hash, pendingVersion, pendingHash, activeAt: stack.readNumber() };
  }

  async published() {
    const stack = await this.#get('published');
    const [number, prices, gateways, channelCode] = [stack.readNumber(), stack.readBigNumber(), stack.readBigNumber(), stack.readBigNumber()];
    return { number, prices, gateways, channelCode };
  }

  /** The last epoch, and the peaks as numbers, the smallest mountain first. */
  async epochs() {
    const stack = await this.#get('epochs');
    const lastEpoch = stack.readNumber();
    const tuple = stack.readTuple();
    const peaks = [];
    while (tuple.remaining > 0) peaks.push(tuple.readBigNumber());
    return { lastEpoch, peaks };
  }

  async required(name) { return (await this.#get('required_value', [{ type: 'int', value: BigInt(OP[name]) }])).readBigNumber(); }
  async rentReserve() { return (await this.#get('rent_reserve')).readBigNumber(); }
  balance() { return this.chain.balance(this.address); }
}
