import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeStateOf, parseNodes } from "../../../src/slurm/nodes.ts";

test("states that must never be lent are told from those that may", () => {
  const table: Record<string, string> = {
    IDLE: "idle",
    MIXED: "mixed",
    ALLOCATED: "allocated",
    "ALLOCATED+COMPLETING": "allocated",
    "IDLE+COMPLETING": "allocated",
    "IDLE+DRAIN": "draining",
    "MIXED+DRAIN": "draining",
    "DOWN*": "down",
    "IDLE*": "down",
    "IDLE+NOT_RESPONDING": "down",
    "DOWN+DRAIN": "down",
    "IDLE+RESERVED": "reserved",
    "IDLE+MAINTENANCE": "reserved",
    "IDLE+PLANNED": "planned",
    "IDLE+POWERED_DOWN": "powering",
    "IDLE+CLOUD+POWERING_UP": "powering",
    FUTURE: "down",
    SOMETHING_NEW: "unknown",
  };
  for (const [text, state] of Object.entries(table)) assert.equal(nodeStateOf(text), state, text);
});

test("reads a line, whatever the reason at its end claims", () => {
  const line =
    "NodeName=n1 Arch=x86_64 CoresPerSocket=2 CPUAlloc=1 CPUTot=2 CPULoad=0.04 NodeAddr=10.0.0.1 OS=Linux 6.1 " +
    "RealMemory=6144 AllocMem=512 FreeMem=100 Sockets=1 State=MIXED Partitions=debug,long Reason=see State=IDLE CPUAlloc=0 [root@now]";
  assert.deepEqual(parseNodes(`${line}\n\n`), [
    {
      name: "n1",
      state: "mixed",
      cores: 2,
      allocatedCores: 1,
      memoryBytes: 6144 * 1024 * 1024,
      allocatedMemoryBytes: 512 * 1024 * 1024,
      partitions: ["debug", "long"],
    },
  ]);
  assert.throws(() => parseNodes("NodeName=n1 State=IDLE\n"), { code: "INTERNAL" });
  assert.throws(() => parseNodes(`${line.replace("CPUAlloc=1", "CPUAlloc=N/A")}\n`), { code: "INTERNAL" });
});
