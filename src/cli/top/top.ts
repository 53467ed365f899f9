/**
 * `sublet top`: the cluster, live. The picture is drawn on the alternate screen, and of it only the lines that changed, so
 * that a slow line keeps up. However it ends (q, a signal, an error), the terminal is as it was. A controller that is away
 * leaves the last picture, marked as old.
 */
import { SubletError, toSubletError } from "../../common/errors.ts";
import type { ControllerClient } from "../../rpc/client.ts";
import { listNodes } from "../nodes.ts";
import { formatDuration } from "../output.ts";
import { showProgress } from "../progress.ts";
import { type Session, withController } from "../session.ts";
import { repaint } from "../table-options.ts";
import { type Cluster, firstView, frame, listed, type Size, type View } from "./frame.ts";
import { keysOf, press } from "./keys.ts";

export interface TopOptions {
  readonly delay: number;
  readonly once?: true;
}

const enter = "\u001b[?1049h\u001b[?25l\u001b[2J";
const leave = "\u001b[0m\u001b[?25h\u001b[?1049l";
const widthWithout = 100;
const hourMs = 3_600_000;

function colourful(environment: NodeJS.ProcessEnv): boolean {
  return (environment.NO_COLOR ?? "") === "" && environment.TERM !== "dumb";
}

async function ask(session: Session, controller: ControllerClient): Promise<Cluster> {
  const nowUnixMs = Date.now();
  const lastHour = { fromUnixMs: nowUnixMs - hourMs, toUnixMs: nowUnixMs };
  const [found, { leases }, gain, hour] = await Promise.all([
    listNodes(controller, true),
    controller.listLeases({}),
    controller.getGain({}).catch(() => undefined), // it keeps no history
    controller.getGain(lastHour).catch(() => undefined),
  ]);
  const reclaims = hour?.reclaims ?? undefined;
  return { controller: session.config.controller ?? "", found, leases, gain, reclaims, stale: undefined };
}

const clock = (): string => new Date().toTimeString().slice(0, 8);

/** A controller that is slow or away leaves the screen as it is: one line says what is waited for. */
async function firstAnswer(session: Session, controller: ControllerClient): Promise<Cluster> {
  const asking = (elapsedMs: number): string =>
    `waiting for the controller ${session.config.controller ?? ""}, ${formatDuration(elapsedMs)}`;
  const progress = showProgress({ output: session.output, quiet: false }, asking, () => "");
  try {
    return await ask(session, controller);
  } finally {
    progress.end();
  }
}

/** Live on the terminal until somebody ends it. */
async function live(session: Session, controller: ControllerClient, delayMs: number): Promise<void> {
  const { output } = session;
  const { stdin, stdout } = process;
  let cluster = await firstAnswer(session, controller);
  let view: View = firstView;
  let painted: string[] = [];
  let page = 1;
  let timer: NodeJS.Timeout | undefined;
  const size = (): Size => ({
    width: Math.max(20, output.width ?? widthWithout),
    height: Math.max(5, output.height ?? 24),
    colour: colourful(process.env),
  });
  const draw = (): void => {
    const picture = frame(cluster, view, size(), clock());
    page = picture.page;
    const change = repaint(painted, picture.lines);
    painted = picture.lines;
    if (change !== "") output.write(change);
  };
  const open = (): void => {
    stdin.setRawMode(true);
    painted = [];
    output.write(enter);
    draw();
  };
  const restore = (): void => {
    stdin.setRawMode(false);
    output.write(leave);
  };
  const onResize = (): void => {
    painted = [];
    output.write("\u001b[2J");
    draw();
  };
  const refresh = async (): Promise<void> => {
    if (!view.paused)
      cluster = await ask(session, controller).catch((thrown: unknown) => ({
        ...cluster,
        stale: toSubletError(thrown).message,
      }));
    draw();
    timer = setTimeout(() => void refresh(), delayMs);
  };

  await new Promise<void>((resolve) => {
    const end = (): void => resolve();
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const signal of signals) process.once(signal, end);
    process.once("exit", restore);
    process.on("SIGCONT", open);
    stdout.on("resize", onResize);
    stdin.on("end", end);
    stdin.on("data", (chunk: Buffer) => {
      for (const key of keysOf(chunk.toString("latin1"))) {
        const act = press(view, key, page, listed(cluster.found.nodes, view).length);
        if (act === "quit") return end();
        if (act === "suspend") {
          restore();
          process.kill(process.pid, "SIGSTOP");
        } else view = act;
      }
      draw();
    });
    open();
    timer = setTimeout(() => void refresh(), delayMs);
  });
  clearTimeout(timer);
  process.removeListener("exit", restore);
  restore();
  stdin.pause();
  // A question that is under way is of no interest any more; nor is what else may hold us.
  process.exit(0);
}

export async function top(session: Session, options: TopOptions): Promise<void> {
  const { output } = session;
  await withController(session, async (controller) => {
    if (options.once === true) {
      const size = { width: output.width ?? widthWithout, height: undefined, colour: false };
      output.write(`${frame(await ask(session, controller), firstView, size, clock()).lines.join("\n")}\n`);
      return;
    }
    if (output.width === undefined || process.stdin.isTTY !== true || process.env.TERM === "dumb")
      throw new SubletError(
        "FAILED_PRECONDITION",
        "top draws on a terminal, and this is none; use `sublet top --once` for one picture, `sublet nodes --watch` for lines",
      );
    await live(session, controller, options.delay * 1000);
  });
}
