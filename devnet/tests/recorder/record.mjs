// Runs scenarios on the official executor and writes what it did into a file, one JSON object a line.
// node record.mjs FILE old|current GLOBAL_ID

import { closeSync, openSync, writeSync } from 'node:fs';
import { argv } from 'node:process';
import { MAINNET, TESTNET } from '../../../contracts/tests/support/chain.mjs';
import { configurationOf, recordedChain } from './recording.mjs';
import { SCENARIOS as actions } from './scenarios/actions.mjs';
import { SCENARIOS as chance } from './scenarios/chance.mjs';
import { SCENARIOS as channel } from './scenarios/channel.mjs';
import { SCENARIOS as divergences } from './scenarios/divergences.mjs';
import { SCENARIOS as registry } from './scenarios/registry.mjs';
import { SCENARIOS as rent } from './scenarios/rent.mjs';
import { SCENARIOS as transfers } from './scenarios/transfers.mjs';
import { SCENARIOS as wallets } from './scenarios/wallets.mjs';

const EVERYTHING = {
  ...channel, ...registry, ...wallets, ...rent, ...chance, ...transfers, ...actions, ...divergences,
};
const pick = (...names) => Object.fromEntries(names.map((name) => [name, EVERYTHING[name]]));

/** Everything once, our contracts under both prices, what depends on the number of the network on each. */
const SCENARIOS = {
  [`current ${TESTNET}`]: EVERYTHING,
  [`old ${MAINNET}`]: { ...channel, ...registry, ...wallets, ...rent, ...chance },
  [`old ${TESTNET}`]: pick('channel: life', 'wallets: refused', 'chance: sequences'),
  [`current ${MAINNET}`]: pick('channel: life', 'wallets: refused', 'chance: sequences'),
};
/** In the long runs everything everywhere. */
const FULL = process.env.COCOON_TEST_FULL !== undefined;

const [, , path, prices, globalId] = argv;
const network = { prices, globalId: Number(globalId) };
const scenarios = FULL ? EVERYTHING : SCENARIOS[`${prices} ${globalId}`];

const file = openSync(path, 'w');
const write = (line) => writeSync(file, `${JSON.stringify(line)}\n`);
write({ ...network, configuration: await configurationOf(network) });
for (const [name, run] of Object.entries(scenarios)) await run(await recordedChain(name, network, write));
closeSync(file);
