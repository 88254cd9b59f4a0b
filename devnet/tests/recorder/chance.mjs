// Random choices that are the same in every run.

import { createHash } from 'node:crypto';

export class Chance {
  #count = 0;

  constructor(seed) { this.seed = seed; }

  /** 32 bytes. */
  bytes() {
    this.#count += 1;
    return createHash('sha256').update(`${this.seed} ${this.#count}`).digest();
  }

  /** An integer from 0 to `end` - 1. */
  below(end) { return Number(this.bytes().readBigUInt64BE() % BigInt(end)); }

  /** An amount from 0 to `end` - 1, as often small as large. */
  amount(end) {
    const bits = this.below(end.toString(2).length + 1);
    return (this.bytes().readBigUInt64BE() % (1n << BigInt(bits))) % end;
  }

  one(of) { return of[this.below(of.length)]; }

  /** Whether something happens that does so in one of `times`. */
  once(times) { return this.below(times) === 0; }
}
