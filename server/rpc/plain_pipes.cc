#include "server/rpc/plain_pipes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/cord.h"
#include "core/check.h"
#include "google/protobuf/io/coded_stream.h"
#include "server/rpc/decode.h"
#include "server/rpc/status_map.h"
#include "server/rpc/wire_reader.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::rpc {
namespace {

using engine::Ref;
using google::protobuf::io::CodedOutputStream;

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

// The size of a field, and the field, as protobuf writes them: not at all if it
// is 0.
size_t TagSize(int field) { return field < 16 ? 1 : 2; }
size_t VarintFieldSize(int field, uint64_t value) {
  if (value == 0) return 0;
  return TagSize(field) + CodedOutputStream::VarintSize64(value);
}
uint8_t* WriteVarintField(int field, uint64_t value, uint8_t* to) {
  if (value == 0) return to;
  to =
      CodedOutputStream::WriteVarint32ToArray(WireReader::VarintTag(field), to);
  return CodedOutputStream::WriteVarint64ToArray(value, to);
}
uint8_t* WriteBytesHead(int field, size_t size, uint8_t* to) {
  to = CodedOutputStream::WriteVarint32ToArray(WireReader::BytesTag(field), to);
  return CodedOutputStream::WriteVarint64ToArray(size, to);
}

// Appends a v1::Result whose response has so many bytes; returns where those
// are to be written.
uint8_t* AppendResultOf(std::string& out, uint64_t operation, uint8_t field,
                        size_t response) {
  const size_t size =
      VarintFieldSize(v1::Result::kOperationFieldNumber, operation) +
      TagSize(field) + CodedOutputStream::VarintSize64(response) + response;
  const size_t begin = out.size();
  out.resize(begin + TagSize(v1::SessionResponse::kResultsFieldNumber) +
             CodedOutputStream::VarintSize64(size) + size);
  auto* to = reinterpret_cast<uint8_t*>(out.data() + begin);
  to = WriteBytesHead(v1::SessionResponse::kResultsFieldNumber, size, to);
  to = WriteVarintField(v1::Result::kOperationFieldNumber, operation, to);
  return WriteBytesHead(field, response, to);
}

void AppendRead(std::string& out, uint64_t operation,
                engine::ReadOperation& op) {
  using R = v1::ReadResponse;
  const absl::Cord& data = op.data();
  const uint64_t incarnation = op.object().incarnation();
  const uint64_t hold_id = op.held() ? op.id() : 0;
  size_t size = VarintFieldSize(R::kOutcomeFieldNumber, v1::OUTCOME_DONE) +
                VarintFieldSize(R::kOffsetFieldNumber, op.offset()) +
                VarintFieldSize(R::kIncarnationFieldNumber, incarnation) +
                VarintFieldSize(R::kBrokenFieldNumber, op.broken()) +
                VarintFieldSize(R::kSleptFieldNumber, op.slept()) +
                VarintFieldSize(R::kHoldIdFieldNumber, hold_id) +
                VarintFieldSize(R::kRedeliveredFieldNumber, op.redelivered());
  if (!data.empty()) {
    size += TagSize(R::kDataFieldNumber) +
            CodedOutputStream::VarintSize64(data.size()) + data.size();
  }
  uint8_t* to = AppendResultOf(out, operation, kRead, size);
  to = WriteVarintField(R::kOutcomeFieldNumber, v1::OUTCOME_DONE, to);
  if (!data.empty()) {
    to = WriteBytesHead(R::kDataFieldNumber, data.size(), to);
    if (const auto flat = data.TryFlat()) {
      to = std::copy(flat->begin(), flat->end(), to);
    } else {
      for (const absl::string_view chunk : data.Chunks()) {
        to = std::copy(chunk.begin(), chunk.end(), to);
      }
    }
  }
  to = WriteVarintField(R::kOffsetFieldNumber, op.offset(), to);
  to = WriteVarintField(R::kIncarnationFieldNumber, incarnation, to);
  to = WriteVarintField(R::kBrokenFieldNumber, op.broken(), to);
  to = WriteVarintField(R::kSleptFieldNumber, op.slept(), to);
  to = WriteVarintField(R::kHoldIdFieldNumber, hold_id, to);
  to = WriteVarintField(R::kRedeliveredFieldNumber, op.redelivered(), to);
  WAITQ_CHECK(to == reinterpret_cast<uint8_t*>(out.data() + out.size()),
              "a result is as long as it says");
}

void AppendWrite(std::string& out, uint64_t operation,
                 const engine::WriteOperation& op) {
  using R = v1::WriteResponse;
  const uint64_t accepted = op.accepted_bytes();
  const uint64_t incarnation = op.object().incarnation();
  uint8_t* to = AppendResultOf(
      out, operation, kWrite,
      VarintFieldSize(R::kOutcomeFieldNumber, v1::OUTCOME_DONE) +
          VarintFieldSize(R::kAcceptedBytesFieldNumber, accepted) +
          VarintFieldSize(R::kOffsetFieldNumber, op.offset()) +
          VarintFieldSize(R::kIncarnationFieldNumber, incarnation) +
          VarintFieldSize(R::kSleptFieldNumber, op.slept()));
  to = WriteVarintField(R::kOutcomeFieldNumber, v1::OUTCOME_DONE, to);
  to = WriteVarintField(R::kAcceptedBytesFieldNumber, accepted, to);
  to = WriteVarintField(R::kOffsetFieldNumber, op.offset(), to);
  to = WriteVarintField(R::kIncarnationFieldNumber, incarnation, to);
  to = WriteVarintField(R::kSleptFieldNumber, op.slept(), to);
  WAITQ_CHECK(to == reinterpret_cast<uint8_t*>(out.data() + out.size()),
              "a result is as long as it says");
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
