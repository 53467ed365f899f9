/** In the place of systemd: what daemons tell it. */
import assert from "node:assert/strict";
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int domain, int type, int protocol)");
const bind = libc.func("int bind(int fd, const void *address, uint32_t size)");
const recv = libc.func("int64_t recv(int fd, _Out_ uint8_t *bytes, size_t size, int flags)");
const close = libc.func("int close(int fd)");

/** A datagram socket at `name`, with @ for the zero byte of abstract names; `hear` gives what has arrived. */
export function listener(name: string): { hear: () => string[]; close: () => void } {
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(name.replace(/^@/, "\0"))]);
  const fd: number = socket(1, 2, 0);
  assert.equal(bind(fd, address, address.length), 0);
  const hear = (): string[] => {
    const heard: string[] = [];
    const bytes = Buffer.alloc(4096);
    for (let size = recv(fd, bytes, 4096, 0x40); size > 0; size = recv(fd, bytes, 4096, 0x40))
      heard.push(bytes.toString("utf8", 0, Number(size)));
    return heard;
  };
  return { hear, close: () => void close(fd) };
}
