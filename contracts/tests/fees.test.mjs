// What the operations cost is what fees.txt says, and where that is much more than a prototype cost, why.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FILE, table } from '../fees.mjs';

test('fees.txt says what everything costs; if not: node fees.mjs', async () => {
  assert.equal(await table(), readFileSync(FILE, 'utf8'));
});
