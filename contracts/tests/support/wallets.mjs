// Real wallets, as people and the settler use them.

import { SendMode, internal } from '@ton/core';
import { WalletContractV4, WalletContractV5R1 } from '@ton/ton';
import { KEY, TON } from './pay_channel.mjs';

const KINDS = { V4R2: WalletContractV4, W5: WalletContractV5R1 };

export class Wallet {
  #contract;
  #seqno = 0;

  /** @param {'V4R2' | 'W5'} kind */
  constructor(chain, kind) {
    this.chain = chain;
    this.#contract = KINDS[kind].create({ workchain: 0, publicKey: KEY.publicKey });
    this.address = this.#contract.address;
  }

  /** Gives the wallet money, and unless `deployed` is false lets it send a first message. */
  async fund({ deployed = true } = {}) {
    await this.chain.send({ from: this.address, to: this.address, value: 100_000n * TON, bounce: false });
    if (deployed) await this.send([{ to: this.address, value: 1n }]);
    return this;
  }

  /** Sends messages `{ to, value, body, init }` by one signed external message. */
  send(messages) {
    const init = this.#seqno === 0 ? this.#contract.init : undefined;
    const body = this.#contract.createTransfer({
      seqno: this.#seqno,
      secretKey: KEY.secretKey,
      timeout: this.chain.now + 60,
      sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
      messages: messages.map((message) => internal({ bounce: true, ...message })),
    });
    this.#seqno += 1;
    return this.chain.sendExternal(this.address, body, init);
  }
}
