// Compiles the contracts into build/NAME.json. `node build.mjs --check` compiles and compares with what is there instead.

import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { argv, exit } from 'node:process';
import { pathToFileURL } from 'node:url';
import { runTolkCompiler } from '@ton/tolk-js';

const HERE = import.meta.dirname;
export const CONTRACTS = ['pay_channel', 'registry'];

/** Reads a source file of this folder by its name. */
export const source = (name) => readFileSync(`${HERE}/${name}`, 'utf8');

/**
 * Compiles one contract.
 * @param {string} name of the contract
 * @param {(name: string) => string} read gives the text of a source file
 * @returns {Promise<{compiler: string, hash: string, code: string}>} the compiler's version, the representation hash of the
 *   code in hexadecimal, and the code as a bag of cells in base64
 * @throws with the compiler's message if a source is wrong
 */
export async function compile(name, read = source) {
  const result = await runTolkCompiler({ entrypointFileName: `${name}.tolk`, fsReadCallback: read });
  if (result.status === 'error') throw new Error(result.message);
  return { compiler: `tolk ${result.tolkVersion}`, hash: result.codeHashHex.toLowerCase(), code: result.codeBoc64 };
}

async function main() {
  const check = argv.includes('--check');
  let same = true;
  for (const name of CONTRACTS) {
    const compiled = await compile(name);
    const path = `${HERE}/build/${name}.json`;
    if (!check) {
      writeFileSync(path, `${JSON.stringify(compiled, null, 2)}\n`);
    } else if (JSON.stringify(JSON.parse(readFileSync(path, 'utf8'))) !== JSON.stringify(compiled)) {
      console.error(`build/${name}.json is not what the sources compile to: run node build.mjs`);
      same = false;
    }
    console.log(`${name} ${compiled.hash}`);
  }
  exit(same ? 0 : 1);
}

if (import.meta.url === pathToFileURL(realpathSync(argv[1])).href) await main();
