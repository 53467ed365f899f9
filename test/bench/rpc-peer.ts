/** Both ends of the grpc-js baseline: without an argument the server (prints its port); with PORT [COUNT] the client. */
import * as grpc from "@grpc/grpc-js";

const echo = {
  path: "/bench/Echo",
  requestStream: false,
  responseStream: false,
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
} as const;

const port = process.argv[2];
if (port === undefined) {
  const server = new grpc.Server();
  server.addService(
    { echo },
    {
      echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
        done(null, call.request),
    },
  );
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) => {
    if (error !== null) throw error;
    console.log(bound);
  });
  process.stdin.on("end", () => process.exit(0)).resume();
} else {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const call = () =>
    new Promise<void>((resolve, reject) => {
      client.makeUnaryRequest(
        echo.path,
        echo.requestSerialize,
        echo.responseDeserialize,
        Buffer.alloc(64),
        (error) => (error === null ? resolve() : reject(error)),
      );
    });
  const count = Number(process.argv[3] ?? 2000);
  const times: number[] = [];
  for (let i = 0; i < 1000 + count; i++) {
    const start = process.hrtime.bigint();
    await call();
    if (i >= 1000) times.push(Number(process.hrtime.bigint() - start) / 1000);
  }
  console.log(JSON.stringify(times));
  client.close();
}
