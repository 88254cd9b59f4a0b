// A chain of our own on the official TVM: two price lists, any network, time that stands still.

import { createHash } from 'node:crypto';
import { Address, Cell, Dictionary, beginCell, external } from '@ton/core';
import { Blockchain, Executor, internal } from '@ton/sandbox';

/** Unix time at which every chain here begins; after the current prices came into force. */
export const BEGIN = 1_790_000_000;
export const MAINNET = -239;
export const TESTNET = -3;

/**
 * Prices of the basechain, as in the network's configuration: gas and bits and cells of messages in 1/65536 nanoTON, storage
 * in 1/65536 nanoTON a second. `old` was in force until April 2026.
 */
export const PRICES = {
  old: {
    storage: { bit: 1n, cell: 500n },
    gas: { flat: 40_000n, unit: 26_214_400n },
    forward: { lump: 400_000n, bit: 26_214_400n, cell: 2_621_440_000n },
  },
  current: {
    storage: { bit: 0n, cell: 135n },
    gas: { flat: 6_667n, unit: 4_369_067n },
    forward: { lump: 66_667n, bit: 4_369_067n, cell: 436_906_667n },
  },
};

/** The address of an account that nobody deployed. */
export function account(name, workchain = 0) {
  return new Address(workchain, createHash('sha256').update(name).digest());
}

/** The emulator's configuration with other prices and another network in it (parameters 18, 19, 21 and 25 of block.tlb). */
function configuration(base, { storage, gas, forward }, globalId) {
  const parameters = base.beginParse().loadDictDirect(Dictionary.Keys.Int(32), Dictionary.Values.Cell());
  const storagePrices = beginCell().storeUint(0xcc, 8).storeUint(0, 32);
  for (const price of [storage.bit, storage.cell, 1000n, 500_000n]) storagePrices.storeUint(price, 64);
  const byTime = Dictionary.empty(Dictionary.Keys.Uint(32), {
    serialize: (value, builder) => builder.storeSlice(value.beginParse()),
    parse: () => { throw new Error('never read'); },
  });
  byTime.set(0, storagePrices.endCell());
  parameters.set(18, beginCell().storeDictDirect(byTime).endCell());
  parameters.set(19, beginCell().storeInt(globalId, 32).endCell());

  const limits = parameters.get(21).beginParse();
  const flat = beginCell().storeBits(limits.loadBits(8)).storeBits(limits.loadBits(64)).storeUint(gas.flat, 64);
  limits.skip(64);
  flat.storeBits(limits.loadBits(8)).storeUint(gas.unit, 64);
  limits.skip(64);
  parameters.set(21, flat.storeSlice(limits).endCell());

  const fractions = parameters.get(25).beginParse().skip(8 + 3 * 64);
  const message = beginCell().storeUint(0xea, 8);
  for (const price of [forward.lump, forward.bit, forward.cell]) message.storeUint(price, 64);
  parameters.set(25, message.storeSlice(fractions).endCell());
  return beginCell().storeDictDirect(parameters).endCell();
}

/** One emulator and one configuration to start from serve all chains of a test file. */
export const EXECUTOR = await Executor.create();
const { config: BASE } = await Blockchain.create({ executor: EXECUTOR, config: 'slim' });

/** Prices are in 1/65536 nanoTON; what is taken is rounded up. */
const over = (price) => (price + 65_535n) / 65_536n;

export class Chain {
  #blockchain;

  /** @param {{prices?: 'old' | 'current', globalId?: number, executor?: IExecutor}} options `executor` may look on */
  static async create({ prices = 'current', globalId = MAINNET, executor = EXECUTOR } = {}) {
    const chain = new Chain();
    chain.prices = PRICES[prices];
    chain.globalId = globalId;
    const config = configuration(BASE, chain.prices, globalId);
    chain.#blockchain = await Blockchain.create({ executor, config });
    chain.#blockchain.now = BEGIN;
    return chain;
  }

  get now() { return this.#blockchain.now; }
  set now(time) { this.#blockchain.now = time; }

  /** All parameters, as the emulator has them. */
  get config() { return this.#blockchain.config; }

  /** What contracts draw random numbers from: 32 bytes. */
  set seed(bytes) { this.#blockchain.random = bytes; }

  /** NanoTON for `gas`, of which 100 have a price of their own. */
  gasFee(gas) {
    const { flat, unit } = this.prices.gas;
    return gas <= 100n ? flat : flat + over(unit * (gas - 100n));
  }

  /** NanoTON for storing an account for a time in seconds. */
  rent({ cells, bits }, seconds) {
    const { cell, bit } = this.prices.storage;
    return over((cells * cell + bits * bit) * BigInt(seconds));
  }

  snapshot() { return this.#blockchain.snapshot(); }
  restore(snapshot) { return this.#blockchain.loadFrom(snapshot); }

  /**
   * Delivers an internal message and all that follow from it; `header` are further fields of it, which few tests need.
   * @returns {Promise<Receipt>} of the transaction on `to`
   */
  async send({ from, to, value, body = Cell.EMPTY, init, bounce = true, bounced = false, extra, ...header }) {
    const message = internal({ from, to, value, body, stateInit: init, bounce, bounced, ec: extra, ...header });
    const { transactions } = await this.#blockchain.sendMessage(message);
    return new Receipt(transactions);
  }

  /** Delivers an external message; throws if its receiver does not accept it. */
  async sendExternal(to, body, init) {
    const { transactions } = await this.#blockchain.sendMessage(external({ to, body, init }));
    return new Receipt(transactions);
  }

  async balance(address) { return (await this.#blockchain.getContract(address)).balance; }

  /** The state of an account: 'uninit', 'active' or 'frozen'. */
  async status(address) { return (await this.#blockchain.getContract(address)).accountState?.type ?? 'uninit'; }

  /** The data of a contract; undefined if it is not deployed. */
  async data(address) { return (await this.#blockchain.getContract(address)).accountState?.state?.data; }

  /** The code of a contract that is deployed. */
  async code(address) { return (await this.#blockchain.getContract(address)).accountState.state.code; }

  /** What an account stores, as rent is charged for it: `{ cells, bits }`. */
  async stored(address) {
    const { used } = (await this.#blockchain.getContract(address)).account.account.storageStats;
    return { cells: used.cells, bits: used.bits };
  }

  async setAccount(address, account) { await this.#blockchain.setShardAccount(address, account); }

  /** The result of a get method, as a reader of its stack; throws if it fails. */
  async get(address, method, stack = []) {
    return (await this.#blockchain.runGetMethod(address, method, stack)).stackReader;
  }
}

/** What became of a message. Amounts are nanoTON. */
export class Receipt {
  constructor(transactions) {
    const [first] = transactions;
    const { computePhase, actionPhase, bouncePhase, storagePhase, aborted } = first.description;
    this.transactions = transactions;
    this.accepted = !aborted;
    /** Of the compute phase; undefined if it was skipped. */
    this.exitCode = computePhase.exitCode;
    /** Of the action phase; undefined if there was none. */
    this.actionCode = actionPhase?.resultCode;
    this.skippedActions = actionPhase?.skippedActions ?? 0;
    this.gas = computePhase.gasUsed ?? 0n;
    this.bounced = bouncePhase?.type === 'ok';
    this.rent = storagePhase?.storageFeesCollected ?? 0n;
    this.sent = [...first.outMessages.values()].map(sentMessage);
    /** Of all transactions, with what the messages between them cost. */
    this.fees = transactions.reduce((sum, one) => sum + feesOf(one), 0n);
  }
}

/** What a transaction took: gas, rent and import, and what the messages it sent pay on their way. */
export function feesOf(transaction) {
  const onTheWay = [...transaction.outMessages.values()].reduce((sum, { info }) => sum + (info.forwardFee ?? 0n), 0n);
  return transaction.totalFees.coins + onTheWay;
}

function sentMessage({ info, body }) {
  const slice = body.beginParse();
  const op = slice.remainingBits >= 32 ? slice.loadUint(32) : undefined;
  // A message to nobody on the chain carries no value.
  return { to: info.dest, value: info.value?.coins ?? 0n, bounce: info.bounce ?? false, op, rest: slice };
}
