// A sequence of operations drawn at random, the same in every run: what nobody thought of.

import { comment } from '@ton/core';
import { account } from '../../../../contracts/tests/support/chain.mjs';
import {
  DAY, OP, PAYER, RECEIVER, STRANGER, TERMS, TON, body,
} from '../../../../contracts/tests/support/pay_channel.mjs';
import { OWNER, PUBLISHER, Registry } from '../../../../contracts/tests/support/registry.mjs';
import { Wallet } from '../../../../contracts/tests/support/wallets.mjs';
import { treeOf } from '../cells.mjs';
import { Chance } from '../chance.mjs';
import { ORDERS, Puppet, list, reserve, send, sendOut } from '../puppet.mjs';
import { attempt } from '../recording.mjs';
import { LocalChannel } from './channel.mjs';

const STEPS = 150;
const SEEDS = process.env.COCOON_TEST_FULL === undefined ? 1 : 10;
const PEOPLE = [PAYER, RECEIVER, STRANGER, OWNER, PUBLISHER];
const OPERATIONS = Object.keys(OP).slice(0, 8);
const OWNERS_OPERATIONS = [
  'ProposePolicy', 'ActivatePolicy', 'CancelPolicy', 'SetPrices', 'SetGateways', 'AppendRoot',
];
/** As often as they are here. */
const STEP_KINDS = [
  'channel', 'channel', 'channel', 'transfer', 'wallet', 'wallet', 'registryOperation', 'puppet', 'puppet',
];
const MODES = [0, 0, 1, 2, 3, 16, 64, 65, 128, 130, 160];

class World {
  constructor(chain, chance) {
    Object.assign(this, { chain, chance });
    this.registry = new Registry(chain);
    this.wallets = ['V4R2', 'W5'].map((kind) => new Wallet(chain, kind));
    const payers = [PAYER, ...this.wallets.map(({ address }) => address)];
    this.channels = payers.map((payer, n) => new LocalChannel(chain, { ...TERMS, payer, salt: BigInt(n) }));
    this.puppets = [0, 0, -1].map((workchain, n) => new Puppet(chain, { workchain, data: treeOf(n + 1) }));
    const contracts = [...this.channels, ...this.puppets, this.registry, ...this.wallets];
    this.places = contracts.map(({ address }) => address);
  }

  async begin() {
    for (const wallet of this.wallets) await wallet.fund({ value: 500n * TON });
  }

  async step() {
    const { chance, chain } = this;
    if (chance.once(3)) chain.now += chance.once(10) ? chance.below(200 * DAY) : chance.below(2 * DAY);
    chain.seed = chance.bytes();
    await this[chance.one(STEP_KINDS)]();
  }

  async channel() {
    const { chance } = this;
    const channel = chance.one(this.channels);
    const amount = chance.amount(6n * TON);
    const cumulative = chance.once(4) ? chance.amount(6n * TON) : amount;
    const parties = [channel.terms.payer, channel.terms.receiver];
    const from = chance.one(chance.once(3) ? PEOPLE : parties);
    const { value, bounce } = this.envelope();
    await channel.send(chance.one(OPERATIONS), { from, value, amount, cumulative, bounce });
  }

  async transfer() {
    const text = comment('x'.repeat(this.chance.below(300)));
    await this.chain.send({ from: this.somebody(), to: this.somewhere(), body: text, ...this.envelope() });
  }

  async wallet() {
    const { chance } = this;
    const wallet = chance.one(this.wallets);
    const messages = Array.from({ length: chance.below(5) }, () => this.payment());
    if (chance.once(6)) {
      const stale = wallet.signed(messages, { seqno: 1000 + chance.below(9) });
      await attempt(this.chain.sendExternal(wallet.address, stale));
    } else {
      await attempt(wallet.send(messages));
    }
  }

  payment() {
    const { chance } = this;
    if (chance.once(2)) return { to: this.somewhere(), ...this.envelope() };
    const { address: to, init } = chance.one(this.channels);
    return { to, init, body: body(chance.one(['Deposit', 'StartClose', 'Sweep'])), ...this.envelope() };
  }

  async registryOperation() {
    const { chance } = this;
    await this.registry.send(chance.one(OWNERS_OPERATIONS), {
      from: chance.one([OWNER, PUBLISHER]),
      version: chance.below(5),
      number: chance.below(5),
      epoch: chance.below(4),
      hash: 7n,
      root: 9n,
      ...this.envelope(),
    });
  }

  async puppet() {
    const { chance } = this;
    const puppet = chance.one(this.puppets);
    const order = this.order();
    if (chance.once(5)) await attempt(puppet.tellFromOutside(order, { accept: !chance.once(4) }));
    else await puppet.tell(order, { from: this.somebody(), ihrFee: this.flags(), ...this.envelope() });
  }

  order() {
    const { chance } = this;
    const actions = list(Array.from({ length: chance.below(6) }, () => this.action()));
    const data = treeOf(1 + chance.below(60), chance.below(3));
    return chance.one([
      () => ORDERS.act(actions),
      () => ORDERS.act(actions),
      () => ORDERS.storeAndAct(data, actions),
      () => ORDERS.store(data),
      () => ORDERS.fail(chance.below(100)),
      () => ORDERS.lookAround(),
      () => ORDERS.commitAndFail(data, actions, 5),
      () => ORDERS.spin(),
    ])();
  }

  action() {
    const { chance } = this;
    if (chance.once(4)) return reserve(this.value(), chance.below(20));
    if (chance.once(8)) return sendOut(chance.one([0, 2, 16]));
    const { value, bounce } = this.envelope();
    const content = { body: treeOf(1 + chance.below(40)), bounce, ihrFee: this.flags() };
    return send(this.somewhere(), value, { mode: chance.one(MODES), ...content });
  }

  somebody() { return this.chance.one(PEOPLE); }

  somewhere() {
    const { chance } = this;
    return chance.once(4) ? account(`place ${chance.below(5)}`) : chance.one(this.places);
  }

  envelope() { return { value: this.value(), bounce: !this.chance.once(4) }; }

  value() { return this.chance.amount(this.chance.once(3) ? 10n ** 7n : 8n * TON); }

  /** How much of a message is to come back. */
  flags() { return BigInt(this.chance.below(4)); }
}

async function sequences(chain) {
  const nothing = chain.snapshot();
  for (let seed = 0; seed < SEEDS; seed += 1) {
    await chain.restore(nothing);
    const world = new World(chain, new Chance(`${chain.globalId} ${chain.prices.gas.flat} ${seed}`));
    await world.begin();
    for (let n = 0; n < STEPS; n += 1) await world.step();
  }
}

export const SCENARIOS = { 'chance: sequences': sequences };
