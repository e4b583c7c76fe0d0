#include "server/rpc/plain_pipes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/cord.h"
#include "server/rpc/decode.h"
#include "server/rpc/status_map.h"
#include "transport/field_buffer.h"
#include "transport/wire_reader.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {
namespace {

using engine::Ref;

constexpr uint8_t kRead = v1::Operation::kReadFieldNumber;
constexpr uint8_t kWrite = v1::Operation::kWriteFieldNumber;

// --- In ----------------------------------------------------------------------

// What is not ASCII may not be UTF-8, which a string has to be.
bool IsAscii(absl::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80;
  });
}

// Fields that come twice are for protobuf.
bool ParsePlainRead(WireReader reader, PlainRequest& request) {
  bool named = false;
  while (!reader.done()) {
    uint32_t tag;
    if (!reader.Tag(tag)) return false;
    if (tag == WireReader::BytesTag(v1::ReadRequest::kNameFieldNumber) &&
        !named) {
      if (!reader.Bytes(request.name)) return false;
      named = true;
    } else if (tag == WireReader::VarintTag(
                          v1::ReadRequest::kMaxBytesFieldNumber) &&
               !request.says_max_bytes) {
      if (!reader.Varint(request.max)) return false;
      request.says_max_bytes = true;
    } else {
      return false;
    }
  }
  return IsAscii(request.name);
}

bool ParsePlainWrite(WireReader reader, PlainRequest& request) {
  bool named = false;
  bool said_data = false;
  while (!reader.done()) {
    uint32_t tag;
    if (!reader.Tag(tag)) return false;
    if (tag == WireReader::BytesTag(v1::WriteRequest::kNameFieldNumber) &&
        !named) {
      if (!reader.Bytes(request.name)) return false;
      named = true;
    } else if (tag ==
                   WireReader::BytesTag(v1::WriteRequest::kDataFieldNumber) &&
               !said_data) {
      if (!reader.Bytes(request.data)) return false;
      said_data = true;
    } else {
      return false;
    }
  }
  return IsAscii(request.name);
}

// --- Out ---------------------------------------------------------------------

// The head of a v1::Result whose response has so many bytes, which follow.
void AppendResultHead(std::string& out, uint64_t operation, uint8_t field,
                      size_t response) {
  FieldBuffer inside;
  inside.Varint(v1::Result::kOperationFieldNumber, operation);
  inside.BytesHead(field, response);
  FieldBuffer head;
  head.BytesHead(v1::SessionResponse::kResultsFieldNumber,
                 inside.size() + response);
  head.AppendTo(out);
  inside.AppendTo(out);
}

void AppendRead(std::string& out, uint64_t operation,
                engine::ReadOperation& op) {
  using R = v1::ReadResponse;
  const absl::Cord& data = op.data();
  FieldBuffer before;
  before.Varint(R::kOutcomeFieldNumber, v1::OUTCOME_DONE);
  if (!data.empty()) before.BytesHead(R::kDataFieldNumber, data.size());
  FieldBuffer behind;
  behind.Varint(R::kOffsetFieldNumber, op.offset());
  behind.Varint(R::kIncarnationFieldNumber, op.object().incarnation());
  behind.Varint(R::kBrokenFieldNumber, op.broken());
  behind.Varint(R::kSleptFieldNumber, op.slept());
  behind.Varint(R::kHoldIdFieldNumber, op.held() ? op.id() : 0);
  behind.Varint(R::kRedeliveredFieldNumber, op.redelivered());
  AppendResultHead(out, operation, kRead,
                   before.size() + data.size() + behind.size());
  before.AppendTo(out);
  if (const auto flat = data.TryFlat()) {
    out.append(flat->data(), flat->size());
  } else {
    for (const absl::string_view chunk : data.Chunks()) {
      out.append(chunk.data(), chunk.size());
    }
  }
  behind.AppendTo(out);
}

void AppendWrite(std::string& out, uint64_t operation,
                 const engine::WriteOperation& op) {
  using R = v1::WriteResponse;
  FieldBuffer fields;
  fields.Varint(R::kOutcomeFieldNumber, v1::OUTCOME_DONE);
  fields.Varint(R::kAcceptedBytesFieldNumber, op.accepted_bytes());
  fields.Varint(R::kOffsetFieldNumber, op.offset());
  fields.Varint(R::kIncarnationFieldNumber, op.object().incarnation());
  fields.Varint(R::kSleptFieldNumber, op.slept());
  AppendResultHead(out, operation, kWrite, fields.size());
  fields.AppendTo(out);
}

// --- Serving -----------------------------------------------------------------

// A handle's pipe may have been removed.
absl::StatusOr<engine::Started> StartOn(engine::PipeObject& pipe,
                                        Ref<engine::Operation> op) {
  const engine::Started started = pipe.Start(std::move(op), {});
  if (started == engine::Started::kGone) return RemovedError(pipe.name());
  return started;
}

absl::StatusOr<engine::Started> StartOn(engine::Engine& engine,
                                        absl::string_view name,
                                        Ref<engine::PipeObject>& last,
                                        const Ref<engine::Operation>& op) {
  for (;;) {
    if (!last || last->name() != name) {
      auto found = engine.FindOrMakePipe(name, {});
      if (!found.ok()) return found.status();
      last = *std::move(found);
    }
    const engine::Started started = last->Start(op, {});
    if (started != engine::Started::kGone) return started;
    last = nullptr;  // it was removed: another may be there by now
  }
}

}  // namespace

bool ParsePlain(absl::string_view bytes, uint64_t& handle, uint8_t& field,
                PlainRequest& request) {
  WireReader reader(bytes);
  uint32_t tag;
  if (!reader.Tag(tag)) return false;
  handle = 0;
  if (tag == WireReader::VarintTag(v1::Operation::kHandleFieldNumber)) {
    if (!reader.Varint(handle) || !reader.Tag(tag)) return false;
  }
  absl::string_view inside;
  if (tag == WireReader::BytesTag(kRead)) {
    field = kRead;
    return reader.Bytes(inside) && reader.done() &&
           ParsePlainRead(WireReader(inside), request);
  }
  if (tag == WireReader::BytesTag(kWrite)) {
    field = kWrite;
    return reader.Bytes(inside) && reader.done() &&
           ParsePlainWrite(WireReader(inside), request);
  }
  return false;
}

void ServePlain(Invocation& call, uint8_t field, const PlainRequest& request,
                Ref<engine::PipeObject>& last) {
  engine::Engine& engine = call.engine();
  if (field == kWrite) {
    engine::PipeWriter* const writer = call.writer();
    auto op = engine::MakeRef<engine::WriteOperation>(
        absl::Cord(request.data), writer, call.home(), call.caller(),
        call.session()->caller_info());
    call.Sleep(op, [&]() -> absl::StatusOr<engine::Started> {
      if (writer != nullptr) return StartOn(writer->pipe(), op);
      return StartOn(engine, request.name, last, op);
    });
    return;
  }
  engine::PipeReader* const reader = call.reader();
  auto op = engine::MakeRef<engine::ReadOperation>(
      engine::ReadSize(ReadBytesOf(engine, request)), reader, call.home(),
      call.caller(), call.session()->caller_info());
  op->HoldUntilTaken();
  call.Sleep(op, [&]() -> absl::StatusOr<engine::Started> {
    if (reader != nullptr) return StartOn(reader->pipe(), op);
    return StartOn(engine, request.name, last, op);
  });
}

bool AppendPlainResult(std::string& out, uint64_t operation, uint8_t field,
                       engine::Operation& op) {
  if (op.ending() != engine::Ending::kDone || op.timing().has_value()) {
    return false;
  }
  if (field == kRead) {
    AppendRead(out, operation, static_cast<engine::ReadOperation&>(op));
    return true;
  }
  if (field == kWrite) {
    AppendWrite(out, operation, static_cast<engine::WriteOperation&>(op));
    return true;
  }
  return false;
}

}  // namespace waitq::rpc
