/**
 * The kernel's own alarm for pressure: a threshold is written into a pressure file, and the file is ready (POLLPRI) when it is
 * crossed, at most once per window. Node polls for reading only, so an epoll set stands between: that is readable when
 * the file is ready. No thread, no tick.
 */
import { closeSync, constants, openSync, writeSync } from "node:fs";
import koffi from "koffi";

/** Without CAP_SYS_RESOURCE the kernel takes multiples of 2 s only. */
const windowUs = 2_000_000;
const closeOnExec = 0o2000000;
const ctlAdd = 1;
const pollPriority = 2;

/** struct epoll_event is packed on x86_64 alone. */
function epollEvent(events: number, fd: number): Buffer {
  const packed = process.arch === "x64";
  const event = Buffer.alloc(packed ? 12 : 16);
  event.writeUInt32LE(events, 0);
  event.writeInt32LE(fd, packed ? 4 : 8);
  return event;
}

export interface PressureTrigger {
  close(): void;
}

/**
 * Calls back when tasks were stalled ("some") for more than this part of a window. undefined: this kernel has no such
 * alarm (no PSI, or its triggers are refused here); then the looks alone must do.
 */
export function watchPressure(
  path: string,
  percent: number,
  onPressure: () => void,
): PressureTrigger | undefined {
  const open: number[] = [];
  const closeAll = (): void => {
    for (const fd of open.splice(0).reverse()) closeSync(fd);
  };
  try {
    const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    open.push(fd);
    const thresholdUs = Math.min(windowUs - 1, Math.max(1, Math.round((percent / 100) * windowUs)));
    writeSync(fd, `some ${thresholdUs} ${windowUs}\0`);
    const libc = koffi.load("libc.so.6");
    const epoll = libc.func("int epoll_create1(int flags)")(closeOnExec) as number;
    if (epoll < 0) throw new Error("no epoll");
    open.push(epoll);
    const control = libc.func("int epoll_ctl(int epfd, int op, int fd, void *event)");
    if (control(epoll, ctlAdd, fd, epollEvent(pollPriority, fd)) !== 0) throw new Error("not pollable");
    // To be polled is all that it takes: the kernel clears the alarm with it.
    const handle = koffi.node.poll(epoll, { readable: true }, () => onPressure());
    handle.unref();
    return {
      close() {
        handle.stop();
        handle.close();
        closeAll();
      },
    };
  } catch {
    closeAll();
    return undefined; // The caller goes on without.
  }
}
