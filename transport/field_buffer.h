// The least of protobuf's wire format that can be written without a message.

#ifndef WAITQ_TRANSPORT_FIELD_BUFFER_H_
#define WAITQ_TRANSPORT_FIELD_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "google/protobuf/io/coded_stream.h"
#include "transport/wire_reader.h"

namespace waitq {

// A few fields of a message, or the heads of some, whose bytes follow from
// where they lie.
//
// Thread safety: none.
class FieldBuffer {
 public:
  // So many fields, or heads, fit: of a tag of two bytes and a number of ten.
  static constexpr size_t kFieldsMax = 7;

  // As protobuf writes it: not at all if it is 0.
  void Varint(int field, uint64_t value) {
    if (value != 0) Number(WireReader::VarintTag(field), value);
  }
  // Also if it is 0.
  void VarintAlways(int field, uint64_t value) {
    Number(WireReader::VarintTag(field), value);
  }
  // `size` bytes are to follow.
  void BytesHead(int field, size_t size) {
    Number(WireReader::BytesTag(field), size);
  }

  size_t size() const { return static_cast<size_t>(to_ - bytes_); }
  void AppendTo(std::string& out) const {
    out.append(reinterpret_cast<const char*>(bytes_), size());
  }

 private:
  using Stream = google::protobuf::io::CodedOutputStream;
  void Number(uint32_t tag, uint64_t value) {
    to_ = Stream::WriteVarint32ToArray(tag, to_);
    to_ = Stream::WriteVarint64ToArray(value, to_);
  }

  uint8_t bytes_[kFieldsMax * 12];
  uint8_t* to_ = bytes_;
};

}  // namespace waitq

#endif  // WAITQ_TRANSPORT_FIELD_BUFFER_H_
