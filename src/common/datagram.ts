/**
 * Datagrams to a unix socket, which Node cannot send by itself: for the service manager and the journal. Sending never blocks;
 * the address is given with each, so that a receiver that was started again is found again.
 */
import koffi from "koffi";

export interface DatagramSender {
  /** 0, or the kernel's errno. */
  send(bytes: Buffer): number;
}

// Linux on all machines that Slurm runs on but mips and sparc.
const afUnix = 1;
const sockDgram = 2;
const closeOnExec = 0o2000000;
const dontWait = 0x40;
const noSignal = 0x4000;
const pathBytes = 108;

/** struct sockaddr_un: an abstract name, written with a leading @, begins with a zero byte. */
function socketAddress(name: string): Buffer | undefined {
  const path = Buffer.from(name);
  if (!/^[/@]/.test(name) || path.length > pathBytes - 1) return undefined;
  if (name.startsWith("@")) path[0] = 0;
  const address = Buffer.alloc(2 + path.length + (name.startsWith("@") ? 0 : 1));
  address.writeUInt16LE(afUnix, 0);
  path.copy(address, 2);
  return address;
}

/** undefined: it is no name of a socket, or there is no descriptor left. */
export function datagramSender(name: string | undefined): DatagramSender | undefined {
  const address = name === undefined ? undefined : socketAddress(name);
  if (address === undefined) return undefined;
  const libc = koffi.load("libc.so.6");
  const fd = libc.func("int socket(int domain, int type, int protocol)")(afUnix, sockDgram | closeOnExec, 0);
  if (fd < 0) return undefined;
  const sendto = libc.func(
    "int64_t sendto(int fd, const void *bytes, size_t size, int flags, const void *address, uint32_t addressSize)",
  );
  return {
    send(bytes) {
      const sent = sendto(fd, bytes, bytes.length, dontWait | noSignal, address, address.length);
      return sent < 0 ? koffi.errno() : 0;
    },
  };
}
