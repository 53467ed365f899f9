/** Who is at the other end of a unix socket, as the kernel says: fixed when the peer connected, nothing to forge. */
import type { Socket } from "node:net";
import koffi from "koffi";
import { SubletError } from "../common/errors.ts";

export interface PeerCredential {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

// Linux on all machines that Slurm runs on but alpha, mips, parisc and sparc.
const solSocket = 1;
const soPeercred = 17;
const credentialBytes = 12;

type GetSockOpt = (fd: number, level: number, name: number, value: Buffer, bytes: Uint32Array) => number;

let getSockOpt: GetSockOpt | undefined;

/** @throws SubletError UNAUTHENTICATED when the socket is closed or not a unix socket. */
export function peerCredential(socket: Socket): PeerCredential {
  const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) throw new SubletError("UNAUTHENTICATED", "the peer closed its socket");
  getSockOpt ??= koffi
    .load("libc.so.6")
    .func("int getsockopt(int fd, int level, int name, void *value, void *bytes)") as GetSockOpt;
  const value = Buffer.alloc(credentialBytes);
  const bytes = new Uint32Array([credentialBytes]);
  if (getSockOpt(fd, solSocket, soPeercred, value, bytes) !== 0 || bytes[0] !== credentialBytes)
    throw new SubletError("UNAUTHENTICATED", `kernel does not name the peer (errno ${koffi.errno()})`);
  const credential = { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
  // The kernel says uid -1 for sockets that are no unix sockets.
  if (credential.uid === 0xffff_ffff)
    throw new SubletError("UNAUTHENTICATED", "the socket is not a unix socket");
  return credential;
}
