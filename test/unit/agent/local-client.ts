/** A client of the agent's unix socket, for tests. */
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { decodeLocalResponse, encodeLocalRequest, FrameReader } from "../../../src/rpc/local.ts";
import type { Init, LocalRequest, LocalResponse } from "../../../src/rpc/messages.ts";

export interface LocalClient {
  readonly socket: Socket;
  /** Responses with id 0. */
  readonly notices: LocalResponse[];
  call(request: Init<LocalRequest>): Promise<LocalResponse>;
  close(): Promise<void>;
}

export async function localClient(path: string): Promise<LocalClient> {
  const socket = createConnection(path);
  await once(socket, "connect");
  const reader = new FrameReader();
  const waiting = new Map<number, { resolve: (r: LocalResponse) => void; reject: (e: Error) => void }>();
  const notices: LocalResponse[] = [];
  let nextId = 1;
  socket.on("data", (chunk: Buffer) => {
    for (const body of reader.push(chunk)) {
      const response = decodeLocalResponse(body);
      if (response.id === 0) notices.push(response);
      else {
        waiting.get(response.id)?.resolve(response);
        waiting.delete(response.id);
      }
    }
  });
  socket.on("error", () => undefined);
  socket.on("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("the agent closed the connection"));
  });
  return {
    socket,
    notices,
    call(request) {
      const id = nextId++;
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        socket.write(encodeLocalRequest({ ...request, id }));
      });
    },
    async close() {
      if (socket.destroyed) return;
      const closed = once(socket, "close");
      socket.destroy();
      await closed;
    },
  };
}

/** The lease that a response carries; fails the test when it carries none. */
export function leaseOf(response: LocalResponse): {
  id: string;
  node: string;
  state: string;
  cores: number[];
} {
  const lease =
    response.body === "leased" ? response.leased.lease : response.body === "lease" ? response.lease : null;
  if (lease === null) throw new Error(`no lease: ${response.code} ${response.message}`);
  return lease;
}
