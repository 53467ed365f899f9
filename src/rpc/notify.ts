/**
 * What a daemon tells the service manager that started it (sd_notify(3)): ready, reading its settings again, stopping, and
 * that its event loop still turns. Datagrams to the unix socket in NOTIFY_SOCKET, which Node cannot send by itself; they
 * never block, and one that is lost is no error of ours. Without NOTIFY_SOCKET nothing is done at all.
 */
import koffi from "koffi";

export interface ServiceManager {
  /** `status` is shown by `systemctl status`. From here on the watchdog, if there is one, is fed. */
  ready(status: string): void;
  /** Says that settings are read again, and when `done` resolves that this is over. */
  reloading(done: Promise<void>): void;
  stopping(): void;
}

// Linux on all machines that Slurm runs on but mips and sparc.
const afUnix = 1;
const sockDgram = 2;
const closeOnExec = 0o2000000;
const dontWait = 0x40;
const noSignal = 0x4000;
const pathBytes = 108;
/** The watchdog hears of us this often within its time. */
const feedsPerTimeout = 3;

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

function sender(name: string | undefined): ((text: string) => void) | undefined {
  const address = name === undefined ? undefined : socketAddress(name);
  if (address === undefined) return undefined;
  const libc = koffi.load("libc.so.6");
  const fd = libc.func("int socket(int domain, int type, int protocol)")(afUnix, sockDgram | closeOnExec, 0);
  if (fd < 0) return undefined;
  const sendto = libc.func(
    "int64_t sendto(int fd, const void *bytes, size_t size, int flags, const void *address, uint32_t addressSize)",
  );
  return (text) => {
    const bytes = Buffer.from(text);
    sendto(fd, bytes, bytes.length, dontWait | noSignal, address, address.length);
  };
}

/** The watchdog's time, if it is meant for this process. */
function watchdogMs(environment: NodeJS.ProcessEnv): number | undefined {
  const { WATCHDOG_PID: pid, WATCHDOG_USEC: us } = environment;
  if (pid !== undefined && Number(pid) !== process.pid) return undefined;
  const ms = Number(us ?? 0) / 1000;
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

export function serviceManager(environment: NodeJS.ProcessEnv = process.env): ServiceManager {
  const send = sender(environment.NOTIFY_SOCKET);
  const timeoutMs = watchdogMs(environment);
  let status = "";
  return {
    ready(text) {
      status = text;
      send?.(`READY=1\nSTATUS=${text}\n`);
      if (send === undefined || timeoutMs === undefined) return;
      setInterval(() => send("WATCHDOG=1\n"), Math.max(1, timeoutMs / feedsPerTimeout)).unref();
    },
    reloading(done) {
      send?.(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}\nSTATUS=reading settings\n`);
      void done.then(() => send?.(`READY=1\nSTATUS=${status}\n`));
    },
    stopping() {
      send?.("STOPPING=1\n");
    },
  };
}
