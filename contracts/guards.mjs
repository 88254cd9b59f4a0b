// Takes each guard out of the contracts in turn and runs the tests that are to notice: `node guards.mjs [WORD]`, with a word
// only those that have it in their name. Takes minutes. Fails if a guard can go without a test that fails.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { argv, env, execPath, exit } from 'node:process';
import { compile, source } from './build.mjs';
import { GUARDS } from './tests/support/guards.mjs';

/** The source text `name` with the edits of a guard that are in it; each must fit in exactly one place. */
function edited(name, edits) {
  return edits.filter(({ file }) => file === name).reduce((text, { from, to }) => {
    const parts = text.split(from);
    if (parts.length !== 2) throw new Error(`${name} has ${parts.length - 1} times: ${from}`);
    return parts.join(to);
  }, source(name));
}

async function isNoticed({ edits, tests }, folder) {
  for (const name of ['pay_channel', 'registry']) {
    const compiled = await compile(name, (file) => edited(file, edits));
    writeFileSync(`${folder}/${name}.json`, JSON.stringify(compiled));
  }
  const files = tests.map((name) => `${import.meta.dirname}/tests/${name}.test.mjs`);
  // The runner tells its children that they are under one; this one is not.
  const { NODE_TEST_CONTEXT, ...variables } = env;
  const run = spawnSync(execPath, ['--test', '--test-reporter=tap', ...files], { env: { ...variables, COCOON_CONTRACTS_BUILD: folder }, encoding: 'utf8' });
  const failures = [...run.stdout.matchAll(/^not ok \d+ - (.*)$/gm)].map(([, name]) => name);
  return { noticed: run.status !== 0 && failures.length > 0, failures };
}

const folder = mkdtempSync(`${tmpdir()}/contracts-`);
const chosen = GUARDS.filter(({ guard }) => guard.includes(argv[2] ?? ''));
let unnoticed = 0;
try {
  const everything = [...new Set(chosen.flatMap(({ tests }) => tests))];
  const { failures } = await isNoticed({ edits: [], tests: everything }, folder);
  if (failures.length > 0) throw new Error(`with every guard in place: ${failures.join('; ')}`);
  for (const guard of chosen) {
    const { noticed, failures: seen } = await isNoticed(guard, folder);
    if (!noticed) unnoticed += 1;
    console.log(`${noticed ? 'noticed' : 'NOT NOTICED'}: ${guard.guard} (${seen.length} fail, first: ${seen[0] ?? '-'})`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
console.log(`${chosen.length - unnoticed} of ${chosen.length} guards are missed when they are gone`);
exit(unnoticed === 0 ? 0 : 1);
