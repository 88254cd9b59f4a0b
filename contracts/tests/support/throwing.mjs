// A contract that refuses every message.

import { Cell, beginCell } from '@ton/core';
import { createShardAccount } from '@ton/sandbox';

/** `11 THROW` in TVM's bytes. */
const CODE = beginCell().storeUint(0xf20b, 16).endCell();

export const throwingContract = (address) => createShardAccount({ address, code: CODE, data: Cell.EMPTY, balance: 0n });
