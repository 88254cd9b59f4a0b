// Measures what every operation costs and writes it into fees.txt; tests/fees.test.mjs compares.

import { realpathSync, writeFileSync } from 'node:fs';
import { argv } from 'node:process';
import { pathToFileURL } from 'node:url';
import { Chain } from './tests/support/chain.mjs';
import { allInCosts, channelCosts, registryCosts } from './tests/support/costs.mjs';

export const FILE = `${import.meta.dirname}/fees.txt`;

/** What a prototype of 110 lines without these guards cost under current prices, in nanoTON. */
const PROTOTYPE = {
  'Deposit': 123_734n,
  'Redeem, refused: nothing new': 151_690n,
  'Redeem, refused: signature': 197_623n,
  'StartClose': 153_068n,
  'Finalize': 277_940n,
  'a year of rent': 779_546n,
  'Redeem, channel and payout': 389_269n,
  'Redeem, all in, from a V4R2 wallet': 979_672n,
  'Redeem, all in, W5 batch of 1': 1_083_006n,
  'Redeem, all in, W5 batch of 10': 763_684n,
  'Redeem, all in, W5 batch of 100': 731_752n,
  'deploy and deposit, all in, with W5': 1_719_204n,
};

/** What a difference of more than a quarter is spent on. */
const BECAUSE = {
  'Deposit': 'weak keys and bad terms refused; fees and rent from the configuration',
  'Redeem, refused: nothing new': 'the required value is checked first',
  'Redeem, refused: signature': 'the required value is checked first',
  'StartClose': 'the balance is reserved, the excess goes back by a message',
  'Finalize': 'the balance is reserved, the excess goes to who sent it by a second message',
  'a year of rent': 'the code is three times as large: eight operations, their guards, getters',
  'Redeem, channel and payout': 'the balance is reserved, fees and rent from the configuration; all in, a smaller message makes up for it',
  'deploy and deposit, all in, with W5': 'the code is three times as large, and travels once',
};

const WIDTHS = [36, 8, 12, 12, 12, 8];

function line(cells) {
  const [first, ...rest] = cells;
  return [first.padEnd(WIDTHS[0]), ...rest.slice(0, 5).map((cell, index) => cell.padStart(WIDTHS[index + 1])), ...rest.slice(5)]
    .join(' ').trimEnd();
}

const grouped = (amount) => amount.toString().replace(/\B(?=(\d{3})+$)/g, ',');

/** In whole percent. */
const difference = (now, then) => Math.round((Number(now) / Number(then) - 1) * 100);

async function section(title, costs, compared) {
  const [old, current] = [await costs(await Chain.create({ prices: 'old' })), await costs(await Chain.create({ prices: 'current' }))];
  const lines = ['', line([title, 'gas', 'old', 'current', compared ? 'prototype' : '', ''])];
  for (const name of Object.keys(old)) {
    const { gas, fees } = current[name];
    const prototype = compared ? PROTOTYPE[name] : undefined;
    const percent = prototype === undefined ? undefined : difference(fees, prototype);
    const because = compared ? BECAUSE[name] : undefined;
    if ((percent > 25) !== (because !== undefined)) throw new Error(`${name}: ${percent} % above the prototype, because: ${because}`);
    lines.push(line([
      name, gas === undefined ? '' : grouped(gas), grouped(old[name].fees), grouped(fees),
      prototype === undefined ? '' : grouped(prototype), percent === undefined ? '' : `${percent > 0 ? '+' : ''}${percent} %`,
      ...(because === undefined ? [] : [` ${because}`]),
    ]));
  }
  return lines;
}

/** The table that fees.txt holds. Throws if a difference of more than a quarter has no reason, or a reason no difference. */
export async function table() {
  return [
    'NanoTON for gas and messages, under the prices until April 2026 (old) and those since (current).',
    ...await section('PayChannel', channelCosts, true),
    ...await section('PayChannel, with the wallet', allInCosts, true),
    ...await section('Registry', registryCosts, false),
    '',
  ].join('\n');
}

if (import.meta.url === pathToFileURL(realpathSync(argv[1])).href) {
  const text = await table();
  writeFileSync(FILE, text);
  console.log(text);
}
