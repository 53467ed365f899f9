/**
 * The agent's unix socket: frames in, frames out, and who is at the other end by the kernel's word. A peer that breaks the
 * framing, opens too many calls or does not read its answers is disconnected; that ends its leases, as any close does.
 */
import { chmodSync, unlinkSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { errorCodes, SubletError, toSubletError } from "../../src/common/errors.ts";
import { decodeLocalRequest, encodeLocalResponse, FrameReader } from "../../src/rpc/local.ts";
import type { Init, LocalRequest, LocalResponse } from "../../src/rpc/messages.ts";
import { type PeerCredential, peerCredential } from "../../src/rpc/peer.ts";
import { isServed } from "../../src/rpc/served.ts";

/** One client of the socket. */
export interface Connection {
  readonly id: number;
  readonly peer: PeerCredential;
  send(response: Init<LocalResponse>): void;
}

export interface LocalHandlers {
  /** The answer's body; id and code are filled in. Throws what becomes an error answer. */
  request(connection: Connection, request: LocalRequest): Promise<Init<LocalResponse>>;
  closed(connection: Connection): void;
}

export interface LocalServer {
  close(): Promise<void>;
}

/** Of all users but root together, and of one of them: nobody can keep Slurm's hooks, or everybody else, from being heard. */
const maxConnections = 2048;
const maxConnectionsPerUser = 1024;
/** Calls that one connection may have open. */
const maxOpenCalls = 512;
/** Answers that wait for a peer to read them. */
const maxUnreadBytes = 4 * 1024 * 1024;

/** Counts connections by user. */
class Admission {
  readonly #open = new Map<number, number>();
  #total = 0;

  /** False: no more for this user. Else it must be let go of again. */
  enter(uid: number): boolean {
    if (uid === 0) return true;
    const mine = this.#open.get(uid) ?? 0;
    if (mine >= maxConnectionsPerUser || this.#total >= maxConnections) return false;
    this.#open.set(uid, mine + 1);
    this.#total += 1;
    return true;
  }

  leave(uid: number): void {
    if (uid === 0) return;
    const left = (this.#open.get(uid) ?? 1) - 1;
    this.#total -= 1;
    if (left === 0) this.#open.delete(uid);
    else this.#open.set(uid, left);
  }
}

function peerOf(socket: Socket): PeerCredential | undefined {
  try {
    return peerCredential(socket);
  } catch {
    return undefined; // Whom the kernel cannot name is not served.
  }
}

function serveConnection(
  socket: Socket,
  peer: PeerCredential,
  id: number,
  handlers: LocalHandlers,
  ending: () => boolean,
): void {
  let openCalls = 0;
  const reader = new FrameReader();
  const connection: Connection = {
    id,
    peer,
    send(response) {
      if (socket.destroyed) return;
      socket.write(encodeLocalResponse(response));
      if (socket.writableLength > maxUnreadBytes) socket.destroy();
    },
  };

  function fail(id_: number, thrown: unknown): void {
    const error = toSubletError(thrown);
    connection.send({ id: id_, code: errorCodes[error.code], message: error.message.slice(0, 4096) });
  }

  async function serve(request: LocalRequest): Promise<void> {
    try {
      const response = await handlers.request(connection, request);
      connection.send({ ...response, id: request.id, code: 0, message: "" });
    } catch (thrown) {
      fail(request.id, thrown);
    } finally {
      openCalls -= 1;
    }
  }

  socket.on("data", (chunk: Buffer) => {
    try {
      for (const body of reader.push(chunk)) {
        const request = decodeLocalRequest(body);
        if (request.id === 0) throw new SubletError("INVALID_ARGUMENT", "id 0 is for notices");
        if (openCalls >= maxOpenCalls) {
          fail(request.id, new SubletError("RESOURCE_EXHAUSTED", `more than ${maxOpenCalls} calls are open`));
          continue;
        }
        openCalls += 1;
        void serve(request);
      }
    } catch (thrown) {
      fail(0, thrown);
      socket.destroySoon();
    }
  });
  socket.on("end", () => socket.destroySoon());
  socket.on("error", () => undefined); // `close` follows.
  socket.on("close", () => {
    if (!ending()) handlers.closed(connection);
  });
}

/** @throws SubletError FAILED_PRECONDITION when another agent serves the path. */
export async function serveLocal(path: string, handlers: LocalHandlers): Promise<LocalServer> {
  if (await isServed(path))
    throw new SubletError("FAILED_PRECONDITION", `another agent serves ${path}: stop it first`);
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
  }
  const sockets = new Set<Socket>();
  const admission = new Admission();
  let nextId = 1;
  /** An agent that ends leaves the leases to the next one, which their clients find by themselves. */
  let ending = false;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const peer = peerOf(socket);
    if (peer === undefined || !admission.enter(peer.uid)) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      admission.leave(peer.uid);
    });
    serveConnection(socket, peer, nextId++, handlers, () => ending);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog: 512 }, resolve);
  });
  chmodSync(path, 0o666);
  return {
    close: () =>
      new Promise((resolve) => {
        ending = true;
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
