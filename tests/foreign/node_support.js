// What the cases of node_client.js stand on: servers, calls, errors, streams.
//
// Made from the published protos alone, with @grpc/grpc-js, which is written in
// JavaScript from HTTP/2 up and shares nothing with the server's gRPC.

'use strict';

const assert = require('node:assert');
const childProcess = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

// How long something that is sure to come may take: used up only by a failure.
const BOUND_MS = 60_000;

const LOADING = {
  keepCase: true,
  longs: String,  // a JavaScript number is exact to 2^53 only
  enums: String,
  defaults: true,
  oneofs: true,
};

const DEFINITION = protoLoader.loadSync(
    fs.readdirSync('proto/waitq/v1')
        .filter((file) => file.endsWith('.proto'))
        .map((file) => `waitq/v1/${file}`),
    {...LOADING, includeDirs: ['proto']});
const STANDARD = protoLoader.loadSync(
    ['grpc/health/v1/health.proto', 'grpc/reflection/v1alpha/reflection.proto'],
    {...LOADING, includeDirs: ['/usr/share/grpc-proto']});

// "waitq.v1.WaitQueues" -> its methods.
const SERVICES = new Map(
    Object.entries(DEFINITION)
        .filter(([, value]) => typeof value.format !== 'string'));

// google.rpc as googleapis has it, not our copy of it.
const RPC = protobuf.parse(`
    syntax = "proto3";
    package google.rpc;
    message Any { string type_url = 1; bytes value = 2; }
    message Duration { int64 seconds = 1; int32 nanos = 2; }
    message Status {
      int32 code = 1; string message = 2; repeated Any details = 3;
    }
    message ErrorInfo {
      string reason = 1; string domain = 2; map<string, string> metadata = 3;
    }
    message RetryInfo { Duration retry_delay = 1; }
`, {keepCase: true}).root;

// "WaitQueues/Wait" of every method that some case has called.
const called = new Set();

// A unary call: a promise of the response, with the call itself in `call`.
function unary(stub, method, request, options = {}, metadata = undefined) {
  let call;
  const promise = new Promise((resolve, reject) => {
    call = stub[method](
        request, metadata ?? new grpc.Metadata(), options,
        (error, response) => error ? reject(error) : resolve(response));
  });
  promise.catch(() => {});  // a case may look later, or not at all
  promise.call = call;
  return promise;
}

// A bidirectional call: send() and read() in any order.
class Stream {
  constructor(call) {
    this.call = call;
    this.status = new Promise((resolve) => call.on('status', resolve));
    call.on('error', () => {});  // the iterator throws it
    this._responses = call[Symbol.asyncIterator]();
  }

  send(request) {
    this.call.write(request);
  }

  halfClose() {
    this.call.end();
  }

  cancel() {
    this.call.cancel();
  }

  // The next response; undefined at the end of the stream.
  async read() {
    return (await this._responses.next()).value;
  }

  // Reads to the end: the last response, all data, all responses.
  async last(responses = []) {
    for (let r = await this.read(); r; r = await this.read()) {
      responses.push(r);
    }
    const data = Buffer.concat(responses.map((r) => r.data ?? Buffer.alloc(0)));
    return {last: responses.at(-1), data, responses};
  }
}

// A stream that carries a session: numbers its operations.
class Session {
  // With `after` it goes on with the session of that one, which has had so many
  // of its results.
  static async attach(client, hello = {}, after = undefined, received = 0) {
    const session = new Session();
    session.stream = client.sessions.Attach();
    session.operations = after?.operations ?? 0;
    session.results = [];  // that have come and were not asked for
    if (after !== undefined) {
      const {token, server_epoch} = after.hello;
      hello = {...hello, token, server_epoch, results_received: received};
    }
    session.say({hello});
    session.hello = (await session.read()).hello;
    return session;
  }

  say(request) {
    this.stream.send(request);
  }

  // Sends an operation; its number.
  start(operation) {
    this.say({first_operation: ++this.operations, operations: [operation]});
    return this.operations;
  }

  // The next response; undefined at the end of the stream.
  async read() {
    const response = await this.stream.read();
    for (const [i, result] of (response?.results ?? []).entries()) {
      const number = Number(response.first_result) + i;
      this.results.push(
          {...result, number, operation: Number(result.operation)});
    }
    return response;
  }

  // The next result.
  async result() {
    while (this.results.length === 0) {
      assert(await this.read() !== undefined, 'the stream is over');
    }
    return this.results.shift();
  }

  // Does it; the result, which has to be the next.
  async ask(operation) {
    const number = this.start(operation);
    const result = await this.result();
    assert.strictEqual(result.operation, number);
    return result;
  }
}

// One connection, with a stub for each service: client.queues.Wait(request).
class Client {
  constructor(address) {
    this._stubs = [];
    const options = {'grpc.use_local_subchannel_pool': 1};
    this.channel = new grpc.Channel(
        address, grpc.credentials.createInsecure(), options);
    const add = (definition, service) => {
      const Stub = grpc.loadPackageDefinition(definition);
      const Class = service.split('.').reduce((at, part) => at[part], Stub);
      const stub = new Class(address, grpc.credentials.createInsecure(),
          {channelOverride: this.channel});
      this._stubs.push(stub);
      const short = service.split('.').at(-1);
      const methods = {};
      for (const [name, {responseStream, requestStream}] of
          Object.entries(Class.service)) {
        methods[name] = (...args) => {
          called.add(`${short}/${name}`);
          if (requestStream) {
            return new Stream(stub[name](new grpc.Metadata(), ...args));
          }
          return responseStream ? new Stream(stub[name](...args)) :
                                  unary(stub, name, ...args);
        };
      }
      return methods;
    };
    this.queues = add(DEFINITION, 'waitq.v1.WaitQueues');
    this.completions = add(DEFINITION, 'waitq.v1.Completions');
    this.pipes = add(DEFINITION, 'waitq.v1.Pipes');
    this.objects = add(DEFINITION, 'waitq.v1.Objects');
    this.tasks = add(DEFINITION, 'waitq.v1.Tasks');
    this.sessions = add(DEFINITION, 'waitq.v1.Sessions');
    this.health = add(STANDARD, 'grpc.health.v1.Health');
    this.reflection = add(STANDARD, 'grpc.reflection.v1alpha.ServerReflection');
    this._raw = new grpc.Client(address, grpc.credentials.createInsecure(),
        {channelOverride: this.channel});
  }

  close() {
    this.channel.close();
  }

  // Bytes as they are, to any method; a promise of the answer's bytes.
  raw(path, bytes) {
    const same = (x) => x;
    return new Promise((resolve, reject) => {
      this._raw.makeUnaryRequest(path, same, same, bytes,
          (error, answer) => error ? reject(error) : resolve(answer));
    });
  }

  async sleepers(name) {
    return (await this.tasks.List({name})).tasks;
  }

  async awaitSleepers(name, count) {
    await awaitThat(
        async () => (await this.sleepers(name)).length === count,
        `${count} sleepers on ${name}`);
  }
}

// A waitqd of its own, killed by close().
class Server {
  static async start(listen, flags = []) {
    const server = new Server();
    server._folder = fs.mkdtempSync('/tmp/waitq');
    if (listen === 'unix') listen = `unix:${path.join(server._folder, 's')}`;
    server._process = childProcess.spawn(
        process.env.WAITQD, ['--listen', listen, ...flags],
        {stdio: ['ignore', 'pipe', 'inherit']});
    server.exitCode = new Promise(
        (resolve) => server._process.on('exit', resolve));
    const lines = readline.createInterface({input: server._process.stdout});
    const line = await Promise.race(
        [new Promise((resolve) => lines.once('line', resolve)),
          server.exitCode]);
    const greeting = 'waitqd listening on ';
    assert(`${line}`.startsWith(greeting), `waitqd did not come up: ${line}`);
    server.address = line.slice(greeting.length);
    return server;
  }

  drain() {
    this._process.kill('SIGTERM');
  }

  async close() {
    this._process.kill('SIGKILL');
    await this.exitCode;
    fs.rmSync(this._folder, {recursive: true, force: true});
  }
}

// What the google.rpc details of a failed call say.
function detailsOf(error) {
  const [raw] = error.metadata.get('grpc-status-details-bin');
  if (raw === undefined) return {};
  const status = RPC.lookupType('google.rpc.Status').decode(raw);
  assert.strictEqual(status.code, error.code);
  assert.strictEqual(status.message, error.details);
  const result = {};
  for (const any of status.details) {
    const name = any.type_url.split('/').at(-1);
    const message = RPC.lookupType(name).decode(any.value);
    if (name === 'google.rpc.ErrorInfo') {
      result.reason = message.reason;
      result.domain = message.domain;
      result.metadata = message.metadata;
    } else if (name === 'google.rpc.RetryInfo') {
      result.retryMs = toMs(message.retry_delay);
    }
  }
  return result;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// Asks `state` until it is true.
async function awaitThat(state, what) {
  const end = Date.now() + BOUND_MS;
  while (!await state()) {
    assert(Date.now() < end, `did not come: ${what}`);
    await sleep(5);
  }
}

function duration(ms) {
  const seconds = Math.trunc(ms / 1000);
  return {seconds, nanos: Math.round((ms - seconds * 1000) * 1e6)};
}

function toMs(message) {
  return Number(message.seconds) * 1000 + message.nanos / 1e6;
}

module.exports = {
  BOUND_MS, Client, SERVICES, Server, Session, Stream, awaitThat, called,
  detailsOf, duration, grpc, protobuf, sleep, toMs,
};
