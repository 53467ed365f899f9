/**
 * Where the daemons' log lines go: a descriptor that may be full, slow or without a reader. Such a log must neither block nor
 * end a daemon, nor keep it from ending: lines that cannot be written are dropped, and later ones are tried again.
 * One write is under way at a time, on the thread pool; flushSync tries once and returns.
 *
 * A pipe whose reader has stopped would hold a write, and with it the end of the process, for ever. So what can be opened
 * anew (pipes, terminals, files) is, without blocking: O_NONBLOCK belongs to the open file, and ours may be shared with
 * others. A socket cannot; journald's takes what it is given or drops it.
 */
import { constants, openSync, write, writeSync } from "node:fs";

export interface LogSink {
  write(line: string): void;
  flushSync(): void;
}

/** Lines that wait are dropped beyond this. */
const maxWaitingBytes = 1 << 20;
const busyPauseMs = 100;

function withoutBlocking(fd: number): number {
  try {
    return openSync(
      `/proc/self/fd/${fd}`,
      constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
  } catch {
    return fd; // A socket, or a file that only who started us may open.
  }
}

export function logSink(sharedFd: number): LogSink {
  const fd = withoutBlocking(sharedFd);
  let waiting = Buffer.alloc(0);
  let writing = false;

  function next(): void {
    if (writing || waiting.length === 0) return;
    const chunk = waiting;
    waiting = Buffer.alloc(0);
    writing = true;
    write(fd, chunk, (error, written) => {
      writing = false;
      if (error?.code === "EAGAIN") {
        waiting = Buffer.concat([chunk, waiting]);
        setTimeout(next, busyPauseMs).unref();
        return;
      }
      if (error === null && written < chunk.length)
        waiting = Buffer.concat([chunk.subarray(written), waiting]);
      next();
    });
  }

  return {
    write(line) {
      if (waiting.length + line.length > maxWaitingBytes) return;
      waiting = Buffer.concat([waiting, Buffer.from(line)]);
      next();
    },
    flushSync() {
      try {
        writeSync(fd, waiting);
      } catch {
        // Cannot be written: there is nowhere to say so.
      }
      waiting = Buffer.alloc(0);
    },
  };
}
