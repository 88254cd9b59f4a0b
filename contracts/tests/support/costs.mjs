// What each operation costs, as a table: on the chain, and all in from a wallet.

import { feesOf } from './chain.mjs';
import { AMPLE, DAY, PAYER, PayChannel, RECEIVER, STRANGER, TERMS, TON, body } from './pay_channel.mjs';
import { OWNER, POLICY_DELAY, PUBLISHER, Registry } from './registry.mjs';
import { Wallet } from './wallets.mjs';

const YEAR = 365 * DAY;

/** Gas, and nanoTON for gas and messages: of each operation, sent from nowhere to a channel in the middle of its life. */
export async function channelCosts(chain) {
  const channel = new PayChannel(chain);
  await channel.deposit(5n * TON);
  await channel.send('Deposit', { from: PAYER, value: TON });
  const opened = chain.snapshot();
  const costs = {};
  const measure = async (name, op, from, options = {}) => {
    const { gas, fees } = await channel.send(op, { from, amount: TON, ...options });
    costs[name] = { gas, fees };
  };
  await measure('Deposit', 'Deposit', PAYER);
  await measure('Redeem', 'Redeem', RECEIVER);
  await measure('Redeem, refused: nothing new', 'Redeem', RECEIVER);
  await measure('Redeem, refused: above the deposit', 'Redeem', RECEIVER, { amount: 50n * TON });
  await measure('Redeem, refused: signature', 'Redeem', RECEIVER, { amount: 2n * TON, signature: Buffer.alloc(64) });
  await measure('PartialRefund', 'PartialRefund', RECEIVER);
  await measure('StartClose', 'StartClose', PAYER);
  chain.now += DAY;
  // So that the day's rent is not counted with what follows.
  await channel.send('Finalize', { from: STRANGER, value: 1n });
  await measure('Finalize', 'Finalize', STRANGER);
  await measure('Sweep', 'Sweep', PAYER);
  await chain.restore(opened);
  await measure('ReceiverClose', 'ReceiverClose', RECEIVER);
  await chain.restore(opened);
  await measure('RedeemAndClose', 'RedeemAndClose', RECEIVER);
  costs['a year of rent'] = { fees: chain.rent(await chain.stored(channel.address), YEAR) };
  costs['kept for rent'] = { fees: await channel.rentReserve() };
  return costs;
}

/** The same, from the signed message to the payout in the receiver's wallet. */
export async function allInCosts(chain) {
  const nothing = chain.snapshot();
  const costs = {};
  const one = await redeems(chain, 'V4R2', 1);
  costs['Redeem, channel and payout'] = { fees: one.fees - feesOf(one.transactions[0]) };
  costs['Redeem, all in, from a V4R2 wallet'] = { fees: one.fees };
  for (const count of [1, 10, 100]) {
    await chain.restore(nothing);
    const { fees } = await redeems(chain, 'W5', count);
    costs[`Redeem, all in, W5 batch of ${count}`] = { fees: fees / BigInt(count) };
  }
  await chain.restore(nothing);
  const fresh = await new Wallet(chain, 'W5').fund({ deployed: false });
  const { fees } = await fresh.send([opening(new PayChannel(chain, { ...TERMS, salt: 99n }))]);
  costs['deploy and deposit, all in, with W5'] = { fees };
  return costs;
}

const opening = (channel) => ({ to: channel.address, value: TON, init: channel.init, body: body('Deposit') });

/** Redeems from `count` channels into the same wallet at once; those wallets' transactions are among the receipt's. */
async function redeems(chain, kind, count) {
  const wallet = await new Wallet(chain, kind).fund();
  const messages = [];
  for (let salt = 0n; salt < count; salt += 1n) {
    const channel = new PayChannel(chain, { ...TERMS, receiver: wallet.address, salt });
    await channel.send('Deposit', { from: PAYER, value: TON });
    const amount = TON / 2n;
    messages.push({ to: channel.address, value: AMPLE, body: body('Redeem', { amount, signature: channel.sign(amount) }) });
  }
  return wallet.send(messages);
}

export async function registryCosts(chain) {
  const registry = new Registry(chain);
  await registry.send('AppendRoot', { from: PUBLISHER, epoch: 1 });
  const costs = {};
  const measure = async (name, op, from, fields) => {
    const { gas, fees } = await registry.send(op, { from, ...fields });
    costs[name] = { gas, fees };
  };
  await measure('ProposePolicy', 'ProposePolicy', OWNER, { version: 1 });
  await measure('CancelPolicy', 'CancelPolicy', OWNER);
  await measure('SetPrices', 'SetPrices', OWNER, { number: 1 });
  await measure('SetGateways', 'SetGateways', OWNER);
  await measure('SetChannelCode', 'SetChannelCode', OWNER);
  await measure('SetPublisher', 'SetPublisher', OWNER, { publisher: PUBLISHER });
  await measure('AppendRoot, 1 mountain merged', 'AppendRoot', PUBLISHER, { epoch: 2 });
  await measure('AppendRoot, none merged', 'AppendRoot', PUBLISHER, { epoch: 3 });
  await measure('AppendRoot, 2 merged', 'AppendRoot', PUBLISHER, { epoch: 4 });
  await registry.send('ProposePolicy', { from: OWNER, version: 1 });
  chain.now += POLICY_DELAY;
  await registry.send('ActivatePolicy', { from: OWNER, value: 1n });
  await measure('ActivatePolicy', 'ActivatePolicy', OWNER);
  costs['a year of rent'] = { fees: chain.rent(await chain.stored(registry.address), YEAR) };
  costs['kept for rent'] = { fees: await registry.rentReserve() };
  return costs;
}
