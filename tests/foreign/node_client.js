// waitqd, as a Node program sees it that knows only the published protos.
//
// Every case runs over TCP and again over a socket file, against a server that
// the cases of a group share; so every case uses names of its own. run.sh starts
// this. The cases are those of python_client.py.

'use strict';

const assert = require('node:assert');
const childProcess = require('node:child_process');
const crypto = require('node:crypto');

const support = require('./node_support.js');
const {Client, Server, Session, awaitThat, detailsOf, duration, grpc, sleep,
  toMs} = support;
const Code = grpc.status;

const DONE = 'OUTCOME_DONE';
const TIMED_OUT = 'OUTCOME_TIMED_OUT';
const WOULD_BLOCK = 'OUTCOME_WOULD_BLOCK';
const END_OF_FILE = 'OUTCOME_END_OF_FILE';
const NOT_YET = 'OUTCOME_UNSPECIFIED';

const INT64_MAX = '9223372036854775807';
const INT64_MIN = '-9223372036854775808';
const FOR_EVER = 4294967295;  // what a completion counts after complete_all

const equal = assert.deepStrictEqual;
const NEVER = {equal: 12345};

// What every case gets: a server, a client, a new name, and shorthands.
class Case {
  static names = 0;

  constructor(server) {
    this.server = server;
    this.name = `case/${++Case.names}`;
    this._cleanups = [];
    this.client = this.newClient();
  }

  newClient() {
    const client = new Client(this.server.address);
    this._cleanups.push(() => client.close());
    return client;
  }

  // A server that this case may end.
  async ownServer(listen, flags) {
    this.server = await Server.start(listen, flags);
    this._cleanups.push(() => this.server.close());
    this.client = this.newClient();
  }

  async cleanUp() {
    for (const cleanup of this._cleanups) await cleanup();
  }

  wait(fields = {}, options = {}) {
    return this.client.queues.Wait({name: this.name, ...fields}, options);
  }

  // Starts a Wait and returns, as [it], once `count` calls sleep: an async
  // function would wait for a bare promise.
  async asleep(count, fields = {}) {
    const promise = this.wait(fields);
    await this.client.awaitSleepers(fields.name ?? this.name, count);
    return [promise];
  }

  wake(fields = {}) {
    return this.client.queues.WakeUp({name: this.name, ...fields});
  }

  store(value, name = this.name) {
    return this.client.queues.Store({name, value});
  }

  get(name = this.name) {
    return this.client.queues.Get({name});
  }

  complete(fields = {}) {
    return this.client.completions.Complete({name: this.name, ...fields});
  }

  completionWait(fields = {}) {
    return this.client.completions.Wait({name: this.name, ...fields});
  }

  createPipe(pipe = {}) {
    return this.client.objects.Create({name: this.name, pipe});
  }

  read(fields = {}, options = {}) {
    return this.client.pipes.Read({name: this.name, ...fields}, options);
  }

  write(data, fields = {}) {
    return this.client.pipes.Write(
        {name: this.name, data: Buffer.from(data), ...fields});
  }

  poll(fields = {}) {
    return this.client.pipes.Poll({name: this.name, ...fields});
  }

  async stat() {
    return (await this.client.objects.Stat({name: this.name})).object;
  }

  remove(fields = {}) {
    return this.client.objects.Remove({name: this.name, ...fields});
  }

  // An open ReadStream; its first response is read.
  async reader(fields = {}, client = this.client) {
    const stream = client.pipes.ReadStream();
    stream.send({open: {name: this.name, ...fields}});
    const first = await stream.read();
    equal([first.data.length, first.outcome], [0, NOT_YET]);
    return stream;
  }

  // A new session, or `after` gone on with; its first response is read.
  async session(hello = {}, after = undefined, received = 0) {
    const session =
        await Session.attach(this.client, hello, after, received);
    this._cleanups.push(() => session.stream.cancel());
    return session;
  }

  // An open WriteStream; its first response is read.
  async writer(fields = {}, client = this.client) {
    const stream = client.pipes.WriteStream();
    stream.send({open: {name: this.name, ...fields}});
    const first = await stream.read();
    equal([first.accepted_bytes, first.outcome], ['0', NOT_YET]);
    return stream;
  }
}

async function finishWriting(stream, accepted) {
  stream.halfClose();
  const {last} = await stream.last();
  equal([last.outcome, last.accepted_bytes], [DONE, `${accepted}`]);
}

// Awaits the failure of `promise`; gives what its details say.
async function failure(promise, code, reason) {
  let error;
  try {
    const answer = await promise;
    assert.fail(`${reason} expected, answered ${JSON.stringify(answer)}`);
  } catch (caught) {
    if (!(caught instanceof Error) || caught.metadata === undefined) {
      throw caught;
    }
    error = caught;
  }
  const details = detailsOf(error);
  equal([Code[error.code], details.reason, details.domain],
      [Code[code], reason, 'waitq']);
  assert(error.details.length > 0);
  return details;
}

async function bareFailure(promise, code) {
  await assert.rejects(promise, (error) => {
    equal(Code[error.code], Code[code]);
    return true;
  });
}

async function rising(promises) {
  const numbers = [];
  for (const promise of promises) numbers.push(BigInt((await promise())));
  for (let i = 1; i < numbers.length; ++i) {
    assert(numbers[i] > numbers[i - 1], `${numbers}`);
  }
  return numbers.at(-1);
}

const groups = [];

function group(name, flags, cases) {
  groups.push({name, flags, cases});
}

// --- wait queues -------------------------------------------------------------

group('WaitQueues', [], {
  async 'a condition that holds is done at once'(t) {
    await t.store(5);
    const answer = await t.wait({condition: {greater: 4}, then: {add: -5}});
    equal([answer.outcome, answer.value_before, answer.value_after],
        [DONE, '5', '0']);
    equal([answer.slept, answer.remaining], [false, null]);
  },

  async 'every condition'(t) {
    await t.store(6);
    const {generation} = await t.get();
    const holds = [{equal: 6}, {not_equal: 5}, {less: 7}, {less_or_equal: 6},
      {greater: 5}, {greater_or_equal: 6}, {all_bits: 6}, {any_bits: 3},
      {changed_since: 1}];
    const fails = [{equal: 5}, {not_equal: 6}, {less: 6}, {less_or_equal: 5},
      {greater: 6}, {greater_or_equal: 7}, {all_bits: 7}, {any_bits: 9},
      {changed_since: generation}];
    for (const [outcome, tests] of [[DONE, holds], [WOULD_BLOCK, fails]]) {
      for (const condition of tests) {
        const answer = await t.wait({condition, nonblock: true});
        equal([condition, answer.outcome], [condition, outcome]);
      }
    }
  },

  async 'every action'(t) {
    for (const [update, value] of [[{set: 12}, '12'], [{add: -2}, '10'],
      [{and_bits: 8}, '8'], [{or_bits: 3}, '11']]) {
      equal((await t.wake({update})).value, value);
      equal((await t.get()).value, value);
    }
  },

  async 'the whole range of the word'(t) {
    for (const value of [INT64_MIN, INT64_MAX, '-1', '0']) {
      await t.store(value);
      equal((await t.get()).value, value);
      equal((await t.wait({condition: {equal: value}})).value_before, value);
    }
    await t.wake({update: {or_bits: '18446744073709551615'}});
    equal((await t.get()).value, '-1');
  },

  async 'a wake-up ends a sleep'(t) {
    const [sleeper] = await t.asleep(1, {
      condition: {equal: 1}, then: {set: 0}, timeout: duration(1e6)});
    const woken = await t.wake({update: {set: 1}});
    equal([woken.woken, woken.woken_exclusive], ['1', '1']);
    const answer = await sleeper;
    equal([answer.outcome, answer.value_before, answer.value_after,
      answer.slept, answer.generation],
    [DONE, '1', '0', true, woken.generation]);
    assert(toMs(answer.remaining) > 900_000);
  },

  async 'without a condition any wake ends it'(t) {
    await t.store(1);
    const [sleeper] = await t.asleep(1);
    equal((await t.wake()).woken, '1');
    equal((await sleeper).outcome, DONE);
  },

  async 'Store wakes nobody'(t) {
    const [sleeper] = await t.asleep(1, {condition: {equal: 1}});
    equal((await t.store(1)).value_before, '0');
    equal((await t.client.sleepers(t.name)).length, 1);
    equal((await t.wake()).woken, '1');
    equal((await sleeper).value_before, '1');
  },

  async '`then` goes from sleeper to sleeper'(t) {
    const take = {condition: {greater: 0}, then: {add: -1}};
    const [first] = await t.asleep(1, take);
    const [second] = await t.asleep(2, take);
    await t.asleep(3, take);
    const woken = await t.wake({update: {set: 2}, all: true});
    equal([woken.woken, woken.value], ['2', '0']);
    equal((await first).value_before, '2');
    equal((await second).value_before, '1');
    equal((await t.client.sleepers(t.name)).length, 1);
  },

  async '`then_wake` repeats the walk'(t) {
    const [first] =
        await t.asleep(1, {condition: {equal: 2}, exclusive: true});
    const [second] = await t.asleep(
        2, {condition: {equal: 1}, then: {set: 2}, then_wake: true});
    equal((await t.wake({update: {set: 1}, all: true})).woken, '2');
    equal((await first).value_before, '2');
    equal((await second).value_after, '2');
  },

  async '`then_wake` of a call that did not sleep'(t) {
    const [sleeper] = await t.asleep(1, {condition: {equal: 2}});
    await t.wait({condition: {equal: 0}, then: {set: 2}, then_wake: true});
    equal((await sleeper).value_before, '2');
  },

  async '`nr` counts exclusive sleepers'(t) {
    const sleepers = [];
    for (const count of [1, 2, 3, 4]) {
      sleepers.push((await t.asleep(count, {exclusive: true}))[0]);
    }
    const [shared] = await t.asleep(5, {exclusive: false});
    const one = await t.wake();
    equal([one.woken, one.woken_exclusive], ['2', '1']);
    equal((await shared).outcome, DONE);
    equal((await sleepers[0]).outcome, DONE);
    equal((await t.wake({nr: 2})).woken_exclusive, '2');
    equal((await sleepers[2]).outcome, DONE);
    equal((await t.wake({all: true})).woken_exclusive, '1');
  },

  async 'keys'(t) {
    const [odd] = await t.asleep(1, {key: 1});
    const [even] = await t.asleep(2, {key: 2});
    const [any] = await t.asleep(3);
    equal((await t.wake({key: 2, all: true})).woken, '2');
    equal([(await even).outcome, (await any).outcome], [DONE, DONE]);
    equal((await t.wake({key: 4, all: true})).woken, '0');
    equal((await t.wake({all: true})).woken, '1');
    equal((await odd).outcome, DONE);
  },

  async 'mode interruptible passes killable ones'(t) {
    const [killable] = await t.asleep(1, {sleep: 'SLEEP_KILLABLE'});
    const [interruptible] = await t.asleep(2);
    equal((await t.wake({mode: 'MODE_INTERRUPTIBLE', all: true})).woken, '1');
    equal((await interruptible).outcome, DONE);
    equal((await t.wake({all: true, sync: true})).woken, '1');
    equal((await killable).outcome, DONE);
  },

  async 'the generation rises'(t) {
    const last = await rising([
      async () => (await t.store(1)).generation,
      async () => (await t.wake()).generation,
      async () => (await t.wait(
          {condition: {equal: 1}, then: {set: 1}})).generation,
      async () => (await t.store(1)).generation,
    ]);
    equal((await t.get()).generation, `${last}`);
  },

  async 'changed_since'(t) {
    const condition = {changed_since: (await t.store(0)).generation};
    const [sleeper] = await t.asleep(1, {condition});
    equal((await t.wake({all: true})).woken, '1');
    equal((await sleeper).outcome, DONE);
    equal((await t.wait({condition})).slept, false);
  },
});

group('Time', [], {
  async 'a timeout'(t) {
    const begin = performance.now();
    const answer = await t.wait(
        {condition: {equal: 1}, then: {set: 7}, timeout: duration(200)});
    assert(performance.now() - begin >= 200);
    equal([answer.outcome, answer.slept, answer.value_after,
      toMs(answer.remaining)], [TIMED_OUT, true, '0', 0]);
  },

  async 'a timeout of 0 tests once'(t) {
    const fields = {condition: {equal: 1}, timeout: duration(0)};
    const answer = await t.wait(fields);
    equal([answer.outcome, answer.slept], [TIMED_OUT, false]);
    await t.store(1);
    equal((await t.wait(fields)).outcome, DONE);
  },

  async '`nonblock` beats the timeout'(t) {
    const answer = await t.wait(
        {condition: NEVER, nonblock: true, timeout: duration(1e5)});
    equal([answer.outcome, answer.slept], [WOULD_BLOCK, false]);
  },

  async 'the longest duration'(t) {
    const [sleeper] = await t.asleep(1, {timeout: {seconds: '315576000000'}});
    await t.wake();
    equal((await sleeper).outcome, DONE);
  },

  async 'a deadline without timeout is answered before it'(t) {
    for (const fields of [{}, {timeout: duration(1e5)}]) {
      const answer = await t.wait({condition: NEVER, ...fields},
          {deadline: Date.now() + 1000});
      equal(answer.outcome, TIMED_OUT);
    }
    const read = await t.read(
        {name: `${t.name}/pipe`}, {deadline: Date.now() + 1000});
    equal(read.outcome, TIMED_OUT);
  },

  async 'a deadline of a stream is answered before it'(t) {
    const stream =
        t.client.pipes.ReadStream({deadline: Date.now() + 1000});
    stream.send({open: {name: t.name}});
    equal((await stream.last()).last.outcome, TIMED_OUT);
  },

  async 'a timeout before the deadline is exact'(t) {
    const begin = performance.now();
    const answer = await t.wait({condition: NEVER, timeout: duration(300)},
        {deadline: Date.now() + 30_000});
    equal(answer.outcome, TIMED_OUT);
    assert(performance.now() - begin >= 300);
  },
});

group('Cancel', [], {
  async 'a cancelled wait changes nothing'(t) {
    const [sleeper] =
        await t.asleep(1, {condition: {equal: 1}, then: {set: 7}});
    sleeper.call.cancel();
    await t.client.awaitSleepers(t.name, 0);
    await bareFailure(sleeper, Code.CANCELLED);
    equal((await t.wake({update: {set: 1}})).woken, '0');
    equal((await t.get()).value, '1');
  },

  async 'a repeated call is done once'(t) {
    const request = {request_id: crypto.randomUUID()};
    const first = await t.write('abc', request);
    equal(await t.write('abc', request), first);
    equal((await t.stat()).pipe.unread_bytes, '3');
    await failure(t.write('other', request), Code.INVALID_ARGUMENT, 'EINVAL');
    // The acknowledgement: after it the id is new.
    const cancel = {...request, name: t.name, method: 'Pipes/Write'};
    equal((await t.client.tasks.Cancel(cancel)).cancelled, true);
    equal((await t.client.tasks.Cancel(cancel)).cancelled, false);
    await t.write('other', request);
    equal((await t.stat()).pipe.unread_bytes, '8');
    await failure(t.write('x', {server_epoch: 1}),
        Code.ABORTED, 'EOWNERDEAD');
  },

  async 'a hold is accepted or read again'(t) {
    await t.write('abcdef');
    const held = await t.read({max_bytes: 4, hold: duration(30000)});
    equal([`${held.data}`, held.redelivered], ['abcd', false]);
    equal((await t.stat()).pipe.held_bytes, '4');
    const hold = {name: t.name, hold_id: held.hold_id};
    await t.client.pipes.Accept({...hold, up_to_offset: 2});
    await t.client.pipes.Release(hold);
    await failure(t.client.pipes.Release(hold), Code.FAILED_PRECONDITION,
        'ESTALE');
    const again = await t.read();
    equal([`${again.data}`, again.offset, again.redelivered],
        ['cd', '2', true]);
    equal(`${(await t.read()).data}`, 'ef');
  },

  async 'a cancelled read takes nothing'(t) {
    const sleeper = t.read({min_bytes: 5});
    await t.client.awaitSleepers(t.name, 1);
    await t.write('abc');
    sleeper.call.cancel();
    await t.client.awaitSleepers(t.name, 0);
    equal(`${(await t.read()).data}`, 'abc');
  },

  async 'a cancelled write puts nothing'(t) {
    await t.createPipe({capacity_bytes: 4});
    await t.write('full');
    const sleeper = t.write('more');
    await t.client.awaitSleepers(t.name, 1);
    sleeper.call.cancel();
    await t.client.awaitSleepers(t.name, 0);
    equal(`${(await t.read()).data}`, 'full');
    equal((await t.read({nonblock: true})).outcome, WOULD_BLOCK);
  },

  async 'a cancelled wait for a completion takes nothing'(t) {
    const sleeper = t.completionWait();
    await t.client.awaitSleepers(t.name, 1);
    sleeper.call.cancel();
    await t.client.awaitSleepers(t.name, 0);
    const answer = await t.complete();
    equal([answer.woken, answer.done], ['0', 1]);
  },

  async 'an uninterruptible write runs on'(t) {
    await t.createPipe({capacity_bytes: 4});
    await t.write('full');
    const sleeper = t.write('more', {sleep: 'SLEEP_UNINTERRUPTIBLE'});
    await t.client.awaitSleepers(t.name, 1);
    sleeper.call.cancel();
    equal(`${(await t.read()).data}`, 'full');
    equal(`${(await t.read()).data}`, 'more');
  },

  // A closed channel of grpc-js lets its calls run on; so by their cancel.
  async 'streams that are cancelled give up their handles'(t) {
    const reader = await t.reader();
    const writer = await t.writer();
    await t.client.awaitSleepers(t.name, 1);
    reader.cancel();
    writer.cancel();
    await awaitThat(async () => {
      const {readers, writers} = (await t.stat()).pipe;
      return readers + writers === 0;
    }, 'no handles');
  },
});

group('Connection', [], {
  async 'two callers on one connection'(t) {
    const sleeper = t.wait({condition: {equal: 1}, then: {set: 2}});
    await t.client.awaitSleepers(t.name, 1);
    equal((await t.wake({update: {set: 1}})).woken, '1');
    equal((await sleeper).value_after, '2');
  },

  async '500 sleepers on one connection are woken at once'(t) {
    const sleepers = Array.from(
        {length: 500}, () => t.wait({condition: {equal: 1}}));
    await t.client.awaitSleepers(t.name, 500);
    equal((await t.stat()).sleepers, '500');
    equal((await t.wake({update: {set: 1}})).woken, '500');
    for (const {outcome} of await Promise.all(sleepers)) equal(outcome, DONE);
  },

  async 'metadata of others is ignored'(t) {
    const metadata = new grpc.Metadata();
    metadata.set('x-request', '7');
    metadata.set('x-bytes-bin', Buffer.from([0, 255]));
    const promise = t.client.queues.Store(
        {name: t.name, value: 1}, {}, metadata);
    const status =
        new Promise((resolve) => promise.call.on('status', resolve));
    assert(BigInt((await promise).generation) > 0n);
    const {code, metadata: trailers} = await status;
    equal([code, trailers.get('grpc-status-details-bin')], [Code.OK, []]);
  },

  async 'unknown fields are ignored'(t) {
    const {requestSerialize} =
        support.SERVICES.get('waitq.v1.WaitQueues').Store;
    // Field 1000, a varint, and field 1001, a string, behind what we know.
    const unknown = Buffer.from('\xc0\x3e\x01\xca\x3e\x03new', 'latin1');
    await t.client.raw('/waitq.v1.WaitQueues/Store', Buffer.concat(
        [requestSerialize({name: t.name, value: 3}), unknown]));
    equal((await t.get()).value, '3');
  },

  async 'bytes that are no message'(t) {
    await failure(t.client.raw('/waitq.v1.WaitQueues/Get',
        Buffer.from([255, 255, 255])), Code.INVALID_ARGUMENT, 'EINVAL');
  },

  async 'unknown methods'(t) {
    for (const path of ['/waitq.v1.WaitQueues/Nap',
      '/waitq.v2.WaitQueues/Wait']) {
      await bareFailure(t.client.raw(path, Buffer.alloc(0)),
          Code.UNIMPLEMENTED);
    }
  },

  async 'health says SERVING'(t) {
    equal((await t.client.health.Check({})).status, 'SERVING');
    const watch = t.client.health.Watch({});
    equal((await watch.read()).status, 'SERVING');
    watch.cancel();
  },

  async 'reflection describes what the protos say'(t) {
    const ask = async (question) => {
      const stream = t.client.reflection.ServerReflectionInfo();
      stream.send(question);
      const answer = await stream.read();
      stream.halfClose();
      return answer;
    };
    const answer = await ask({list_services: ''});
    const listed = answer.list_services_response.service.map((s) => s.name);
    for (const [service, methods] of support.SERVICES) {
      assert(listed.includes(service), `${service} is not among ${listed}`);
      const described = await ask({file_containing_symbol: service});
      const files =
          described.file_descriptor_response.file_descriptor_proto.join();
      for (const method of Object.keys(methods)) {
        assert(files.includes(method), `${service}/${method}`);
      }
    }
    for (const service of listed) {
      assert(!service.startsWith('waitq.') || support.SERVICES.has(service));
    }
  },
});

// --- errors ------------------------------------------------------------------

group('Errors', [], {
  async 'EINVAL'(t) {
    const {queues, completions, pipes, objects, tasks} = t.client;
    const {name} = t;
    for (const [method, request] of [
      [queues.Wait, {}],
      [queues.Wait, {name: 'a b'}],
      [queues.Wait, {name: 'x'.repeat(256)}],
      [queues.Wait, {name, condition: {}}],
      [queues.Wait, {name, condition: {all_bits: 0}}],
      [queues.Wait, {name, then: {}}],
      [queues.Wait, {name, then_wake: true}],
      [queues.Wait, {name, timeout: duration(-1000)}],
      [queues.Wait, {name, sleep: 'SLEEP_UNINTERRUPTIBLE'}],
      [queues.Wait, {name, sleep: 77}],
      [queues.Wait, {name, caller: 'x'.repeat(129)}],
      [queues.WakeUp, {name, nr: 0}],
      [queues.WakeUp, {name, nr: 1, all: true}],
      [queues.WakeUp, {name, mode: 77}],
      [completions.Complete, {name, nr: 0}],
      [objects.Create, {name}],
      [pipes.Read, {name, min_bytes: 0}],
      [objects.List, {page_size: 10001}],
      [tasks.List, {page_token: '?'}],
      [tasks.Signal, {id: 1}],
    ]) {
      try {
        await failure(method(request), Code.INVALID_ARGUMENT, 'EINVAL');
      } catch (error) {
        error.message += `\nof ${JSON.stringify(request)}`;
        throw error;
      }
    }
    // None of these has made anything.
    await failure(t.stat(), Code.NOT_FOUND, 'ENOENT');
  },

  async 'ENOENT'(t) {
    for (const call of [() => t.get(), () => t.stat(), () => t.remove(),
      () => t.client.completions.Done({name: t.name})]) {
      const {metadata} = await failure(call(), Code.NOT_FOUND, 'ENOENT');
      equal({...metadata}, {object: t.name});
    }
  },

  async 'ENXIO'(t) {
    await t.store(1);
    for (const call of [() => t.complete(), () => t.read(), () => t.write('x'),
      () => t.createPipe(),
      () => t.client.completions.TryWait({name: t.name})]) {
      const {metadata} =
          await failure(call(), Code.FAILED_PRECONDITION, 'ENXIO');
      equal(metadata.object, t.name);
    }
  },

  async 'EEXIST'(t) {
    await t.createPipe({capacity_bytes: 100});
    await failure(t.createPipe({capacity_bytes: 101}), Code.ALREADY_EXISTS,
        'EEXIST');
    await failure(t.write('x', {options: {mode: 'PIPE_MODE_PACKET'}}),
        Code.ALREADY_EXISTS, 'EEXIST');
  },

  async 'EBUSY'(t) {
    const writer = await t.writer();
    await failure(t.remove(), Code.FAILED_PRECONDITION, 'EBUSY');
    await finishWriting(writer, 0);
    await t.remove();
  },

  async 'EIDRM'(t) {
    const [sleeper] = await t.asleep(1);
    equal((await t.remove()).ended, '1');
    const {metadata} = await failure(sleeper, Code.ABORTED, 'EIDRM');
    equal(metadata.object, t.name);
  },

  async 'EIDRM of streams'(t) {
    const reader = await t.reader();
    const writer = await t.writer();
    await t.client.awaitSleepers(t.name, 1);
    await t.remove({force: true});
    await failure(reader.last(), Code.ABORTED, 'EIDRM');
    // The writer said nothing.
    await failure(writer.last(), Code.ABORTED, 'EIDRM');
  },

  async 'EPIPE'(t) {
    const reader = await t.reader({max_bytes: 1});
    await t.write('x');
    const {last, data} = await reader.last();
    equal([last.outcome, `${data}`], [DONE, 'x']);
    await failure(t.write('y'), Code.FAILED_PRECONDITION, 'EPIPE');
    equal((await t.write('')).outcome, DONE);
  },

  async 'EPIPE of a stream says how much was accepted'(t) {
    await t.createPipe({capacity_bytes: 8, atomic_max_bytes: 1});
    const reader = await t.reader({window_bytes: 1});
    const writer = await t.writer();
    writer.send({data: Buffer.alloc(100)});
    // One byte is out, eight fill the pipe.
    await awaitThat(
        async () => (await t.stat()).pipe.write_offset === '9', 'a full pipe');
    reader.cancel();
    const responses = [];
    await failure(writer.last(responses), Code.FAILED_PRECONDITION, 'EPIPE');
    equal([responses.at(-1).accepted_bytes, responses.at(-1).outcome],
        ['9', NOT_YET]);
  },

  async 'EINTR and ESRCH'(t) {
    const [sleeper] = await t.asleep(1, {caller: 'to be signalled'});
    const [{id}] = await t.client.sleepers(t.name);
    const request = {id, signal: 'SIGNAL_INT'};
    equal((await t.client.tasks.Signal(request)).ended, true);
    const {metadata} = await failure(sleeper, Code.ABORTED, 'EINTR');
    equal(metadata.signal, '2');
    await failure(t.client.tasks.Signal(request), Code.NOT_FOUND, 'ESRCH');
  },

  async 'INT does not end a killable sleep'(t) {
    const [sleeper] = await t.asleep(1, {sleep: 'SLEEP_KILLABLE'});
    const [{id}] = await t.client.sleepers(t.name);
    const {tasks} = t.client;
    equal((await tasks.Signal({id, signal: 'SIGNAL_INT'})).ended, false);
    equal((await tasks.Signal({id, signal: 'SIGNAL_TERM'})).ended, true);
    await failure(sleeper, Code.ABORTED, 'EINTR');
  },

  async 'EMSGSIZE'(t) {
    await t.createPipe({mode: 'PIPE_MODE_PACKET', capacity_bytes: 100});
    await t.write('packet');
    await failure(t.read({max_bytes: 5}), Code.INVALID_ARGUMENT, 'EMSGSIZE');
    equal(`${(await t.read({max_bytes: 6})).data}`, 'packet');
    await failure(t.write('x'.repeat(37)), Code.INVALID_ARGUMENT, 'EMSGSIZE');
  },

  async 'EMSGSIZE of a message'(t) {
    const {metadata} = await failure(t.write(Buffer.alloc(4 << 20)),
        Code.INVALID_ARGUMENT, 'EMSGSIZE');
    equal(metadata.limit, 'message-bytes');
  },

  async 'ERANGE'(t) {
    await t.store(INT64_MAX);
    await failure(t.wake({update: {add: 1}}), Code.OUT_OF_RANGE, 'ERANGE');
    await failure(t.wait({condition: {greater: 0}, then: {add: 1}}),
        Code.OUT_OF_RANGE, 'ERANGE');
    equal((await t.get()).value, INT64_MAX);
  },

  async 'misused streams'(t) {
    const open = {open: {name: t.name}};
    const {pipes} = t.client;
    for (const [method, requests] of [
      [pipes.ReadStream, []],
      [pipes.ReadStream, [{read_up_to: 1}]],
      [pipes.ReadStream, [open, open]],
      [pipes.ReadStream, [open, {read_up_to: 1}]],
      [pipes.WriteStream, []],
      [pipes.WriteStream, [{data: Buffer.from('x')}]],
      [pipes.WriteStream, [open, open]],
      [pipes.WriteStream, [open, {}]],
    ]) {
      const stream = method();
      for (const request of requests) stream.send(request);
      stream.halfClose();
      await failure(stream.last(), Code.INVALID_ARGUMENT, 'EINVAL');
    }
  },
});

async function reachesLimit(promise, limit) {
  const {metadata, retryMs} =
      await failure(promise, Code.RESOURCE_EXHAUSTED, 'ENOSPC');
  equal(metadata.limit, limit);
  assert(retryMs > 0);
}

const LIMITS = ['--objects', '3', '--sleepers-per-object', '2', '--sleepers',
  '3', '--pipe-bytes', '64K', '--pipe-bytes-in-all', '96K', '--bytes-asleep',
  '128K', '--message-bytes', '128K'];

async function removeAll(t) {
  for (const {name} of (await t.client.objects.List({})).objects) {
    await t.client.objects.Remove({name, force: true});
  }
}

group('Limits', LIMITS, {
  async 'objects'(t) {
    for (const i of [0, 1, 2]) await t.store(1, `${t.name}/${i}`);
    await reachesLimit(t.store(1, `${t.name}/3`), 'objects');
    equal((await t.get(`${t.name}/0`)).value, '1');
    await removeAll(t);
  },

  async 'sleepers'(t) {
    const other = `${t.name}/2`;
    const sleepers = [...await t.asleep(1), ...await t.asleep(2)];
    await reachesLimit(t.wait(), 'sleepers-per-object');
    sleepers.push(...await t.asleep(1, {name: other}));
    await reachesLimit(t.wait({name: other}), 'sleepers');
    await t.wake({all: true});
    await t.wake({name: other});
    for (const {outcome} of await Promise.all(sleepers)) equal(outcome, DONE);
    await removeAll(t);
  },

  async 'bytes'(t) {
    const piece = Buffer.alloc(32768);
    await t.write(piece);
    await t.write(piece);
    // More than half of what may sleep, so that it fits once.
    const sleeper = t.write(Buffer.alloc(65537));
    await t.client.awaitSleepers(t.name, 1);
    await reachesLimit(t.write(Buffer.alloc(65536)), 'bytes-asleep');
    sleeper.call.cancel();
    await t.client.awaitSleepers(t.name, 0);
    t.name += '/2';
    await t.write(piece);
    await reachesLimit(t.write('x'), 'pipe-bytes-in-all');
    await removeAll(t);
  },
});

// --- completions -------------------------------------------------------------

group('Completions', [], {
  async 'n completes admit n waits'(t) {
    const answer = await t.complete({nr: 3});
    equal([answer.woken, answer.done], ['0', 3]);
    for (const outcome of [DONE, DONE, DONE, WOULD_BLOCK]) {
      equal((await t.completionWait({nonblock: true})).outcome, outcome);
    }
  },

  async 'completes wake the oldest'(t) {
    const sleepers = [];
    for (const count of [1, 2, 3]) {
      sleepers.push(t.completionWait({timeout: duration(1e5)}));
      await t.client.awaitSleepers(t.name, count);
    }
    equal((await t.complete({nr: 2})).woken, '2');
    for (const {outcome, slept, remaining} of
      await Promise.all(sleepers.slice(0, 2))) {
      equal([outcome, slept, toMs(remaining) > 0], [DONE, true, true]);
    }
    const answer = await t.complete();
    equal([answer.woken, answer.done], ['1', 0]);
    equal((await sleepers[2]).outcome, DONE);
  },

  async 'complete all, and reinit'(t) {
    const {completions} = t.client;
    const {name} = t;
    const sleeper = t.completionWait();
    await t.client.awaitSleepers(name, 1);
    const answer = await t.complete({all: true});
    equal([answer.woken, answer.done], ['1', FOR_EVER]);
    equal((await sleeper).outcome, DONE);
    for (let i = 0; i < 3; ++i) equal((await t.completionWait()).outcome, DONE);
    equal((await completions.Done({name})).done, true);
    await completions.Reinit({name});
    equal((await completions.Done({name})).done, false);
    equal((await t.completionWait({timeout: duration(0)})).outcome, TIMED_OUT);
  },

  async 'TryWait'(t) {
    const {name} = t;
    const {completions} = t.client;
    equal((await completions.TryWait({name})).taken, false);
    await t.complete();
    equal((await completions.TryWait({name})).taken, true);
    equal((await completions.TryWait({name})).taken, false);
    equal((await t.stat()).completion.done, 0);
  },
});

// --- pipes -------------------------------------------------------------------

group('Pipes', [], {
  async 'write, then read'(t) {
    const written = await t.write('hello');
    equal([written.outcome, written.accepted_bytes, written.offset],
        [DONE, '5', '5']);
    const first = await t.read({max_bytes: 3});
    equal([`${first.data}`, first.offset], ['hel', '0']);
    const second = await t.read();
    equal([`${second.data}`, second.offset, second.slept], ['lo', '3', false]);
    equal(second.incarnation, written.incarnation);
  },

  async 'a read sleeps until there is something'(t) {
    const sleeper = t.read();
    await t.client.awaitSleepers(t.name, 1);
    await t.write('x');
    const {data, slept} = await sleeper;
    equal([`${data}`, slept], ['x', true]);
  },

  async 'read without bytes'(t) {
    equal((await t.read({max_bytes: 0})).outcome, DONE);
    equal((await t.read({nonblock: true})).outcome, WOULD_BLOCK);
    equal((await t.read({timeout: duration(50)})).outcome, TIMED_OUT);
  },

  async 'min_bytes'(t) {
    await t.write('ab');
    const short = await t.read({min_bytes: 4, timeout: duration(50)});
    equal([short.outcome, short.data.length], [TIMED_OUT, 0]);
    const sleeper = t.read({min_bytes: 4});
    await t.client.awaitSleepers(t.name, 1);
    await t.write('c');
    equal((await t.client.sleepers(t.name)).length, 1);
    await t.write('de');
    equal(`${(await sleeper).data}`, 'abcde');
  },

  async 'min_bytes where the file ends'(t) {
    const writer = await t.writer();
    writer.send({data: Buffer.from('ab')});
    const sleeper = t.read({min_bytes: 4});
    await t.client.awaitSleepers(t.name, 1);
    await finishWriting(writer, 2);
    equal(`${(await sleeper).data}`, 'ab');
  },

  async 'the largest read fits a default client'(t) {
    await t.createPipe({capacity_bytes: 8 << 20});
    const piece = Buffer.alloc((4 << 20) - 1024);
    await t.write(piece);
    await t.write(piece);
    equal((await t.read({max_bytes: 8 << 20})).data.length, piece.length);
  },

  async 'a write that is cut short says by what'(t) {
    await t.createPipe({capacity_bytes: 8, atomic_max_bytes: 4});
    let answer = await t.write('x'.repeat(20), {timeout: duration(50)});
    equal([answer.outcome, answer.accepted_bytes, answer.ended_by],
        [DONE, '8', TIMED_OUT]);
    answer = await t.write('y', {nonblock: true});
    equal([answer.outcome, answer.accepted_bytes], [WOULD_BLOCK, '0']);
    const sleeper = t.write('z'.repeat(20));
    await t.client.awaitSleepers(t.name, 1);
    await t.read({max_bytes: 6});
    await t.remove();
    answer = await sleeper;
    equal([answer.outcome, answer.ended_by_error, answer.accepted_bytes],
        [DONE, 'EIDRM', '6']);
  },

  async 'an atomic write is whole or nothing'(t) {
    await t.createPipe({capacity_bytes: 8});
    await t.write('12345');
    const answer = await t.write('6789', {timeout: duration(50)});
    equal([answer.outcome, answer.accepted_bytes], [TIMED_OUT, '0']);
  },

  async 'packets'(t) {
    const options = {mode: 'PIPE_MODE_PACKET'};
    const packets = ['one', 'two!', '3'];
    for (const packet of packets) await t.write(packet, {options});
    equal((await t.write('')).outcome, DONE);
    equal((await t.stat()).pipe.profile, 'PIPE_PROFILE_QUEUE');
    for (const packet of packets) equal(`${(await t.read()).data}`, packet);
    equal((await t.read({nonblock: true})).outcome, WOULD_BLOCK);
  },

  async 'packets in streams'(t) {
    const options = {mode: 'PIPE_MODE_PACKET', profile: 'PIPE_PROFILE_FIFO'};
    const reader = await t.reader({options});
    const writer = await t.writer();
    const sizes = [1, 1000, 5, 60000, 2];
    for (const size of sizes) writer.send({data: Buffer.alloc(size)});
    await finishWriting(writer, sizes.reduce((a, b) => a + b));
    const {last, responses} = await reader.last();
    equal(responses.map((r) => r.data.length).filter((n) => n > 0), sizes);
    equal([last.outcome, last.broken], [END_OF_FILE, false]);
  },

  async 'scull'(t) {
    await t.createPipe({capacity_bytes: 5, profile: 'PIPE_PROFILE_SCULL'});
    const nonblock = {nonblock: true};
    equal((await t.write('abcdefg', nonblock)).accepted_bytes, '4');
    equal(`${(await t.read({max_bytes: 3})).data}`, 'abc');
    // Two more fit, but the first of them is at the ring's end.
    equal((await t.write('efg', nonblock)).accepted_bytes, '1');
    equal(`${(await t.read()).data}`, 'de');
  },
});

async function copy(reader, writer) {
  writer.send({data: Buffer.from('abc')});
  writer.send({data: Buffer.from('def')});
  await finishWriting(writer, 6);
  const {last, data, responses} = await reader.last();
  equal([`${data}`, last.outcome, last.broken, last.offset],
      ['abcdef', END_OF_FILE, false, '6']);
  assert(responses.slice(0, -1).every((r) => r.outcome === NOT_YET));
  equal((await reader.status).code, Code.OK);
}

group('Streams', [], {
  async 'the reader comes first'(t) {
    const reader = await t.reader();
    await t.client.awaitSleepers(t.name, 1);
    await copy(reader, await t.writer());
  },

  async 'the writer comes first'(t) {
    const writer = await t.writer();
    await copy(await t.reader(), writer);
  },

  async 'the writer is gone before the reader comes'(t) {
    const writer = await t.writer();
    writer.send({data: Buffer.from('kept')});
    await finishWriting(writer, 4);
    const {last, data} = await (await t.reader()).last();
    equal([`${data}`, last.outcome], ['kept', END_OF_FILE]);
    // The end was seen; who comes now waits for a new writer.
    equal((await t.read({nonblock: true})).outcome, WOULD_BLOCK);
  },

  async 'a file of no bytes'(t) {
    await finishWriting(await t.writer(), 0);
    const {outcome, data, broken} = await t.read();
    equal([outcome, data.length, broken], [END_OF_FILE, 0, false]);
  },

  // Not by cancel(): on the wire, grpc-js then closes its side first and resets
  // the stream milliseconds later, which is a clean end until then.
  async 'a killed writer breaks the file'(t) {
    const writer = childProcess.spawn(
        process.execPath, [__filename, t.server.address, t.name],
        {stdio: ['ignore', 'ignore', 'inherit']});
    const reader = await t.reader();
    equal(`${(await reader.read()).data}`, 'half');
    writer.kill('SIGKILL');
    const {last} = await reader.last();
    equal([last.outcome, last.broken], [END_OF_FILE, true]);
  },

  async 'two writers end once'(t) {
    const reader = await t.reader();
    const one = await t.writer();
    const two = await t.writer();
    one.send({data: Buffer.from('1')});
    await finishWriting(one, 1);
    two.send({data: Buffer.from('2')});
    await finishWriting(two, 1);
    const {last, data} = await reader.last();
    equal([`${data}`, last.outcome], ['12', END_OF_FILE]);
  },

  async 'max_bytes'(t) {
    const reader = await t.reader({max_bytes: 4});
    await t.write('abcdef');
    const {last, data} = await reader.last();
    equal([last.outcome, `${data}`], [DONE, 'abcd']);
  },

  async 'timeout and `nonblock` of a reader'(t) {
    for (const [fields, outcome] of [[{timeout: duration(50)}, TIMED_OUT],
      [{nonblock: true}, WOULD_BLOCK]]) {
      const {last} = await (await t.reader(fields)).last();
      equal(last.outcome, outcome);
    }
  },

  async 'timeout and `nonblock` of a writer'(t) {
    await t.createPipe({capacity_bytes: 2});
    for (const [fields, outcome] of [[{timeout: duration(50)}, TIMED_OUT],
      [{nonblock: true}, WOULD_BLOCK]]) {
      const writer = await t.writer(fields);
      writer.send({data: Buffer.from('a')});
      writer.send({data: Buffer.from('bc')});
      const {last} = await writer.last();
      equal([last.outcome, last.accepted_bytes], [outcome, '1']);
      equal(`${(await t.read()).data}`, 'a');
      // What it had sent is not all there.
      equal((await t.read()).broken, true);
    }
  },

  async 'a window bounds what is under way'(t) {
    const reader = await t.reader({window_bytes: 3});
    await t.write('abcdefgh');
    let got = '';
    while (got.length < 3) got += (await reader.read()).data;
    equal([got, (await t.stat()).pipe.unread_bytes], ['abc', '5']);
    reader.send({read_up_to: 2});
    while (got.length < 5) got += (await reader.read()).data;
    equal([got, (await t.stat()).pipe.unread_bytes], ['abcde', '3']);
    reader.cancel();
  },

  async '1 MiB through 64 KiB with a slow reader'(t) {
    const total = 1 << 20;
    const bytes = crypto.randomBytes(total);
    const reader = await t.reader({window_bytes: 16384});
    const writer = await t.writer();
    for (let i = 0; i < total; i += 16384) {
      writer.send({data: bytes.subarray(i, i + 16384)});
    }
    writer.halfClose();
    // Nobody acknowledges: the window is out, the pipe full, the writer waits.
    await awaitThat(
        async () => (await t.stat()).pipe.write_offset === '81920',
        'a full pipe');
    await t.client.awaitSleepers(t.name, 1);
    const hash = crypto.createHash('sha256');
    let got = 0;
    let last;
    do {
      last = await reader.read();
      hash.update(last.data);
      got += last.data.length;
      assert(Number((await t.stat()).pipe.unread_bytes) <= 65536);
      await sleep(2);
      if (last.data.length > 0) reader.send({read_up_to: got});
    } while (last.outcome === NOT_YET);
    equal([got, last.outcome, last.broken], [total, END_OF_FILE, false]);
    equal(hash.digest(), crypto.createHash('sha256').update(bytes).digest());
    const {last: done} = await writer.last();
    equal([done.outcome, done.accepted_bytes], [DONE, `${total}`]);
    assert(Number(done.sleeps) > 0);
  },

  async 'a reader that stops stops the writer'(t) {
    // No window: gRPC's flow control alone holds the sender back.
    const reader = await t.reader();
    const writer = await t.writer();
    const total = 128 * 65536;
    for (let i = 0; i < 128; ++i) writer.send({data: Buffer.alloc(65536)});
    writer.halfClose();
    await awaitThat(
        async () => (await t.client.sleepers(t.name))
            .some((task) => task.condition.startsWith('write')),
        'a sleeping writer');
    await sleep(300);
    assert(Number((await t.stat()).pipe.write_offset) < total);
    const {last, data} = await reader.last();
    equal([last.outcome, data.length], [END_OF_FILE, total]);
    await writer.last();
  },
});

group('Poll', [], {
  async 'in and out'(t) {
    await t.createPipe({capacity_bytes: 4});
    let answer = await t.poll({in: true, out: true});
    equal([answer.in, answer.out, answer.slept], [false, true, false]);
    await t.write('full');
    answer = await t.poll({in: true, out: true});
    equal([answer.in, answer.out], [true, false]);
    equal((await t.poll({out: true, nonblock: true})).outcome, WOULD_BLOCK);
    equal((await t.poll({out: true, timeout: duration(0)})).outcome, TIMED_OUT);
  },

  async 'a poll sleeps and takes nothing'(t) {
    const sleeper = t.poll({in: true});
    await t.client.awaitSleepers(t.name, 1);
    await t.write('x');
    const answer = await sleeper;
    equal([answer.in, answer.slept], [true, true]);
    equal(`${(await t.read()).data}`, 'x');
  },

  async 'hup and err'(t) {
    const writer = await t.writer();
    const reader = await t.reader({max_bytes: 1});
    const sleeper = t.poll();
    await t.client.awaitSleepers(t.name, 2);
    await finishWriting(writer, 0);
    equal((await sleeper).hup, true);
    await reader.last();
    equal((await t.poll()).err, true);
  },
});

// What is told next of that name.
async function told(stream, id) {
  for (;;) {
    for (const change of (await stream.read()).changes) {
      if (change.id === String(id)) return change;
    }
  }
}

group('PollStream', [], {
  async 'what is there and what has changed'(t) {
    const stream = t.client.pipes.PollStream();
    stream.send({watch: [{id: 7, name: t.name, in: true}]});
    equal((await told(stream, 7)).ready.in, false);
    for (let i = 0; i < 3; ++i) {
      await t.write('x');
      equal((await told(stream, 7)).ready.in, true);
      equal(`${(await t.read()).data}`, 'x');
      equal((await told(stream, 7)).ready.in, false);
    }
    await t.remove();
    equal((await told(stream, 7)).error, 'EIDRM');
    stream.cancel();
  },

  async 'a poll that knows what is there'(t) {
    await t.write('x');
    const sleeper = t.poll({in: true, known: {in: true}});
    await t.client.awaitSleepers(t.name, 1);
    await t.read();
    equal((await sleeper).in, false);
  },
});

// --- objects and tasks -------------------------------------------------------

function anyNames(t) {
  return ['word', 'done', 'pipe'].map((kind) => `${t.name}/${kind}`);
}

function anyRequest(t) {
  const [word, done, pipe] = anyNames(t);
  return {alternatives: [
    {wait: {name: word, condition: {greater: 0}, then: {add: -1}}},
    {completion_wait: {name: done}},
    {read: {name: pipe}},
  ]};
}

// Every page of a listing.
async function pagesOf(method, request) {
  const pages = [];
  do {
    pages.push(await method(
        {...request, page_token: pages.at(-1)?.next_page_token ?? ''}));
  } while (pages.at(-1).next_page_token !== '');
  return pages;
}

group('Objects', [], {
  async 'create of every kind'(t) {
    for (const [state, options, kind] of [
      ['wait_queue', {}, 'OBJECT_KIND_WAIT_QUEUE'],
      ['completion', {}, 'OBJECT_KIND_COMPLETION'],
      ['pipe', {capacity_bytes: 100}, 'OBJECT_KIND_PIPE']]) {
      const name = `${t.name}/${state}`;
      const request = {name, [state]: options};
      const first = await t.client.objects.Create(request);
      const again = await t.client.objects.Create(request);
      equal([first.created, again.created], [true, false]);
      const {object} = await t.client.objects.Stat({name});
      equal(object, again.object);
      equal([object.name, object.kind, object.created, object.state],
          [name, kind, true, state]);
    }
  },

  async 'another of the same name is another'(t) {
    const first = (await t.createPipe()).object.incarnation;
    await t.remove();
    assert(BigInt((await t.createPipe()).object.incarnation) > BigInt(first));
  },

  async 'stat of a pipe'(t) {
    await t.createPipe({capacity_bytes: 100, atomic_max_bytes: 10});
    await t.write('abcde');
    await t.read({max_bytes: 2});
    const reader = await t.reader({window_bytes: 1});
    await reader.read();
    const {pipe} = await t.stat();
    equal([pipe.capacity_bytes, pipe.atomic_max_bytes, pipe.unread_bytes,
      pipe.read_offset, pipe.write_offset, pipe.readers, pipe.writers],
    ['100', '10', '2', '3', '5', 1, 0]);
    reader.cancel();
  },

  async 'list in pages'(t) {
    const names = Array.from(
        {length: 25}, (_, i) => `${t.name}/${100 + i}`);
    for (const name of [...names].reverse()) await t.store(1, name);
    const pages = await pagesOf(
        t.client.objects.List, {prefix: `${t.name}/`, page_size: 10});
    equal(pages.flatMap((p) => p.objects.map((o) => o.name)), names);
    equal(pages.length, 3);
  },
});

// Of a word, a completion and a pipe.
group('AnyOf', [], {
  async 'each ends it'(t) {
    const [word, done, pipe] = anyNames(t);
    const chosen = async (wake, index, kind) => {
      const sleeper = t.client.objects.WaitAny(anyRequest(t));
      for (const name of anyNames(t)) await t.client.awaitSleepers(name, 1);
      await wake();
      const answer = await sleeper;
      equal([answer.outcome, answer.alternative, answer.response],
          ['OUTCOME_DONE', index, kind]);
      for (const name of anyNames(t)) await t.client.awaitSleepers(name, 0);
      return answer;
    };
    const {wait} = await chosen(
        () => t.wake({name: word, update: {add: 1}}), 0, 'wait');
    equal(wait.value_after, '0');
    await chosen(
        () => t.client.completions.Complete({name: done}), 1,
        'completion_wait');
    const {read} = await chosen(
        () => t.client.pipes.Write({name: pipe, data: Buffer.from('abc')}), 2,
        'read');
    equal(read.data.toString(), 'abc');
  },

  async 'without any'(t) {
    equal((await t.client.objects.WaitAny(
        {...anyRequest(t), nonblock: true})).outcome, 'OUTCOME_WOULD_BLOCK');
    equal((await t.client.objects.WaitAny(
        {...anyRequest(t), timeout: duration(1)})).outcome,
    'OUTCOME_TIMED_OUT');
  },

  async 'none and too many'(t) {
    for (const alternatives of
      [[], Array(65).fill(anyRequest(t).alternatives[0])]) {
      const {metadata} = await failure(
          t.client.objects.WaitAny({alternatives}),
          Code.INVALID_ARGUMENT, 'EINVAL');
      equal(metadata.limit, 'alternatives');
    }
  },
});

group('Tasks', [], {
  async 'a sleeper as ps shows it'(t) {
    await t.asleep(1, {condition: {equal: 1}, then: {set: 0},
      timeout: duration(1e5), caller: 'foreign', sleep: 'SLEEP_KILLABLE'});
    const [task] = await t.client.sleepers(t.name);
    assert(BigInt(task.id) > 0n);
    assert(task.peer.length > 0);
    equal([task.caller, task.state, task.object, task.kind, task.condition,
      task.place, task.exclusive],
    ['foreign', 'SLEEP_KILLABLE', t.name, 'OBJECT_KIND_WAIT_QUEUE',
      'value == 1', '0', true]);
    assert(toMs(task.age) >= 0 && toMs(task.remaining) <= 1e5);
  },

  async 'list in pages and by caller'(t) {
    for (let i = 0; i < 12; ++i) {
      await t.asleep(i + 1, {caller: `${t.name}/${i % 2}`});
    }
    const pages =
        await pagesOf(t.client.tasks.List, {name: t.name, page_size: 5});
    const ids = pages.flatMap((p) => p.tasks.map((task) => Number(task.id)));
    equal([ids.length, pages.length], [12, 3]);
    equal(ids, [...new Set(ids)].sort((a, b) => a - b));
    const odd = await t.client.tasks.List({caller: `${t.name}/1`});
    equal(odd.tasks.length, 6);
    await t.wake({all: true});
  },
});

// --- sessions ----------------------------------------------------------------

function failed({response, failure}, code, reason) {
  equal([response, Code[failure.code], failure.reason],
      ['failure', Code[code], reason]);
  assert(failure.message.length > 0);
}

async function awaitDetached(t, count, name = t.name) {
  await awaitThat(
      async () => (await t.client.sleepers(name))
          .filter((task) => task.detached).length === count,
      `${count} whose session has no stream`);
}

async function awaitHeld(t, bytes) {
  await awaitThat(async () => (await t.stat()).pipe.held_bytes === `${bytes}`,
      `${bytes} bytes held`);
}

group('Sessions', [], {
  async 'the first response names it'(t) {
    const {hello} = await t.session({grace: duration(5000)});
    equal([hello.token.length, hello.operations_received, toMs(hello.grace)],
        [16, '0', 5000]);
    for (const number of [hello.server_epoch, hello.operations_max,
      hello.message_bytes_max]) {
      assert(BigInt(number) > 0n);
    }
  },

  async 'without hello'(t) {
    const stream = t.client.sessions.Attach();
    stream.send({heartbeat: 1});
    await failure(stream.read(), Code.INVALID_ARGUMENT, 'EINVAL');
  },

  async 'wait and wake through it'(t) {
    const session = await t.session({caller: 'foreign'});
    const sleeper = session.start(
        {wait: {name: t.name, condition: {equal: 1}, then: {set: 0}}});
    await t.client.awaitSleepers(t.name, 1);
    equal((await t.client.sleepers(t.name))[0].caller, 'foreign');
    session.start({wake_up: {name: t.name, update: {set: 1}}});
    const results = [await session.result(), await session.result()];
    const [{wait}] = results.filter((r) => r.operation === sleeper);
    const [{wake_up}] = results.filter((r) => r.operation !== sleeper);
    equal([wake_up.woken, wait.outcome, wait.value_before, wait.slept],
        ['1', DONE, '1', true]);
  },

  async 'results come as operations end'(t) {
    const session = await t.session();
    session.say({first_operation: 1, operations: [1, 2, 3].map(
        (value) => ({wait: {name: t.name, condition: {equal: value}}}))});
    await t.client.awaitSleepers(t.name, 3);
    for (const [i, value] of [3, 1, 2].entries()) {
      await t.wake({update: {set: value}});
      const result = await session.result();
      equal([result.number, result.operation], [i + 1, value]);
    }
  },

  async 'what a read takes is held until it is taken'(t) {
    await t.write('abcdef');
    const session = await t.session();
    for (const piece of ['ab', 'cd', 'ef']) {
      const {read} = await session.ask({read: {name: t.name, max_bytes: 2}});
      equal(`${read.data}`, piece);
    }
    await awaitHeld(t, 6);
    session.say({returned: [2], taken: [3]});
    await awaitHeld(t, 2);
    session.say({taken_up_to: 1});
    await awaitHeld(t, 0);
    const again = await t.read();
    equal([`${again.data}`, again.redelivered], ['cd', true]);
    equal((await t.read({nonblock: true})).outcome, WOULD_BLOCK);
  },

  async 'it goes on after its stream was cancelled'(t) {
    await t.write('ab');
    const queue = `${t.name}/queue`;
    const session = await t.session();
    for (let i = 0; i < 2; ++i) {
      await session.ask({read: {name: t.name, max_bytes: 1}});
    }
    session.start({wait: {name: queue, exclusive: true}});
    await t.client.awaitSleepers(queue, 1);
    const [behind] = await t.asleep(2, {name: queue, exclusive: true});
    session.say({taken: [1]});
    await awaitHeld(t, 1);
    session.stream.cancel();
    await awaitDetached(t, 1, queue);
    t.client = t.newClient();
    const again = await t.session({}, session);
    equal([again.hello.operations_received, again.hello.token],
        ['3', session.hello.token]);
    // What was not taken comes again; who slept has kept its place.
    const {number, read} = await again.result();
    equal([number, `${read.data}`], [2, 'b']);
    equal((await t.wake({name: queue})).woken_exclusive, '1');
    const {operation, wait} = await again.result();
    equal([operation, wait.outcome], [3, DONE]);
    equal((await t.wake({name: queue})).woken_exclusive, '1');
    equal((await behind).outcome, DONE);
  },

  async 'nothing is handed to it without a stream'(t) {
    const session = await t.session();
    session.start({wait: {name: t.name, exclusive: true}});
    await t.client.awaitSleepers(t.name, 1);
    session.stream.halfClose();  // without `end`
    equal(await session.read(), undefined);
    equal((await session.stream.status).code, Code.OK);
    await awaitDetached(t, 1);
    equal((await t.wake()).woken, '0');
    const again = await t.session({}, session);
    await awaitDetached(t, 0);
    equal((await t.wake()).woken, '1');
    equal((await again.result()).wait.outcome, DONE);
  },

  async 'another stream takes it over'(t) {
    const first = await t.session();
    first.start({wait: {name: t.name}});
    await t.client.awaitSleepers(t.name, 1);
    t.client = t.newClient();
    const second = await t.session({}, first);
    await failure(first.read(), Code.CANCELLED, 'ECANCELED');
    await t.wake();
    equal((await second.result()).wait.outcome, DONE);
  },

  async 'end'(t) {
    const session = await t.session();
    session.start({wait: {name: t.name}});
    await t.client.awaitSleepers(t.name, 1);
    session.say({end: true});
    equal(await session.read(), undefined);
    equal((await session.stream.status).code, Code.OK);
    await t.client.awaitSleepers(t.name, 0);
    const {token, server_epoch} = session.hello;
    const attach = (hello) => {
      const stream = t.client.sessions.Attach();
      stream.send({hello});
      return stream.read();
    };
    await failure(attach({token, server_epoch}),
        Code.FAILED_PRECONDITION, 'ESTALE');
    await failure(attach({token, server_epoch: 1}), Code.ABORTED, 'EOWNERDEAD');
  },

  async 'heartbeats'(t) {
    const session = await t.session();
    const times = [];
    for (const heartbeat of ['1', '18446744073709551615', '5']) {
      session.say({heartbeat});
      const response = await session.read();
      equal(response.heartbeat, heartbeat);
      times.push(toMs(response.server_time));
    }
    equal(times, [...times].sort((a, b) => a - b));
  },

  async 'operations that fail fail alone'(t) {
    const session = await t.session();
    failed(await session.ask({get: {name: t.name}}), Code.NOT_FOUND, 'ENOENT');
    for (const operation of [
      {wait: {name: t.name, caller: 'me'}},
      {wait: {name: t.name, request_id: crypto.randomUUID()}},
      {wait: {name: 'a b'}}, {}]) {
      failed(await session.ask(operation), Code.INVALID_ARGUMENT, 'EINVAL');
    }
    const operation = session.start({wait: {name: t.name}});
    await t.client.awaitSleepers(t.name, 1);
    session.say({signals: [{operation, signal: 'SIGNAL_INT'}]});
    const result = await session.result();
    failed(result, Code.ABORTED, 'EINTR');
    equal(result.failure.metadata, {object: t.name, signal: '2'});
  },

  async 'a gap is its end'(t) {
    const session = await t.session();
    session.operations = 1;
    session.start({wait: {name: t.name}});
    await failure(session.read(), Code.INVALID_ARGUMENT, 'EINVAL');
  },

  async 'handles'(t) {
    const session = await t.session();
    const {operation: writer, open} =
        await session.ask({open: {name: t.name, write: true}});
    equal([open.offset, open.mode], ['0', 'PIPE_MODE_STREAM']);
    const {operation: reader} = await session.ask({open: {name: t.name}});
    const write = {data: Buffer.from('abc')};
    const written = await session.ask({handle: writer, write});
    equal(written.write.accepted_bytes, '3');
    const {read} = await session.ask({handle: reader, read: {}});
    equal(`${read.data}`, 'abc');
    session.say({taken_up_to: 4});
    equal((await session.ask({close: {handle: writer}})).response, 'close');
    const {read: end} = await session.ask({handle: reader, read: {}});
    equal([end.outcome, end.broken], [END_OF_FILE, false]);
    failed(await session.ask({handle: writer, write}),
        Code.FAILED_PRECONDITION, 'EBADF');
    // A second result of the open.
    await t.remove({force: true});
    const second = await session.result();
    equal(second.operation, reader);
    failed(second, Code.ABORTED, 'EIDRM');
  },
});

// --- the end of a server -----------------------------------------------------

async function draining(promise) {
  const {retryMs} = await failure(promise, Code.UNAVAILABLE, 'ESHUTDOWN');
  assert(retryMs > 0);
}

group('Drain', [], {
  async 'sleepers end and reads go on'(t, listen) {
    await t.ownServer(listen, ['--grace', '60s']);
    await t.write('what is there');
    const [sleeper] = await t.asleep(1, {name: 'q'});
    const waiting = t.client.completions.Wait({name: 'c'});
    await t.client.awaitSleepers('c', 1);
    const watch = t.client.health.Watch({});
    equal((await watch.read()).status, 'SERVING');
    t.server.drain();
    await draining(sleeper);
    await draining(waiting);
    equal((await watch.read()).status, 'NOT_SERVING');
    await draining(t.write('more'));
    await draining(t.wait({name: 'q'}));
    equal(`${(await t.read({max_bytes: 4})).data}`, 'what');
    equal(`${(await t.read()).data}`, ' is there');
    equal(await t.server.exitCode, 0);
  },

  async 'streams'(t, listen) {
    await t.ownServer(listen, ['--grace', '60s']);
    // What nobody reads yet keeps the server there.
    const rest = {name: `${t.name}/rest`};
    await t.write('x', rest);
    const reader = await t.reader();
    const writer = await t.writer();
    writer.send({data: Buffer.from('abc')});
    equal(`${(await reader.read()).data}`, 'abc');
    await t.client.awaitSleepers(t.name, 1);
    t.server.drain();
    await draining(reader.last());
    await draining(writer.last());
    equal(`${(await t.read(rest)).data}`, 'x');
    equal(await t.server.exitCode, 0);
  },
});

// --- all of it ---------------------------------------------------------------

function everyMethodHasBeenCalled() {
  for (const [service, methods] of support.SERVICES) {
    for (const method of Object.keys(methods)) {
      const name = `${service.split('.').at(-1)}/${method}`;
      assert(support.called.has(name), `${name} was never called`);
    }
  }
}

// The program that a case kills: writes half of something, and stays.
async function writeHalf(address, name) {
  const stream = new Client(address).pipes.WriteStream();
  stream.send({open: {name}});
  stream.send({data: Buffer.from('half')});
  await stream.last();
}

async function main() {
  let run = 0;
  let failed = 0;
  const runCase = async (title, body) => {
    ++run;
    let timer;
    const hangs = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('hangs')),
          support.BOUND_MS + 10_000);
    });
    try {
      await Promise.race([body(), hangs]);
      console.log(`${title} ... ok`);
    } catch (error) {
      ++failed;
      console.log(`${title} ... FAILED\n${error.stack}`);
    } finally {
      clearTimeout(timer);
    }
  };
  for (const listen of ['127.0.0.1:0', 'unix']) {
    for (const {name, flags, cases} of groups) {
      const server = await Server.start(listen, flags);
      for (const [title, body] of Object.entries(cases)) {
        const t = new Case(server);
        await runCase(`${name} (${listen}): ${title}`, () => body(t, listen));
        await t.cleanUp();
      }
      await server.close();
    }
  }
  await runCase('every method has been called', everyMethodHasBeenCalled);
  console.log(`${failed} failed`);
  console.log(`CASES ${run}`);
  process.exit(failed === 0 ? 0 : 1);
}

if (process.argv.length > 2) {
  writeHalf(...process.argv.slice(2));
} else {
  main();
}
