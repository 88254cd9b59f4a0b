// Quotes verified by other code than ours: @phala/dcap-qvl. A line of the file COCOON_QUOTES is one case, in JSON:
// {quote, collateral, now, root?}, with quote and root in hex, now in seconds. Printed is one array, an answer for each.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

import { QuoteVerifier } from "@phala/dcap-qvl";

const bytes = (hex) => Buffer.from(hex, "hex");
const hex = (bytes) => Buffer.from(bytes).toString("hex");

function judge({ quote, collateral, now, root }) {
  const verifier = root ? QuoteVerifier.newWithRootCa(bytes(root)) : QuoteVerifier.newProd();
  try {
    const { status, advisory_ids, report } = verifier.verify(bytes(quote), collateral, now);
    const td = report.asTd10();
    return {
      status,
      advisories: advisory_ids,
      measurements: [td.mrTd, td.rtMr0, td.rtMr1, td.rtMr2, td.rtMr3].map(hex),
      report_data: hex(td.reportData),
    };
  } catch (error) {
    return { refused: [error.message, error.cause?.message].filter(Boolean).join(": ") };
  }
}

const answers = [];
for await (const line of createInterface({ input: createReadStream(process.env.COCOON_QUOTES) })) {
  answers.push(judge(JSON.parse(line)));
}
console.log(JSON.stringify(answers));
