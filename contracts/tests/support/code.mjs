// The compiled contracts that the tests run: those in build/, or in the folder that COCOON_CONTRACTS_BUILD names.

import { readFileSync } from 'node:fs';
import { Cell } from '@ton/core';

const BUILD = process.env.COCOON_CONTRACTS_BUILD ?? `${import.meta.dirname}/../../build`;

/** @returns {{compiler: string, hash: string, code: string}} as build.mjs wrote it */
export const built = (name) => JSON.parse(readFileSync(`${BUILD}/${name}.json`, 'utf8'));

export const code = (name) => Cell.fromBase64(built(name).code);
