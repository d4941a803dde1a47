// Print what AsyncAPI's own parser says of the document on standard input, one JSON object a line; exit 1 if it is invalid.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { Parser } = createRequire(import.meta.url)("@asyncapi/parser");
const { document, diagnostics } = await new Parser().parse(readFileSync(0, "utf8"));
const levels = ["error", "warning", "information", "hint"];
for (const { severity, code, message, path } of diagnostics) {
  console.log(JSON.stringify({ level: levels[severity], code, message, path: path.join("/") }));
}
if (document) {
  const channels = Object.fromEntries(document.channels().all().map((each) => [each.id(), each.address()]));
  console.log(JSON.stringify({ level: "document", channels, operations: document.operations().all().length }));
}
process.exit(document ? 0 : 1);
