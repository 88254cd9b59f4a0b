// PayChannel as a client sees it: its address, its messages, its vouchers, its getters.

import { createHash } from 'node:crypto';
import { beginCell, contractAddress } from '@ton/core';
import { keyPairFromSeed, sign } from '@ton/crypto';
import { MAINNET, account } from './chain.mjs';
import { code } from './code.mjs';

export const TON = 1_000_000_000n;
export const CODE = code('pay_channel');

export const OP = {
  Deposit: 0x50430101,
  Redeem: 0x50430102,
  RedeemAndClose: 0x50430103,
  ReceiverClose: 0x50430104,
  PartialRefund: 0x50430105,
  StartClose: 0x50430106,
  Finalize: 0x50430107,
  Sweep: 0x50430108,
  Paid: 0x50430181,
  Refund: 0x50430182,
  Excesses: 0xd53276db,
};

export const ERROR = {
  lowValue: 200, unknownOp: 201, tooEarly: 202, state: 210, notPayer: 211, notReceiver: 212, signature: 213, stale: 214,
  aboveVoucher: 215, amount: 216, weakKey: 217, terms: 218, extraCurrency: 219,
};

export const STATE = { open: 0, closing: 1, closed: 2 };

export const VOUCHER_DOMAIN = 0x564f5543;
export const DAY = 86_400;
export const MAX_CLOSE_DELAY = 30 * DAY;

export const KEY = keyPairFromSeed(createHash('sha256').update('payer key').digest());
export const PAYER = account('payer');
export const RECEIVER = account('receiver');
export const STRANGER = account('stranger');

/** More than any operation needs, under either price list. */
export const AMPLE = TON / 5n;

export const TERMS = { payer: PAYER, payerKey: KEY.publicKey, receiver: RECEIVER, closeDelay: DAY, salt: 7n };

export function termsCell({ payer, payerKey, receiver, closeDelay, salt }) {
  return beginCell().storeAddress(payer).storeBuffer(payerKey).storeAddress(receiver).storeUint(closeDelay, 32)
    .storeUint(salt, 64).endCell();
}

/** Storage, by default that of a channel which nothing has happened to: what its address is the hash of. */
export function storageCell(terms, { state = STATE.open, deposited = 0n, settled = 0n, closeAt = 0 } = {}) {
  return beginCell().storeUint(state, 2).storeCoins(deposited).storeCoins(settled).storeUint(closeAt, 32)
    .storeRef(termsCell(terms)).endCell();
}

export function voucherCell({ domain = VOUCHER_DOMAIN, globalId = MAINNET, channel, cumulative }) {
  return beginCell().storeUint(domain, 32).storeInt(globalId, 32).storeAddress(channel).storeCoins(cumulative).endCell();
}

const isVoucher = (name) => name === 'Redeem' || name === 'RedeemAndClose';

/** The body of operation `name`; `fields` beyond those it has are ignored. */
export function body(name, { queryId = 42n, amount = 0n, cumulative = amount, signature } = {}) {
  const builder = beginCell().storeUint(OP[name], 32).storeUint(queryId, 64);
  if (name === 'PartialRefund') builder.storeCoins(amount);
  if (isVoucher(name)) {
    builder.storeCoins(amount).storeCoins(cumulative).storeBuffer(signature, 64);
  }
  return builder.endCell();
}

export class PayChannel {
  #rentReserve;

  constructor(chain, terms = TERMS, workchain = 0) {
    this.chain = chain;
    this.terms = terms;
    this.init = { code: CODE, data: storageCell(terms) };
    this.address = contractAddress(workchain, this.init);
  }

  /** A voucher of this channel; `changes` make it one for something else. */
  voucher(cumulative, changes = {}) { return voucherCell({ channel: this.address, cumulative, ...changes }); }

  /** A signature over such a voucher. */
  sign(cumulative, { key = KEY, ...changes } = {}) { return sign(this.voucher(cumulative, changes).hash(), key.secretKey); }

  /**
   * Sends operation `name`. A voucher that is not given is signed for `cumulative`, which is `amount` if not given.
   * The message carries the channel's code and terms, so that it deploys the channel if need be.
   */
  send(name, { from, value = AMPLE, bounce = true, ...fields }) {
    const { amount = 0n, cumulative = amount, signature = isVoucher(name) ? this.sign(cumulative) : undefined } = fields;
    const message = { from, to: this.address, value, bounce, init: this.init };
    return this.chain.send({ ...message, body: body(name, { ...fields, signature }) });
  }

  /** Deposits exactly `amount`. */
  async deposit(amount, from = this.terms.payer) {
    const deposited = async () => ((await this.chain.data(this.address)) ? (await this.state()).deposited : 0n);
    const before = await deposited();
    // The first message deploys the channel, which cannot be asked before.
    if (before === 0n) await this.send('Deposit', { from, value: TON });
    const missing = before + amount - (await deposited());
    if (missing <= 0n) throw new Error('more is deposited than was asked for');
    await this.send('Deposit', { from, value: missing + (await this.required('Deposit')) });
  }

  async state() {
    const stack = await this.chain.get(this.address, 'channel_state');
    const [state, deposited, settled, closeAt] = [stack.readNumber(), stack.readBigNumber(), stack.readBigNumber(), stack.readNumber()];
    return { state, deposited, settled, closeAt };
  }

  async required(name) {
    const stack = await this.chain.get(this.address, 'required_value', [{ type: 'int', value: BigInt(OP[name]) }]);
    return stack.readBigNumber();
  }

  /** The same as long as prices are. */
  async rentReserve() {
    this.#rentReserve ??= (await this.chain.get(this.address, 'rent_reserve')).readBigNumber();
    return this.#rentReserve;
  }

  balance() { return this.chain.balance(this.address); }
}
