// A named pipe of a server, and clients of it: handles are streams, one message
// of a WriteStream is one write; what is read and written without a handle is a
// unary call.

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <list>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/core/fifo_script.h"
#include "tests/server/byte_stream.h"
#include "tests/server/client.h"
#include "tests/server/pipe_script.h"

namespace waitq::test {
namespace {

class GrpcPipeWorld final : public PipeWorld {
 public:
  GrpcPipeWorld(rpc::Server* server,
                const std::shared_ptr<grpc::Channel>& channel)
      : server_(*server), client_(channel), stub_(channel) {}
  ~GrpcPipeWorld() override {
    for (Process& process : processes_) Drop(process);
    while (!gone_.empty()) HandleOne();
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  void Begin(const PipeScript& script) override {
    for (Process& process : processes_) Drop(process);
    if (!name_.empty()) {
      v1::RemoveRequest remove;
      remove.set_name(name_);
      remove.set_force(true);
      EXPECT_THAT(Call(client_, remove).status, IsOk());
    }
    name_ = absl::StrCat("pipe", ++pipes_);
    unit_bytes_ = script.unit_bytes;
    v1::CreateRequest create;
    create.set_name(name_);
    create.mutable_pipe()->set_capacity_bytes(script.capacity_units *
                                              unit_bytes_);
    create.mutable_pipe()->set_atomic_max_bytes(unit_bytes_);
    EXPECT_THAT(Call(client_, create).status, IsOk());
    read_bytes_ = 0;
  }

  PipeReport Do(const PipeStep& step, size_t index) override {
    for (Process& process : processes_) process.happened.clear();
    Start(step, index);
    // Not Await(), which naps: there are many steps.
    std::string objection = Unrest();
    const absl::Time give_up = absl::Now() + absl::Seconds(5);
    while (!objection.empty() && absl::Now() < give_up) {
      HandleOne();
      objection = Unrest();
    }
    PipeReport report;
    for (size_t k = 0; k < processes_.size(); ++k) {
      Process& process = processes_[k];
      FlushRead(process);
      if (!objection.empty()) AppendTo(process.happened, objection);
      report[k] = {process.happened, process.doing};
    }
    return report;
  }

 private:
  struct Process {
    std::string happened;
    Doing doing = Doing::kNothing;
    std::unique_ptr<ByteStream> call;
    bool polls = false;
    bool closes = false;
    bool opening = false;  // a handle that is not open yet
    std::string read;      // and not told yet
    uint64_t wanted_bytes = 0;
    uint64_t taken_bytes = 0;  // by this handle, to now
    uint64_t next_offset = 0;  // where this reader stands
    uint64_t sent_bytes = 0;   // of this handle, or call
    uint64_t accepted_bytes = 0;
    uint64_t write_bytes = 0;  // of the last write
  };
  Process& Of(const PipeStep& step) {
    return processes_[static_cast<size_t>(step.process)];
  }
  static std::string CallerOf(int process) {
    return absl::StrCat("process ", process);
  }

  // --- Steps -----------------------------------------------------------------

  void Start(const PipeStep& step, size_t index) {
    Process& process = Of(step);
    const uint64_t bytes = step.units * unit_bytes_;
    switch (step.kind) {
      case PipeStep::Kind::kOpenReader: {
        v1::ReadStreamRequest request;
        request.mutable_open()->set_name(name_);
        request.mutable_open()->set_caller(CallerOf(step.process));
        request.mutable_open()->set_window_bytes(bytes);
        Open(process, "ReadStream", request, Doing::kReads);
        process.wanted_bytes = bytes;
        return;
      }
      case PipeStep::Kind::kReadOn: {
        v1::ReadStreamRequest request;
        request.set_read_up_to(process.next_offset);
        process.wanted_bytes += bytes;
        process.doing = Doing::kReads;
        return process.call->Send(request.SerializeAsString());
      }
      case PipeStep::Kind::kOpenWriter: {
        v1::WriteStreamRequest request;
        request.mutable_open()->set_name(name_);
        request.mutable_open()->set_caller(CallerOf(step.process));
        return Open(process, "WriteStream", request, Doing::kHoldsWriter);
      }
      case PipeStep::Kind::kWriteOn: {
        v1::WriteStreamRequest request;
        request.set_data(std::string(BytesOf(index, bytes)));
        process.sent_bytes += bytes;
        process.write_bytes = bytes;
        process.doing = Doing::kWrites;
        return process.call->Send(request.SerializeAsString());
      }
      case PipeStep::Kind::kRead: {
        v1::ReadRequest request;
        request.set_name(name_);
        request.set_caller(CallerOf(step.process));
        request.set_max_bytes(bytes);
        request.set_nonblock(step.nonblock);
        return Ask(process, "Read", request, Doing::kReadCall);
      }
      case PipeStep::Kind::kWrite: {
        v1::WriteRequest request;
        request.set_name(name_);
        request.set_caller(CallerOf(step.process));
        request.set_data(std::string(BytesOf(index, bytes)));
        request.set_nonblock(step.nonblock);
        process.write_bytes = bytes;
        return Ask(process, "Write", request, Doing::kWriteCall);
      }
      case PipeStep::Kind::kPoll: {
        v1::PollRequest request;
        request.set_name(name_);
        request.set_in(true);
        request.set_out(true);
        request.set_nonblock(true);
        Ask(process, "Poll", request, Doing::kReadCall);
        process.polls = true;
        return;
      }
      case PipeStep::Kind::kClose:
        if (process.doing == Doing::kHoldsReader) {
          Drop(process);
          process.happened = "closed";
          return;
        }
        process.closes = true;
        if (index % 2 == 0) {
          v1::WriteStreamRequest request;
          request.mutable_end();
          process.call->Send(request.SerializeAsString());
        }
        return process.call->Close();
      case PipeStep::Kind::kGoAway:
        Drop(process);
        process.happened = "gone";
        return;
      case PipeStep::Kind::kSignal:
        return Signal(step.process);
    }
  }

  void Open(Process& process, const std::string& method,
            const google::protobuf::Message& request, Doing doing) {
    process = Process();
    process.call = std::make_unique<ByteStream>(
        stub_, "/waitq.v1.Pipes/" + method, &queue_);
    process.call->Send(request.SerializeAsString());
    process.opening = true;
    process.doing = doing;
  }
  void Ask(Process& process, const std::string& method,
           const google::protobuf::Message& request, Doing doing) {
    const uint64_t write_bytes = process.write_bytes;
    process = Process();
    process.write_bytes = write_bytes;
    process.call = std::make_unique<ByteStream>(
        stub_, "/waitq.v1.Pipes/" + method, &queue_);
    process.call->Send(request.SerializeAsString());
    process.call->Close();
    process.doing = doing;
  }
  // It goes, and hears nothing more.
  void Drop(Process& process) {
    if (process.call != nullptr) {
      process.call->Cancel();
      gone_.push_back(std::move(process.call));
    }
    process = Process();
  }
  void Signal(int process) {
    v1::ListTasksRequest list;
    list.set_caller(CallerOf(process));
    const auto tasks = Call(client_, list);
    ASSERT_EQ(tasks.response.tasks_size(), 1) << tasks.response.DebugString();
    v1::SignalRequest signal;
    signal.set_id(tasks.response.tasks(0).id());
    signal.set_signal(v1::SignalRequest::SIGNAL_TERM);
    EXPECT_TRUE(Call(client_, signal).response.ended());
  }

  // --- What comes ------------------------------------------------------------

  void HandleOne() {
    void* tag;
    bool ok;
    const auto bound =
        std::chrono::system_clock::now() + std::chrono::milliseconds(1);
    if (queue_.AsyncNext(&tag, &ok, bound) !=
        grpc::CompletionQueue::GOT_EVENT) {
      return;
    }
    ByteStream::Proceed(tag, ok);
    for (Process& process : processes_) Take(process);
    std::erase_if(gone_, [](const auto& call) { return call->over(); });
  }

  void Take(Process& process) {
    if (process.call == nullptr) return;
    std::deque<std::string>& received = process.call->received();
    for (; !received.empty(); received.pop_front()) {
      TakeOne(process, received.front());
    }
    if (!process.call->over()) return;
    const grpc::Status status = process.call->status();
    process.call = nullptr;
    if (!status.ok()) {
      FlushRead(process);
      const std::string reason =
          absl::StrCat(ReasonOf(status),
                       ReasonOf(status).empty() ? status.error_message() : "");
      const bool writes =
          process.doing == Doing::kWrites || process.doing == Doing::kWriteCall;
      AppendTo(process.happened, writes ? WroteText(LastWritten(process),
                                                    LastWrite(process), reason)
                                        : reason);
    }
    process.doing = Doing::kNothing;
  }

  void TakeOne(Process& process, const std::string& bytes) {
    switch (process.doing) {
      case Doing::kReadCall:
        return process.polls ? TakePolled(process, bytes)
                             : TakeRead(process, bytes);
      case Doing::kWriteCall:
        return TakeWritten(process, bytes);
      case Doing::kReads:
      case Doing::kHoldsReader:
        return TakeReadStream(process, bytes);
      case Doing::kWrites:
      case Doing::kHoldsWriter:
        return TakeWriteStream(process, bytes);
      case Doing::kNothing:
        AppendTo(process.happened, "an answer to nothing");
    }
  }

  void TakePolled(Process& process, const std::string& bytes) {
    v1::PollResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    process.happened =
        PollText(response.in(), response.out(), response.hup(), response.err());
  }
  void TakeRead(Process& process, const std::string& bytes) {
    v1::ReadResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    read_bytes_ += response.data().size();
    process.happened = response.outcome() == v1::OUTCOME_END_OF_FILE
                           ? EndOfFileText(response.broken())
                       : response.outcome() == v1::OUTCOME_WOULD_BLOCK
                           ? "would block"
                           : UnitNames(unit_bytes_).ToString(response.data());
  }
  void TakeWritten(Process& process, const std::string& bytes) {
    v1::WriteResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    const bool would_block = response.outcome() == v1::OUTCOME_WOULD_BLOCK ||
                             response.ended_by() == v1::OUTCOME_WOULD_BLOCK;
    process.happened =
        WroteText(response.accepted_bytes() / unit_bytes_, LastWrite(process),
                  would_block ? "would block" : response.ended_by_error());
  }
  void TakeReadStream(Process& process, const std::string& bytes) {
    v1::ReadStreamResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    if (std::exchange(process.opening, false)) process.happened = "opened";
    process.next_offset = response.offset() + response.data().size();
    process.read += response.data();
    process.taken_bytes += response.data().size();
    read_bytes_ += response.data().size();
    if (process.taken_bytes == process.wanted_bytes) {
      process.doing = Doing::kHoldsReader;
    }
    if (response.outcome() == v1::OUTCOME_UNSPECIFIED) return;
    FlushRead(process);
    AppendTo(process.happened, response.outcome() == v1::OUTCOME_END_OF_FILE
                                   ? EndOfFileText(response.broken())
                                   : v1::Outcome_Name(response.outcome()));
  }
  void TakeWriteStream(Process& process, const std::string& bytes) {
    v1::WriteStreamResponse response;
    EXPECT_TRUE(response.ParseFromString(bytes));
    if (std::exchange(process.opening, false)) process.happened = "opened";
    process.accepted_bytes = response.accepted_bytes();
    if (process.doing == Doing::kWrites &&
        process.accepted_bytes == process.sent_bytes) {
      AppendTo(process.happened,
               WroteText(LastWrite(process), LastWrite(process), ""));
      process.doing = Doing::kHoldsWriter;
    }
    if (response.outcome() == v1::OUTCOME_UNSPECIFIED) return;
    AppendTo(process.happened,
             response.outcome() == v1::OUTCOME_DONE && process.closes
                 ? "closed"
                 : v1::Outcome_Name(response.outcome()));
  }

  void FlushRead(Process& process) {
    if (process.read.empty()) return;
    AppendTo(process.happened,
             UnitNames(unit_bytes_).ToString(std::exchange(process.read, "")));
  }
  size_t LastWrite(const Process& process) const {
    return process.write_bytes / unit_bytes_;
  }
  size_t LastWritten(const Process& process) const {
    if (process.doing == Doing::kWriteCall) return 0;
    return (process.accepted_bytes + process.write_bytes - process.sent_bytes) /
           unit_bytes_;
  }
  static void AppendTo(std::string& text, const std::string& more) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", more);
  }

  // --- Knowing that nothing goes on ------------------------------------------

  // What the server has still to do, or to say: "" if nothing. Whatever of the
  // processes is not asleep there is on its way.
  std::string Unrest() {
    uint64_t asleep = 0;
    uint32_t readers = 0;
    uint32_t writers = 0;
    for (const Process& process : processes_) {
      if (process.opening) return "it is not opened";
      if (process.closes && process.call != nullptr) return "it is not closed";
      if (process.doing == Doing::kReads || process.doing == Doing::kWrites ||
          process.doing == Doing::kReadCall ||
          process.doing == Doing::kWriteCall) {
        ++asleep;
      }
      if (process.doing == Doing::kReads ||
          process.doing == Doing::kHoldsReader) {
        ++readers;
      }
      if (process.doing == Doing::kWrites ||
          process.doing == Doing::kHoldsWriter) {
        ++writers;
      }
      if (process.polls && process.call != nullptr) return "no poll's answer";
    }
    const auto stat = server_.engine().Stat(name_);
    if (!stat.ok()) return "it is not there";
    const auto& pipe = std::get<engine::PipeStat>(stat->state);
    if (pipe.readers != readers || pipe.writers != writers) {
      return absl::StrCat(pipe.readers, " readers and ", pipe.writers,
                          " writers, not ", readers, " and ", writers);
    }
    if (pipe.read_offset != read_bytes_) {
      return absl::StrCat(pipe.read_offset, " bytes were taken, and ",
                          read_bytes_, " have come");
    }
    // After what it was ended by, with which it goes in one step.
    if (server_.engine().asleep() != asleep) {
      return absl::StrCat(server_.engine().asleep(), " are asleep, not ",
                          asleep);
    }
    return "";
  }

  rpc::Server& server_;
  Client client_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  int pipes_ = 0;
  std::string name_;
  uint64_t unit_bytes_ = 0;
  std::array<Process, kProcesses> processes_;
  std::list<std::unique_ptr<ByteStream>> gone_;
  uint64_t read_bytes_ = 0;  // that have come, of all that were taken
};

}  // namespace

std::unique_ptr<PipeWorld> MakeGrpcPipeWorld(
    rpc::Server* server, const std::shared_ptr<grpc::Channel>& channel) {
  return std::make_unique<GrpcPipeWorld>(server, channel);
}

}  // namespace waitq::test
