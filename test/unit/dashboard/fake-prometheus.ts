/** Something that answers as Prometheus does, or as it does not: for what a real one cannot be brought to do. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

export interface FakePrometheus {
  readonly url: string;
  /** Queries so far, as they came. */
  readonly asked: URLSearchParams[];
  readonly authorizations: (string | undefined)[];
  /** In place of the values below. */
  answer: ((response: ServerResponse) => void) | undefined;
  close(): Promise<void>;
}

/** Cores by state, always. Invocations are as many as the time is in seconds, so that each value says of when it is. */
const cores: Readonly<Record<string, number>> = { total: 100, jobs: 60, leased: 10, spare: 20 };

function matrix(query: URLSearchParams): object {
  const [start = 0, end = 0, step = 1] = ["start", "end", "step"].map((name) => Number(query.get(name)));
  const expr = query.get("query") ?? "";
  const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, i) => start + i * step);
  const series = (metric: object, value: number | undefined) => ({
    metric,
    values: times.map((time) => [time, String(value ?? time)]),
  });
  const result = expr.includes("invocations")
    ? [series({}, undefined)]
    : Object.entries(cores).map(([state, value]) =>
        series({ state }, expr.includes("memory") ? value * 2 ** 30 : value),
      );
  return { status: "success", data: { resultType: "matrix", result } };
}

export async function fakePrometheus(tls?: { cert: Buffer; key: Buffer }): Promise<FakePrometheus> {
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    const { searchParams } = new URL(request.url ?? "/", "http://fake");
    fake.asked.push(searchParams);
    fake.authorizations.push(request.headers.authorization);
    if (fake.answer !== undefined) fake.answer(response);
    else response.end(JSON.stringify(matrix(searchParams)));
  };
  const server = tls === undefined ? createServer(handler) : createTlsServer(tls, handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const fake: FakePrometheus = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}/below/`,
    asked: [],
    authorizations: [],
    answer: undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return fake;
}
