// The least of protobuf's wire format that can be read without a message.

#ifndef WAITQ_TRANSPORT_WIRE_READER_H_
#define WAITQ_TRANSPORT_WIRE_READER_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "google/protobuf/wire_format_lite.h"

namespace waitq {

// Reads from the front of some bytes. Whatever it does not know, or is not
// whole, it does not read: then the bytes are for a real parser.
class WireReader {
 public:
  using Type = google::protobuf::internal::WireFormatLite::WireType;
  static constexpr uint32_t Tag(int field, Type type) {
    return static_cast<uint32_t>(field) << 3 | type;
  }
  static constexpr uint32_t VarintTag(int field) {
    return Tag(field, Type::WIRETYPE_VARINT);
  }
  static constexpr uint32_t BytesTag(int field) {
    return Tag(field, Type::WIRETYPE_LENGTH_DELIMITED);
  }

  explicit WireReader(absl::string_view bytes)
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return at_ == end_; }
  const char* at() const { return at_; }

  bool Varint(uint64_t& value, int bits = 64) {
    if (at_ != end_ && static_cast<uint8_t>(*at_) < 0x80) {  // nearly all are
      value = static_cast<uint8_t>(*at_++);
      return true;
    }
    value = 0;
    for (int shift = 0; at_ != end_ && shift < bits; shift += 7) {
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Tag(uint32_t& tag) {
    uint64_t value;
    if (!Varint(value, 32) || value > UINT32_MAX || value >> 3 == 0) {
      return false;
    }
    tag = static_cast<uint32_t>(value);
    return true;
  }
  bool Bytes(absl::string_view& bytes) {
    uint64_t size;
    if (!Varint(size, 32) || size > static_cast<size_t>(end_ - at_))
      return false;
    bytes = absl::string_view(at_, size);
    at_ += size;
    return true;
  }
  // Goes over the value of a field with that tag.
  bool Skip(uint32_t tag) {
    switch (static_cast<Type>(tag & 7)) {
      case Type::WIRETYPE_VARINT: {
        uint64_t value;
        return Varint(value);
      }
      case Type::WIRETYPE_LENGTH_DELIMITED: {
        absl::string_view bytes;
        return Bytes(bytes);
      }
      case Type::WIRETYPE_FIXED64:
        return Forward(8);
      case Type::WIRETYPE_FIXED32:
        return Forward(4);
      case Type::WIRETYPE_START_GROUP:
        return SkipGroup();
      default:
        return false;
    }
  }

 private:
  // To the end of a group that has begun, and those within it. (Whether an end
  // is of that field is for a parser to say.)
  bool SkipGroup() {
    for (uint64_t depth = 1; depth > 0;) {
      uint32_t tag;
      if (!Tag(tag)) return false;
      const auto type = static_cast<Type>(tag & 7);
      if (type == Type::WIRETYPE_START_GROUP) {
        ++depth;
      } else if (type == Type::WIRETYPE_END_GROUP) {
        --depth;
      } else if (!Skip(tag)) {
        return false;
      }
    }
    return true;
  }

  bool Forward(size_t size) {
    if (size > static_cast<size_t>(end_ - at_)) return false;
    at_ += size;
    return true;
  }

  const char* at_;
  const char* const end_;
};

}  // namespace waitq

#endif  // WAITQ_TRANSPORT_WIRE_READER_H_
