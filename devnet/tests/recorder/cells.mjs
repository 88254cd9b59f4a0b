// Cells of any size.

import { beginCell } from '@ton/core';

/** A tree of `count` cells, no two of them alike; another `salt` makes other ones. */
export function treeOf(count, salt = 0) {
  let made = 0;
  const cell = (children) => {
    made += 1;
    const builder = beginCell().storeUint(made, 32).storeUint(salt, 32);
    for (const child of children) builder.storeRef(child);
    return builder.endCell();
  };
  // Every cell takes up to four that have no parent yet, the oldest first, so that the tree stays flat.
  const orphans = [];
  const leaves = count - Math.ceil((count - 1) / 4);
  while (made < leaves) orphans.push(cell([]));
  while (made < count) orphans.push(cell(orphans.splice(0, 4)));
  return orphans[0];
}

/** A chain of `depth` cells, each in the next. */
export function chainOf(depth, bits = 64) {
  let cell;
  for (let n = 0; n < depth; n += 1) {
    const builder = beginCell().storeUint(n, bits);
    if (cell) builder.storeRef(cell);
    cell = builder.endCell();
  }
  return cell;
}
