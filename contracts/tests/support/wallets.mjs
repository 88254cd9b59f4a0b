// Real wallets, as people and the settler use them.

import { SendMode, internal } from '@ton/core';
import { WalletContractV2R2, WalletContractV3R2, WalletContractV4, WalletContractV5R1 } from '@ton/ton';
import { KEY, TON } from './pay_channel.mjs';

const KINDS = {
  V2R2: WalletContractV2R2, V3R2: WalletContractV3R2, V4R2: WalletContractV4, W5: WalletContractV5R1,
};

export class Wallet {
  #seqno = 0;

  /** @param {'V2R2' | 'V3R2' | 'V4R2' | 'W5'} kind */
  constructor(chain, kind, key = KEY) {
    this.chain = chain;
    this.key = key;
    const walletId = { networkGlobalId: chain.globalId };
    /** What @ton/ton has for this wallet. */
    this.contract = KINDS[kind].create({ workchain: 0, publicKey: key.publicKey, ...(kind === 'W5' && { walletId }) });
    this.address = this.contract.address;
    this.init = this.contract.init;
  }

  /** Gives the wallet money, and unless `deployed` is false lets it send a first message. */
  async fund({ deployed = true, value = 100_000n * TON } = {}) {
    await this.chain.send({ from: this.address, to: this.address, value, bounce: false });
    if (deployed) await this.send([{ to: this.address, value: 1n }]);
    return this;
  }

  /** What every signed request has, as the wallet would sign it now. */
  request(changes = {}) {
    const sendMode = SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS;
    return { seqno: this.#seqno, secretKey: this.key.secretKey, timeout: this.chain.now + 60, sendMode, ...changes };
  }

  /** The signed body that sends messages `{ to, value, body, init }`; `changes` are to its request. */
  signed(messages, changes) {
    const wrapped = messages.map((message) => internal({ bounce: true, ...message }));
    return this.contract.createTransfer({ ...this.request(changes), messages: wrapped });
  }

  /** Sends messages by one signed external message. */
  send(messages, changes) { return this.submit(this.signed(messages, changes)); }

  /** Sends a signed body, with which the wallet's number goes up. */
  submit(body) {
    const init = this.#seqno === 0 ? this.init : undefined;
    this.#seqno += 1;
    return this.chain.sendExternal(this.address, body, init);
  }
}
