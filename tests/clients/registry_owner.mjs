// A registry's owner with an ordinary wallet and nothing of ours: signs and sends a message as it was printed, and waits
// until the registry has run it. Without a message it says the wallet's address.

import { createHash } from 'node:crypto';
import { Address, Cell, SendMode, internal } from '@ton/core';
import { keyPairFromSeed } from '@ton/crypto';
import { TonClient, WalletContractV5R1 } from '@ton/ton';
import { eventually } from './eventually.mjs';

const { COCOON_DEVNET: ORIGIN, COCOON_MESSAGE } = process.env;
const GLOBAL_ID = -3;
// The chain's clock may be far ahead of the machine's.
const TEN_YEARS = 10 * 365 * 24 * 3600;

const client = new TonClient({ endpoint: `${ORIGIN}/api/v2/jsonRPC` });
const key = keyPairFromSeed(createHash('sha256').update('the owner').digest());
const wallet = client.open(WalletContractV5R1.create({
  publicKey: key.publicKey, walletId: { networkGlobalId: GLOBAL_ID },
}));

/** The exit code of the registry's newest transaction, once it is a newer one than `before`. */
async function ranAfter(registry, before) {
  const [newest] = await client.getTransactions(registry, { limit: 1 });
  if (newest === undefined || newest.lt <= before) return undefined;
  const { computePhase: compute } = newest.description;
  return { exit: compute?.type === 'vm' ? compute.exitCode : null };
}

async function send({ address, amount, payload }) {
  const registry = Address.parse(address);
  const [newest] = await client.getTransactions(registry, { limit: 1 });
  const seqno = (await client.isContractDeployed(wallet.address)) ? await wallet.getSeqno() : 0;
  const message = internal({ to: registry, value: BigInt(amount), body: Cell.fromBase64(payload) });
  await wallet.sendTransfer({
    seqno,
    secretKey: key.secretKey,
    sendMode: SendMode.PAY_GAS_SEPARATELY | SendMode.IGNORE_ERRORS,
    messages: [message],
    timeout: Math.floor(Date.now() / 1000) + TEN_YEARS,
  });
  return eventually('the registry has run it', () => ranAfter(registry, newest?.lt ?? 0n));
}

const said = COCOON_MESSAGE === undefined
  ? { address: wallet.address.toRawString(), shown: wallet.address.toString({ testOnly: true, bounceable: false }) }
  : await send(JSON.parse(COCOON_MESSAGE));
console.log(JSON.stringify(said));
