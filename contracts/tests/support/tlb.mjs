// Reads cells by what schema.tlb says, and by nothing else.

import { readFileSync } from 'node:fs';
import { ast } from '@ton-community/tlb-parser';

const { declarations } = ast(readFileSync(`${import.meta.dirname}/../../schema.tlb`, 'utf8'));

/** What a constructor begins with: nothing, or a number of 32 bits. */
const prefixOf = ({ tag }) => (tag === '$_' ? undefined : Number.parseInt(tag.slice(1), 16));

/** Each constructor's prefix, by its name. */
export const prefixes = Object.fromEntries(declarations.map(({ constructorDef }) => [constructorDef.name, prefixOf(constructorDef)]));

/**
 * Reads a whole cell as a value of the type.
 * @returns {object} its fields by their names, and the constructor's name as `is`
 * @throws if the cell is not exactly that
 */
export function read(type, cell) {
  const slice = cell.beginParse();
  const value = readType(type, slice);
  slice.endParse();
  return value;
}

function readType(type, slice) {
  const chosen = declarations.find(({ combinator, constructorDef }) => {
    const prefix = prefixOf(constructorDef);
    return combinator.name === type && (prefix === undefined || (slice.remainingBits >= 32 && slice.preloadUint(32) === prefix));
  });
  if (chosen === undefined) throw new Error(`no constructor of ${type} begins so`);
  if (prefixOf(chosen.constructorDef) !== undefined) slice.skip(32);
  const value = { is: chosen.constructorDef.name };
  for (const { name, expr } of chosen.fields) value[name] = readField(expr, slice);
  return value;
}

function readField({ name, expr, arg, args }, slice) {
  if (expr !== undefined) return read(expr.name, slice.loadRef());
  if (name === '##') return slice.loadUintBig(arg.num);
  if (name === 'Coins') return slice.loadCoins();
  if (name === 'MsgAddressInt') return slice.loadAddress().toString();
  if (name === 'Maybe') return slice.loadBit() ? readField(args[0], slice) : undefined;
  const [, kind, size] = /^(u?int|bits)(\d+)$/.exec(name) ?? [];
  if (kind === 'int') return slice.loadIntBig(Number(size));
  // Bits as a number: they are hashes, keys and signatures, as contracts read them.
  if (kind !== undefined) return Number(size) <= 256 ? slice.loadUintBig(Number(size)) : slice.loadBits(Number(size)).toString();
  return readType(name, slice);
}
