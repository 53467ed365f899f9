/** grpc-js unary over loopback, client and server in processes of their own: the usual way to call something. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { medianOf, percentileOf, type Row } from "./table.ts";

const server = fileURLToPath(new URL("./rpc-peer.ts", import.meta.url));

export async function run(): Promise<Row[]> {
  const peer = spawn(process.execPath, [server], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [line] = (await once(createInterface(peer.stdout), "line")) as [string];
    const client = spawn(process.execPath, [server, line], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    client.stdout.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(client, "close");
    const times = JSON.parse(text) as number[];
    return [
      { what: "grpc-js unary, 64 B", value: medianOf(times), p99: percentileOf(times, 0.99), unit: "µs" },
    ];
  } finally {
    peer.stdin.end(); // it ends with its input
    peer.kill("SIGKILL");
  }
}
