// A user's wallet: W5 of @ton/ton, talking toncenter v2 to the chain at the given origin.
//   node ton_wallet.mjs ORIGIN address SEED
//   node ton_wallet.mjs ORIGIN send SEED TO NANOTON COMMENT
//   node ton_wallet.mjs ORIGIN balance ADDRESS

import { Address, comment, internal } from "@ton/core";
import { keyPairFromSeed } from "@ton/crypto";
import { TonClient, WalletContractV5R1 } from "@ton/ton";

/** ConfigParam 19 of test networks, on which a W5 wallet's address depends. */
const GLOBAL_ID = -3;
const LIMIT_MS = 60_000;

const [origin, command, ...rest] = process.argv.slice(2);
const client = new TonClient({ endpoint: `${origin}/api/v2/jsonRPC` });

function walletOf(seed) {
  const keys = keyPairFromSeed(Buffer.from(seed, "hex"));
  const wallet = WalletContractV5R1.create({ publicKey: keys.publicKey, walletId: { networkGlobalId: GLOBAL_ID } });
  return { keys, wallet, opened: client.open(wallet) };
}

/** Asks until the answer is what `is` wants. */
async function until(ask, is) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const answer = await ask();
    if (is(answer)) return answer;
    if (Date.now() > end) throw new Error(`still ${answer}`);
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
}

const commands = {
  address: async (seed) => walletOf(seed).wallet.address.toString({ bounceable: false, testOnly: true }),
  balance: async (address) => `${await client.getBalance(Address.parse(address))}`,
  async send(seed, to, nano, text) {
    const { keys, wallet, opened } = walletOf(seed);
    await until(() => client.getBalance(wallet.address), (balance) => balance > BigInt(nano));
    const seqno = await opened.getSeqno();
    const { address, isBounceable } = Address.parseFriendly(to);
    const message = internal({ to: address, value: BigInt(nano), bounce: isBounceable, body: comment(text) });
    await opened.sendTransfer({ seqno, secretKey: keys.secretKey, messages: [message], sendMode: 3 });
    await until(() => opened.getSeqno(), (now) => now > seqno);
    return "sent";
  },
};

console.log(await commands[command](...rest));
