// What the official executor is given and what it gives, for each message, as JSON.

import { createHash } from 'node:crypto';
import { beginCell, loadMessage, storeShardAccount } from '@ton/core';
import { EmulationError, createEmptyShardAccount } from '@ton/sandbox';
import { Chain, EXECUTOR } from '../../../contracts/tests/support/chain.mjs';

const base64 = (account) => beginCell().store(storeShardAccount(account)).endCell().toBoc().toString('base64');

/** An account that is not there. */
const NONE = base64({ account: null, lastTransactionHash: 0n, lastTransactionLt: 0n });

/**
 * For the sandbox, an account that the chain has not had yet is there with nothing on it, and of no size. What
 * the emulator then works out as its size no chain would have.
 */
function asOnChain(shardAccount, address) {
  return shardAccount === base64(createEmptyShardAccount(address)) ? NONE : shardAccount;
}

/** An executor that records what the emulator did. */
class Recorder {
  #about;
  #write;

  constructor(about, write) {
    this.#about = about;
    this.#write = write;
  }

  runGetMethod(args) { return EXECUTOR.runGetMethod(args); }

  runTickTock() { throw new Error('not recorded'); }

  async runTransaction(given) {
    const { info } = loadMessage(given.message.beginParse());
    const args = { ...given, shardAccount: asOnChain(given.shardAccount, info.dest) };
    const output = await EXECUTOR.runTransaction(args);
    const { result } = output;
    this.#write({
      ...this.#about,
      now: args.now,
      // Above 2^53 a number would be rounded.
      lt: args.lt.toString(),
      seed: args.randomSeed.toString('hex'),
      to: info.dest.toRawString(),
      external: info.type === 'external-in',
      message: args.message.toBoc().toString('base64'),
      before: args.shardAccount,
      ...(result.success
        ? { transaction: result.transaction, after: result.shardAccount }
        : { refused: { error: result.error, exitCode: exitCode(result) } }),
    });
    return output;
  }
}

/** Of code that ran and did not accept a message; null if none ran, for which the emulator gives 0. */
function exitCode({ vmResults }) {
  return vmResults !== undefined && vmResults.vmLog !== '' ? vmResults.vmExitCode : null;
}

/** A chain of which everything that happens is recorded under the scenario's name. */
export async function recordedChain(scenario, network, write) {
  const chain = await Chain.create({ ...network, executor: new Recorder({ scenario, ...network }, write) });
  // For a seed of zeros the emulator takes one of its own, which nobody learns.
  chain.seed = createHash('sha256').update(scenario).digest();
  return chain;
}

/** The emulator's configuration of a network. */
export async function configurationOf(network) {
  const chain = await Chain.create(network);
  return chain.config.toBoc().toString('base64');
}

/** Runs what may be refused by its receiver: that is recorded like anything else. */
export async function attempt(sending) {
  try {
    return await sending;
  } catch (error) {
    if (error instanceof EmulationError) return undefined;
    throw error;
  }
}
