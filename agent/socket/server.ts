/**
 * The agent's unix socket: frames in, frames out, and who is at the other end by the kernel's word. A peer that breaks the
 * framing, opens too many calls or does not read its answers is disconnected; that ends its leases, as any close does.
 *
 * Where other users may connect, sublet-door stands before it (door.ts), and says first who comes: pid, uid, gid. How many
 * connections a user may have is the door's to count; where there is none (a pilot), they are all one user's.
 */
import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { errorCodes, SubletError, toSubletError } from "../../src/common/errors.ts";
import {
  decodeLocalRequest,
  encodeLocalResponse,
  FrameReader,
  type RedeemedMark,
} from "../../src/rpc/local.ts";
import type { Init, LocalRequest, LocalResponse } from "../../src/rpc/messages.ts";
import { type PeerCredential, peerCredential } from "../../src/rpc/peer.ts";
import { isServed } from "../../src/rpc/served.ts";
import type { AgentLog } from "../log.ts";
import { openDoor } from "./door.ts";

/** One client of the socket. */
export interface Connection {
  readonly id: number;
  readonly peer: PeerCredential;
  send(response: Init<LocalResponse>): void;
}

export interface LocalHandlers {
  /** The answer's body; id and code are filled in. Throws what becomes an error answer. `body`: as it came. */
  request(connection: Connection, request: LocalRequest, body: Buffer): Promise<Init<LocalResponse>>;
  /** The door has answered a request for a lease. */
  redeemed?(connection: Connection, mark: RedeemedMark): void;
  closed(connection: Connection): void;
}

export interface LocalServer {
  /** Whether there are leases that were granted ahead, for the door. */
  openVouchers(open: boolean): void;
  close(): Promise<void>;
}

/** Calls that one connection may have open. */
const maxOpenCalls = 512;
/** Answers that wait for a peer to read them. */
const maxUnreadBytes = 4 * 1024 * 1024;

const bytesOfPeer = 12;

/** Whom the door announces; undefined: it is none of ours, or its visitor has gone. What follows is put back. */
function announced(socket: Socket): Promise<PeerCredential | undefined> {
  if (peerOf(socket)?.uid !== process.geteuid?.()) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const look = (): void => {
      const bytes: Buffer | null = socket.read(bytesOfPeer);
      if (bytes === null) return;
      stop();
      if (bytes.length < bytesOfPeer) resolve(undefined);
      else resolve({ pid: bytes.readInt32LE(0), uid: bytes.readUInt32LE(4), gid: bytes.readUInt32LE(8) });
    };
    const gone = (): void => {
      stop();
      resolve(undefined);
    };
    const stop = (): void => {
      socket.off("readable", look);
      socket.off("close", gone);
    };
    socket.on("readable", look);
    socket.on("close", gone);
  });
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
  behindDoor: boolean,
): void {
  let openCalls = 0;
  const reader = new FrameReader({ marks: behindDoor });
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

  async function serve(request: LocalRequest, body: Buffer): Promise<void> {
    try {
      const response = await handlers.request(connection, request, body);
      connection.send({ ...response, id: request.id, code: 0, message: "" });
    } catch (thrown) {
      fail(request.id, thrown);
    } finally {
      openCalls -= 1;
    }
  }

  socket.on("data", (chunk: Buffer) => {
    try {
      for (const frame of reader.pushFrames(chunk)) {
        if ("redeemed" in frame) {
          handlers.redeemed?.(connection, frame.redeemed);
          continue;
        }
        const { body } = frame;
        const request = decodeLocalRequest(body);
        if (request.id === 0) throw new SubletError("INVALID_ARGUMENT", "id 0 is for notices");
        if (openCalls >= maxOpenCalls) {
          fail(request.id, new SubletError("RESOURCE_EXHAUSTED", `more than ${maxOpenCalls} calls are open`));
          continue;
        }
        openCalls += 1;
        void serve(request, body);
      }
    } catch (thrown) {
      fail(0, thrown);
      socket.destroySoon();
    }
  });
  socket.on("end", () => socket.destroySoon());
  socket.on("close", () => {
    if (!ending()) handlers.closed(connection);
  });
}

async function listen(server: Server, path: string, mode: number): Promise<void> {
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog: 512 }, resolve);
  });
  chmodSync(path, mode);
}

export interface DoorWay {
  readonly program: string;
  readonly starterPath: string;
  /** For the door to be ready. */
  readonly timeoutMs: number;
  readonly log: AgentLog;
}

/**
 * With a door, other users may connect; without one whoever connects can make this process wait.
 * @throws SubletError FAILED_PRECONDITION when another agent serves the path, or the door does not open.
 */
export async function serveLocal(path: string, handlers: LocalHandlers, way?: DoorWay): Promise<LocalServer> {
  if (await isServed(path))
    throw new SubletError("FAILED_PRECONDITION", `another agent serves ${path}: stop it first`);
  const sockets = new Set<Socket>();
  let nextId = 1;
  /** An agent that ends leaves the leases to the next one, which their clients find by themselves. */
  let ending = false;

  function admit(socket: Socket, peer: PeerCredential | undefined): void {
    if (peer === undefined) socket.destroy();
    else serveConnection(socket, peer, nextId++, handlers, () => ending, way !== undefined);
  }

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => undefined); // `close` follows.
    if (way === undefined) admit(socket, peerOf(socket));
    else void announced(socket).then((peer) => admit(socket, peer));
  });
  const innerPath = join(dirname(path), "door.sock");
  await listen(server, way === undefined ? path : innerPath, way === undefined ? 0o666 : 0o600);
  const door = way === undefined ? undefined : await openDoor({ ...way, path, innerPath });
  return {
    openVouchers: (open) => door?.openVouchers(open),
    close: () =>
      new Promise((resolve) => {
        ending = true;
        if (door !== undefined) {
          door.close();
          rmSync(path, { force: true });
        }
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
