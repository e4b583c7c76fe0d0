"""Pipes, by name and by handles, from end to end: the scenarios of the C++
client (tests/client/pipe_scenarios.cc), by the same names."""

from concurrent.futures import ThreadPoolExecutor

import waitq
from support import (
    await_that, eq, error_of, false, file_bytes, ne, read_file, reason_of, true)
from waitq import Outcome, PipeMode, PipeOptions, PipeProfile, Sleep

PACKETS = PipeOptions(mode=PipeMode.PACKET)


# --- By name ------------------------------------------------------------------


def bytes_arrive_in_their_order(scene):
    pipe = scene.name("pipe")
    call = scene.a.start.read(pipe, 3)
    scene.await_asleep(pipe, 1)
    written = scene.b.write(pipe, b"abcdef")
    eq((written.outcome, written.accepted_bytes, written.offset),
       (Outcome.DONE, 6, 6))
    first = call.result()
    eq((first.data, first.offset, first.slept), (b"abc", 0, True))
    rest = scene.a.read(pipe)
    eq((rest.data, rest.offset, rest.incarnation, rest.redelivered),
       (b"def", 3, written.incarnation, False))
    eq(scene.b.read(pipe, nonblock=True).outcome, Outcome.WOULD_BLOCK)


def min_bytes_are_waited_for(scene):
    pipe = scene.name("pipe")
    call = scene.a.start.read(pipe, min_bytes=5)
    scene.await_asleep(pipe, 1)
    scene.b.write(pipe, b"abc")
    eq(scene.world.asleep(pipe), 1)
    scene.b.write(pipe, b"def")
    eq(call.result().data, b"abcdef")
    # Unmet at the timeout they are not taken.
    scene.b.write(pipe, b"x")
    eq(scene.a.read(pipe, min_bytes=2, timeout=0.010).outcome,
       Outcome.TIMED_OUT)
    eq(scene.a.read(pipe).data, b"x")


def packets_are_never_cut(scene):
    pipe = scene.name("pipe")
    scene.b.write(pipe, b"one", pipe=PACKETS)
    scene.b.write(pipe, b"the second")
    eq(scene.a.read(pipe, 5).data, b"one")
    error = error_of(scene.a.read, pipe, 5)
    eq((type(error), error.reason), (waitq.InvalidArgument, "EMSGSIZE"))
    eq(scene.a.read(pipe).data, b"the second")
    # A stream of them, too.
    with scene.b.open_writer(pipe) as writer, \
            scene.a.open_reader(pipe) as reader:
        for packet in (b"x", b"yy", b"zzz"):
            writer.write(packet)
            eq(reader.read_chunk().data, packet)


def poll_sees_what_can_be_done(scene):
    pipe = scene.name("pipe")
    call = scene.a.start.poll(pipe, readable=True)
    scene.await_asleep(pipe, 1)
    small = PipeOptions(capacity_bytes=4, atomic_max_bytes=2)
    scene.b.write(pipe, b"x", pipe=small)
    seen = call.result()
    true(seen.readable and seen.slept)
    false(seen.writable or seen.hup or seen.err)
    eq(scene.a.read(pipe).data, b"x", "a poll takes nothing")
    # The pipe was made by the poll.
    full = scene.name("full")
    scene.a.create_pipe(full, small)
    true(scene.a.poll(full, writable=True).writable)
    scene.b.write(full, b"abc")
    eq(scene.a.poll(full, writable=True, nonblock=True).outcome,
       Outcome.WOULD_BLOCK)
    scene.b.read(full)
    true(scene.a.poll(full, writable=True).writable)


def a_full_pipe_stops_its_writer(scene):
    pipe = scene.name("pipe")
    scene.b.create_pipe(pipe, PipeOptions(capacity_bytes=8, atomic_max_bytes=4))
    # Cut short where it was to be whole at last; where it is atomic, not begun.
    partial = scene.b.write(pipe, b"0123456789", timeout=0.010)
    eq((partial.outcome, partial.accepted_bytes, partial.ended_by),
       (Outcome.DONE, 8, Outcome.TIMED_OUT))
    atomic = scene.b.write(pipe, b"x", nonblock=True)
    eq((atomic.outcome, atomic.accepted_bytes), (Outcome.WOULD_BLOCK, 0))
    call = scene.b.start.write(pipe, b"abc")
    scene.await_asleep(pipe, 1)
    eq(scene.a.read(pipe, 8).data, b"01234567")
    true(call.result().slept)
    eq(scene.a.read(pipe).data, b"abc")


def a_hold_is_accepted_or_released(scene):
    pipe = scene.name("pipe")
    scene.b.write(pipe, b"abcdef")
    held = scene.a.read(pipe, hold=30)
    eq(held.data, b"abcdef")
    ne(held.hold_id, 0)
    scene.a.accept(pipe, held.hold_id, 2)
    scene.a.release(pipe, held.hold_id)
    again = scene.b.read(pipe, hold=30)
    eq((again.data, again.offset, again.redelivered), (b"cdef", 2, True))
    for late in (scene.a.accept, scene.a.release):
        error = error_of(late, pipe, held.hold_id)
        eq((type(error), error.code.name, error.reason),
           (waitq.Stale, "FAILED_PRECONDITION", "ESTALE"))
    scene.b.accept(pipe, again.hold_id)
    eq(scene.a.read(pipe, nonblock=True).outcome, Outcome.WOULD_BLOCK)


def what_a_dead_client_did_not_take_is_given_to_another(scene):
    pipe, job = scene.name("pipe"), scene.name("job")
    scene.b.write(pipe, b"abc")
    scene.b.complete(job)
    victim = scene.world.new_client(caller="victim", grace=0.5)
    # It has the bytes, and dies before it says so.
    result = victim.await_done(job)
    if scene.world.is_calm:  # or its first session was lost on its way
        false(result.redelivered)
    call = victim.start.read(pipe)
    true(call.wait())
    eq(call._value().data, b"abc")  # seen by the test, and not taken
    victim._core.kill()
    read = scene.a.read(pipe)
    eq((read.data, read.offset, read.redelivered), (b"abc", 0, True))


# --- By handle ----------------------------------------------------------------


def a_file_that_is_closed_is_whole(scene):
    pipe = scene.name("pipe")
    writer = scene.b.open_writer(pipe)
    reader = scene.a.open_reader(pipe)
    writer.write(b"abc")
    writer.write(b"def")
    writer.close()
    eq((writer.accepted_bytes, writer.offset), (6, 6))
    data, end = read_file(reader)
    eq(data, b"abcdef")
    eq((end.end, end.broken, end.offset, end.incarnation),
       (Outcome.END_OF_FILE, False, 6, writer.incarnation))


def a_file_written_before_its_reader_comes_is_read(scene):
    pipe = scene.name("pipe")
    for data in (b"abc", b""):
        with scene.b.open_writer(pipe) as writer:
            writer.write(data)
        with scene.a.open_reader(pipe) as reader:
            got, end = read_file(reader)
        eq((got, end.end, end.broken), (data, Outcome.END_OF_FILE, False))


def a_file_without_a_close_is_broken(scene):
    pipe = scene.name("pipe")
    writer = scene.b.open_writer(pipe)
    reader = scene.a.open_reader(pipe)
    writer.write(b"abc")
    eq(reader.read_chunk().data, b"abc")
    del writer
    end = reader.read_chunk()
    eq((end.end, end.broken), (Outcome.END_OF_FILE, True))
    eq(error_of(reader.read).outcome, Outcome.END_OF_FILE)


def an_uninterruptible_writer_that_is_given_up_ends_the_file(scene):
    pipe = scene.name("pipe")
    small = PipeOptions(capacity_bytes=4, atomic_max_bytes=4)
    writer = scene.b.open_writer(pipe, pipe=small, sleep=Sleep.UNINTERRUPTIBLE)
    writer.write(b"full")
    writer.write(b"more")
    scene.await_asleep(pipe, 1)
    del writer
    reader = scene.a.open_reader(pipe)
    data, end = read_file(reader)
    eq((data, end.end, end.broken), (b"fullmore", Outcome.END_OF_FILE, True))


def without_readers_a_write_is_refused(scene):
    pipe = scene.name("pipe")
    writer = scene.b.open_writer(pipe)
    reader = scene.a.open_reader(pipe)
    writer.write(b"abc")
    eq(reader.read_chunk().data, b"abc")
    reader.close()
    # Its close is on its way.
    errors = []

    def is_refused():
        try:
            writer.write(b"x")
        except waitq.BrokenPipe as error:
            errors.append(error)
        return errors

    await_that(is_refused)
    eq((errors[0].code.name, errors[0].reason),
       ("FAILED_PRECONDITION", "EPIPE"))
    eq(reason_of(writer.close), "EPIPE")
    eq(reason_of(scene.b.write, pipe, b"x"), "EPIPE")
    true(scene.b.poll(pipe).err)


def several_megabytes_arrive_as_they_were(scene):
    pipe, data = scene.name("pipe"), file_bytes((3 << 20) + 12345)
    writer = scene.b.open_writer(pipe, pipe=PipeOptions(capacity_bytes=300_000))
    reader = scene.a.open_reader(pipe)

    def produce():
        writer.write(data)
        writer.close()
        eq(writer.accepted_bytes, len(data))

    with ThreadPoolExecutor() as pool:
        producer = pool.submit(produce)
        got, end = read_file(reader)
        producer.result()
    eq((end.end, end.broken), (Outcome.END_OF_FILE, False))
    true(got == data, f"{len(got)} bytes")


several_megabytes_arrive_as_they_were.is_long = True


def one_write_of_megabytes_is_one_write(scene):
    pipe, data = scene.name("pipe"), file_bytes(2 << 20)
    written = scene.b.write(pipe, data,
                            pipe=PipeOptions(capacity_bytes=4 << 20))
    eq(written.accepted_bytes, len(data))
    true(scene.a.read(pipe, 4 << 20).data == data)


one_write_of_megabytes_is_one_write.is_long = True


def a_ring_takes_and_gives_in_pieces(scene):
    pipe, data = scene.name("pipe"), file_bytes(60)
    ring = PipeOptions(capacity_bytes=16, profile=PipeProfile.SCULL)
    writer = scene.b.open_writer(pipe, pipe=ring)
    reader = scene.a.open_reader(pipe, max_bytes=len(data))

    def produce():
        writer.write(data)
        writer.close()
        eq(writer.accepted_bytes, len(data))

    with ThreadPoolExecutor() as pool:
        producer = pool.submit(produce)
        got, end = read_file(reader)
        producer.result()
    eq((got, end.end), (data, Outcome.DONE))


def a_reader_gives_back_what_it_read_ahead(scene):
    pipe = scene.name("pipe")
    reader = scene.a.open_reader(pipe)
    scene.b.write(pipe, b"first")
    eq(reader.read_chunk().data, b"first")
    scene.b.write(pipe, b"second")
    reader.close()
    read = scene.b.read(pipe)
    eq((read.data, read.offset), (b"second", 5))


def a_window_bounds_what_is_on_its_way(scene):
    pipe = scene.name("pipe")
    scene.b.write(pipe, b"abcdefgh")
    with scene.a.open_reader(pipe, window_bytes=3) as reader:
        eq(reader.read_chunk().data, b"abc")
        eq(reader.read_chunk().data, b"def")
    eq(scene.b.read(pipe).data, b"gh")


def a_reader_ends_as_its_options_say(scene):
    pipe = scene.name("pipe")
    scene.b.write(pipe, b"abcdef")
    with scene.a.open_reader(pipe, max_bytes=2) as reader:
        data, end = read_file(reader)
        eq((data, end.end), (b"ab", Outcome.DONE))
    with scene.a.open_reader(pipe, nonblock=True) as reader:
        data, end = read_file(reader)
        eq((data, end.end), (b"cdef", Outcome.WOULD_BLOCK))
        eq(error_of(reader.read).outcome, Outcome.WOULD_BLOCK)
    with scene.a.open_reader(pipe, timeout=0.010) as reader:
        eq(reader.read_chunk().end, Outcome.TIMED_OUT)


def a_writer_that_times_out_says_how_far_it_came(scene):
    pipe = scene.name("pipe")
    writer = scene.b.open_writer(pipe, pipe=PipeOptions(capacity_bytes=4),
                                 timeout=0.010)
    eq(writer.write(b"abcdef"), 6, "on its way")
    eq(error_of(writer.close).outcome, Outcome.TIMED_OUT)
    eq(writer.accepted_bytes, 4)
    with scene.a.open_reader(pipe) as reader:
        data, end = read_file(reader)
    eq((data, end.broken), (b"abcd", True))


def a_mailbox_outlives_its_readers_and_writers(scene):
    pipe = scene.name("pipe")
    scene.a.open_reader(
        pipe, pipe=PipeOptions(profile=PipeProfile.QUEUE)).close()
    with scene.b.open_writer(pipe) as writer:
        writer.write(b"abc")
    eq(scene.a.read(pipe).data, b"abc")
    eq(scene.a.read(pipe, nonblock=True).outcome, Outcome.WOULD_BLOCK)


SCENARIOS = [
    bytes_arrive_in_their_order,
    min_bytes_are_waited_for,
    packets_are_never_cut,
    poll_sees_what_can_be_done,
    a_full_pipe_stops_its_writer,
    a_hold_is_accepted_or_released,
    what_a_dead_client_did_not_take_is_given_to_another,
    a_file_that_is_closed_is_whole,
    a_file_written_before_its_reader_comes_is_read,
    a_file_without_a_close_is_broken,
    an_uninterruptible_writer_that_is_given_up_ends_the_file,
    without_readers_a_write_is_refused,
    several_megabytes_arrive_as_they_were,
    one_write_of_megabytes_is_one_write,
    a_ring_takes_and_gives_in_pieces,
    a_reader_gives_back_what_it_read_ahead,
    a_window_bounds_what_is_on_its_way,
    a_reader_ends_as_its_options_say,
    a_writer_that_times_out_says_how_far_it_came,
    a_mailbox_outlives_its_readers_and_writers,
]
