#include "server/rpc/session_messages.h"

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "server/engine/error.h"
#include "server/rpc/invocation.h"
#include "server/rpc/plain_pipes.h"
#include "server/rpc/services.h"
#include "server/rpc/status_map.h"
#include "transport/duration.h"

namespace waitq::rpc {
namespace {

using engine::MakeError;
using engine::Ref;
using engine::Session;
using google::protobuf::MessageLite;

constexpr absl::Duration kGraceDefault = absl::Seconds(30);
constexpr absl::Duration kGraceMin = absl::Milliseconds(100);
constexpr absl::Duration kGraceMax = absl::Hours(24);

// --- Methods -----------------------------------------------------------------

// What serves an operation, by the number of its field: the method that takes
// the same request.
class SessionMethods {
 public:
  static const SessionMethods& Get() {
    static const SessionMethods methods;
    return methods;
  }

  const Method& Of(uint8_t field) const { return methods_[field]; }

 private:
  SessionMethods() {
    std::vector<Method> all;
    for (const ServiceMethods& service :
         {WaitQueuesMethods(), CompletionsMethods(), PipesMethods(),
          ObjectsMethods(), SessionsMethods()}) {
      for (const UnaryMethod& unary : service.unary) {
        all.push_back(unary.method);
      }
      for (const Method& method : service.session_only) all.push_back(method);
    }
    const auto* const requests =
        v1::Operation::descriptor()->FindOneofByName("request");
    for (int i = 0; i < requests->field_count(); ++i) {
      const auto* const field = requests->field(i);
      Method& found = methods_[field->number()];
      for (const Method& method : all) {
        if (method.request->GetDescriptor() == field->message_type()) {
          found = method;
        }
      }
      WAITQ_CHECK(found.serve != nullptr, "each kind of operation is served");
    }
  }

  std::array<Method, 64> methods_;
};

// --- One operation -----------------------------------------------------------

class SessionInvocation final : public Invocation {
 public:
  SessionInvocation(engine::Engine* engine, Session* session, uint64_t number,
                    uint8_t field)
      : Invocation(engine, /*says_epoch=*/false),
        session_(*session),
        number_(number),
        field_(field) {}

  // Of this handle. False: there is none such, and it has failed.
  bool UseHandle(const SessionInput::Operation& operation) {
    handle_ = operation.handle;
    if (NamesPipe(operation)) {
      // A handle is one already.
    } else if (field_ == v1::Operation::kReadFieldNumber) {
      reader_ = session_.FindReader(handle_);
    } else if (field_ == v1::Operation::kWriteFieldNumber) {
      writer_ = session_.FindWriter(handle_);
    }
    if (reader_ != nullptr || writer_ != nullptr) return true;
    Fail(MakeError(
        EBADF, absl::StrCat("handle: ", handle_,
                            " is not open for this, or a pipe is named too")));
    return false;
  }

  engine::Home* home() override { return session_.home(); }
  engine::Caller* caller() override { return nullptr; }
  Session* session() override { return &session_; }
  uint64_t operation() const override { return number_; }
  engine::PipeReader* reader() override { return reader_; }
  engine::PipeWriter* writer() override { return writer_; }

  void Fail(const absl::Status& status) override {
    session_.Answer(number_, field_, {.status = status, .bytes = {}});
  }
  void Sleep(
      Ref<engine::Operation> op,
      absl::FunctionRef<absl::StatusOr<engine::Started>()> start) override {
    op->set_tag(Session::TagOf(number_, field_));
    const absl::StatusOr<engine::Started> started = start();
    if (!started.ok()) return Fail(started.status());
    if (*started == engine::Started::kEnded) {
      session_.Answer(number_, field_, engine::EndedOf(std::move(op)));
    } else {
      session_.Sleep(std::move(op), handle_);
    }
  }

 private:
  void ReplyWith(const MessageLite& response) override {
    session_.Answer(
        number_, field_,
        {.status = absl::OkStatus(), .bytes = response.SerializeAsString()});
  }
  MaySleepOn Permitted(MaySleepOn) const override { return MaySleepOn::kYes; }
  absl::Status GetCaller(const std::string& name, engine::SleepOptions&,
                         std::shared_ptr<engine::CallerInfo>& caller) override {
    if (!name.empty()) {
      return MakeError(EINVAL, "caller: the session has said it");
    }
    caller = session_.caller_info();
    return absl::OkStatus();
  }

  static bool NamesPipe(const SessionInput::Operation& operation) {
    if (operation.request == nullptr) return !operation.plain.name.empty();
    switch (operation.field) {
      case v1::Operation::kReadFieldNumber:
        return !static_cast<const v1::ReadRequest&>(*operation.request)
                    .name()
                    .empty();
      case v1::Operation::kWriteFieldNumber:
        return !static_cast<const v1::WriteRequest&>(*operation.request)
                    .name()
                    .empty();
      default:
        return false;
    }
  }

  Session& session_;
  const uint64_t number_;
  const uint8_t field_;
  uint64_t handle_ = 0;
  engine::PipeReader* reader_ = nullptr;
  engine::PipeWriter* writer_ = nullptr;
};

// An error is the end of the session.
absl::Status ServeOperation(engine::Engine& engine, Session& session,
                            uint64_t number,
                            const SessionInput::Operation& operation,
                            Ref<engine::PipeObject>& last) {
  const uint8_t field = operation.field;
  switch (session.Receive(number, field)) {
    case Session::Received::kNew:
      break;
    case Session::Received::kKnown:
    case Session::Received::kRefused:
      return absl::OkStatus();
    case Session::Received::kOverrun:
      return MakeError(
          ENOSPC,
          "operations-per-session: more were sent, by far; the session is over",
          {{"limit", "operations-per-session"}});
    case Session::Received::kGap:
      return MakeError(EINVAL, absl::StrCat("operation ", number,
                                            ": others before it never came"));
  }
  SessionInvocation invocation(&engine, &session, number, field);
  if (field == 0) {
    invocation.Fail(MakeError(EINVAL, "an operation that asks for nothing"));
  } else if (operation.too_long) {
    invocation.Fail(WaitAnyTooLongError());
  } else if (operation.handle != 0 && !invocation.UseHandle(operation)) {
    // It has failed.
  } else if (operation.request == nullptr) {
    ServePlain(invocation, field, operation.plain, last);
  } else {
    SessionMethods::Get().Of(field).serve(invocation, *operation.request);
  }
  return absl::OkStatus();
}

absl::Status ServeSignal(Session& session, const v1::OperationSignal& signal) {
  switch (signal.signal()) {
    case v1::SignalRequest::SIGNAL_INT:
    case v1::SignalRequest::SIGNAL_KILL:
    case v1::SignalRequest::SIGNAL_TERM:
      session.Signal(signal.operation(), signal.signal());
      return absl::OkStatus();
    default:
      return MakeError(EINVAL,
                       "signals: it is SIGNAL_INT, SIGNAL_KILL or SIGNAL_TERM");
  }
}

absl::Status Serve(engine::Engine& engine, Session& session,
                   const SessionInput& input) {
  const v1::SessionRequest& message = input.head();
  // First what makes room; and before all, what is returned: `taken_up_to` goes
  // over those numbers, too.
  for (const uint64_t number : message.returned()) {
    const absl::Status status = session.Returned(number);
    if (!status.ok()) return status;
  }
  if (message.taken_up_to() > 0) {
    const absl::Status status = session.TakenUpTo(message.taken_up_to());
    if (!status.ok()) return status;
  }
  for (const uint64_t number : message.taken()) {
    const absl::Status status = session.Taken(number);
    if (!status.ok()) return status;
  }
  uint64_t number = message.first_operation();
  Ref<engine::PipeObject> last;
  for (const SessionInput::Operation& operation : input.operations()) {
    const absl::Status status =
        ServeOperation(engine, session, number++, operation, last);
    if (!status.ok()) return status;
  }
  for (const uint64_t cancelled : message.cancels()) session.Cancel(cancelled);
  for (const v1::OperationSignal& signal : message.signals()) {
    const absl::Status status = ServeSignal(session, signal);
    if (!status.ok()) return status;
  }
  if (message.heartbeat() != 0) session.Heartbeat(message.heartbeat());
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseSessionMessage(absl::string_view bytes, bool first,
                                 SessionInput& input) {
  if (!input.Parse(bytes)) {
    if (input.has_too_many()) {
      return MakeError(
          EMSGSIZE,
          absl::StrCat("a message with more than ", SessionInput::kEntriesMax,
                       " operations or signals"),
          {{"limit", "operations-per-message"}});
    }
    return MakeError(
        EINVAL, absl::StrCat("not a ", v1::SessionRequest().GetTypeName()));
  }
  if (!first && input.head().has_hello()) {
    return MakeError(EINVAL, "hello: only in the first message");
  }
  return absl::OkStatus();
}

absl::StatusOr<Ref<Session>> FindSession(engine::Engine& engine,
                                         const v1::SessionRequest& first,
                                         const std::string& peer) {
  if (!first.has_hello()) {
    return MakeError(EINVAL, "the first message has a hello");
  }
  const v1::SessionRequest::Hello& hello = first.hello();
  if (!hello.token().empty()) {
    return engine.sessions().Find(hello.token(), hello.server_epoch());
  }
  if (hello.caller().size() > engine::kCallerBytesMax) {
    return MakeError(EINVAL,
                     absl::StrCat("a caller's name of ", hello.caller().size(),
                                  " bytes: the limit is ",
                                  engine::kCallerBytesMax, " bytes"),
                     {{"limit", "caller-bytes"}});
  }
  absl::Duration grace = kGraceDefault;
  if (hello.has_grace()) grace = FromWire(hello.grace());
  if (grace < kGraceMin || grace > kGraceMax) {
    return MakeError(EINVAL,
                     absl::StrCat("grace: ", absl::FormatDuration(grace),
                                  " is not in 100ms to 24h"));
  }
  return engine.sessions().Make(peer, hello.caller(), grace,
                                {.program = hello.program(),
                                 .attempt = hello.attempt(),
                                 .again = hello.again()});
}

uint64_t AttachSession(Session& session, const v1::SessionRequest& first,
                       Ref<engine::SessionTransport> transport,
                       const std::string& peer) {
  const v1::SessionRequest::Hello& hello = first.hello();
  return session.Attach(std::move(transport), peer,
                        {.results_received = hello.results_received(),
                         .program = hello.program(),
                         .attempt = hello.attempt()});
}

absl::Status ServeSessionMessage(engine::Engine& engine, Session& session,
                                 uint64_t stream, const SessionInput& message,
                                 bool& more) {
  more = session.Hear(stream);
  // Another stream has its place: what this one brings, that will bring again.
  if (!more) return absl::OkStatus();
  absl::Status status;
  session.Cork();
  {
    const engine::DeliveryBatch together;
    status = Serve(engine, session, message);
  }
  session.Uncork();
  if (!status.ok() || message.head().end()) {
    session.End(status);
    more = false;
  }
  return status;
}

// --- What goes back ----------------------------------------------------------

namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

size_t BytesField(int field, size_t size) {
  return CodedOutputStream::VarintSize32(WireFormatLite::MakeTag(
             field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED)) +
         CodedOutputStream::VarintSize64(size) + size;
}

// A v1::Result, but for its response's bytes, which are to follow.
void AppendResultHead(std::string& out, uint64_t operation, int field,
                      size_t response_bytes) {
  uint8_t head[64];  // three tags, a number and two sizes
  uint8_t* to = head;
  const auto tag = [&](int number, WireFormatLite::WireType type) {
    to = CodedOutputStream::WriteVarint32ToArray(
        WireFormatLite::MakeTag(number, type), to);
  };
  const auto varint = [&](uint64_t value) {
    to = CodedOutputStream::WriteVarint64ToArray(value, to);
  };
  tag(v1::SessionResponse::kResultsFieldNumber,
      WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  varint(1 + CodedOutputStream::VarintSize64(operation) +
         BytesField(field, response_bytes));
  tag(v1::Result::kOperationFieldNumber, WireFormatLite::WIRETYPE_VARINT);
  varint(operation);
  tag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  varint(response_bytes);
  out.append(reinterpret_cast<const char*>(head), to - head);
}

void AppendResult(std::string& out, uint64_t operation, int field,
                  const MessageLite& response) {
  const size_t size = response.ByteSizeLong();
  AppendResultHead(out, operation, field, size);
  const size_t begin = out.size();
  out.resize(begin + size);
  response.SerializeWithCachedSizesToArray(
      reinterpret_cast<uint8_t*>(out.data() + begin));
}

v1::Failure ToFailure(const absl::Status& status) {
  v1::Failure failure;
  const engine::ErrorDetails details = engine::DetailsOf(status);
  failure.set_code(static_cast<int>(status.code()));
  failure.set_message(std::string(status.message()));
  failure.set_reason(details.reason);
  for (const auto& [key, value] : details.metadata) {
    (*failure.mutable_metadata())[key] = value;
  }
  if (const auto after = RetryAfter(status)) {
    *failure.mutable_retry_after() = ToWire(*after);
  }
  return failure;
}

void AppendEnded(std::string& out, engine::Engine& engine,
                 const engine::SessionResult& result) {
  engine::Operation& op = *result.ended;
  if (AppendPlainResult(out, result.operation, result.method, op)) return;
  const absl::Status failure = FailureOf(op);
  const Answer answer = SessionMethods::Get().Of(result.method).answer;
  // Progress counts: what has moved bytes ends OK, and says what ended it. (A
  // watch has no answer, and has failed.)
  if ((!failure.ok() && !op.moved_bytes()) || answer == nullptr) {
    return AppendResult(out, result.operation, v1::Result::kFailureFieldNumber,
                        ToFailure(failure));
  }
  answer(engine, op, /*says_epoch=*/false, [&](MessageLite& response) {
    AppendResult(out, result.operation, result.method, response);
  });
}

}  // namespace

std::string EncodeSessionMessage(engine::Engine& engine, const Session& session,
                                 const engine::SessionMessage& message) {
  v1::SessionResponse head;
  if (message.operations_received.has_value()) {
    v1::SessionResponse::Hello& hello = *head.mutable_hello();
    const engine::Limits& limits = engine.limits();
    hello.set_token(session.token());
    hello.set_server_epoch(engine.epoch());
    hello.set_operations_received(*message.operations_received);
    *hello.mutable_grace() = ToWire(session.grace());
    hello.set_operations_max(limits.operations_per_session);
    hello.set_results_max(limits.results_per_session);
    hello.set_result_bytes_max(limits.result_bytes_per_session);
    hello.set_message_bytes_max(limits.message_bytes);
  }
  if (!message.results.empty()) head.set_first_result(message.first_result);
  if (message.heartbeat != 0) {
    head.set_heartbeat(message.heartbeat);
    *head.mutable_server_time() = ToWire(engine.Now() - absl::UnixEpoch());
  }
  std::string out = head.SerializeAsString();
  out.reserve(out.size() + message.bytes);
  for (const engine::SessionResult& result : message.results) {
    if (result.ended) {
      AppendEnded(out, engine, result);
    } else if (!result.answer->status.ok()) {
      AppendResult(out, result.operation, v1::Result::kFailureFieldNumber,
                   ToFailure(result.answer->status));
    } else {
      AppendResultHead(out, result.operation, result.method,
                       result.answer->bytes.size());
      out += result.answer->bytes;
    }
  }
  return out;
}

}  // namespace waitq::rpc
