/**
 * What a daemon tells the service manager that started it (sd_notify(3)): ready, reading its settings again, stopping, and
 * that its event loop still turns. Datagrams to the unix socket in NOTIFY_SOCKET, which Node cannot send by itself; they
 * never block, and one that is lost is no error of ours. Without NOTIFY_SOCKET nothing is done at all.
 */
import { datagramSender } from "../common/datagram.ts";

export interface ServiceManager {
  /** `status` is shown by `systemctl status`, and asked again after each reload. From here on the watchdog, if there is one, is fed. */
  ready(status: () => string): void;
  /** Says that settings are read again, and when `done` resolves that this is over. */
  reloading(done: Promise<void>): void;
  stopping(): void;
}

/** The watchdog hears of us this often within its time. */
const feedsPerTimeout = 3;

function sender(name: string | undefined): ((text: string) => void) | undefined {
  const socket = datagramSender(name);
  return socket === undefined ? undefined : (text) => void socket.send(Buffer.from(text));
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
  let status = (): string => "";
  return {
    ready(text) {
      status = text;
      send?.(`READY=1\nSTATUS=${text()}\n`);
      if (send === undefined || timeoutMs === undefined) return;
      setInterval(() => send("WATCHDOG=1\n"), Math.max(1, timeoutMs / feedsPerTimeout)).unref();
    },
    reloading(done) {
      send?.(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}\nSTATUS=reading settings\n`);
      void done.then(() => send?.(`READY=1\nSTATUS=${status()}\n`));
    },
    stopping() {
      send?.("STOPPING=1\n");
    },
  };
}
