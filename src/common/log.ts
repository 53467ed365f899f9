/**
 * Where the daemons' log lines go: a descriptor that may be full, slow or without a reader. Such a log must neither block nor
 * end a daemon, nor keep it from ending: lines that cannot be written are dropped, and later ones are tried again.
 * One write is under way at a time, on the thread pool; flushSync tries once and returns.
 */
import { write, writeSync } from "node:fs";

export interface LogSink {
  write(line: string): void;
  flushSync(): void;
}

/** Lines that wait are dropped beyond this. */
const maxWaitingBytes = 1 << 20;
const busyPauseMs = 100;

export function logSink(fd: number): LogSink {
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
