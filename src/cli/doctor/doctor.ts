/** `sublet doctor`: is this node fit for Sublet, and if not, what to do. */
import { type Output, wrap, writeJson } from "../output.ts";
import type { Session } from "../session.ts";
import { judge, required } from "./checks.ts";
import type { Finding } from "./facts.ts";
import { gatherFacts } from "./gather.ts";

const markWidth = 6;

export function formatFindings(findings: readonly Finding[], width: Output["width"]): string {
  const nameWidth = Math.max(...findings.map(({ check }) => check.length)) + 2;
  const indent = " ".repeat(markWidth + nameWidth);
  const lines = findings.flatMap(({ check, result, found, mend }) => [
    result.padEnd(markWidth) + check.padEnd(nameWidth) + wrap(found, width, indent).trimStart(),
    ...(mend === undefined ? [] : [wrap(`-> ${mend}`, width, indent)]),
  ]);
  const count = (result: Finding["result"]): number =>
    findings.filter((each) => each.result === result).length;
  return `${lines.join("\n")}\n${count("ok")} ok, ${count("warn")} to look at, ${count("fail")} failed\n`;
}

/** True when nothing failed. A warning of a check in `require` is a failure. */
export async function doctor(session: Session, require: readonly string[]): Promise<boolean> {
  const findings = required(judge(await gatherFacts(session)), require);
  const healthy = findings.every(({ result }) => result !== "fail");
  if (session.json) writeJson(session.output, { healthy, findings });
  else session.output.write(formatFindings(findings, session.output.width));
  return healthy;
}
