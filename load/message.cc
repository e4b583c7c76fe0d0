#include "load/message.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace waitq::load {
namespace {

static_assert(std::endian::native == std::endian::little);

// Run, producer, sequence, intended time, seal; then the filling.
using Header = std::array<uint64_t, 5>;
static_assert(sizeof(Header) == kMessageBytesMin);

// Sebastiano Vigna's splitmix64: every bit of the input moves all of them.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Of all bytes but the seal's own, which are taken as 0.
uint64_t Seal(std::string_view bytes) {
  uint64_t seal = bytes.size();
  for (size_t i = 0; i < bytes.size(); i += sizeof(uint64_t)) {
    uint64_t word = 0;
    if (i != sizeof(Header) - sizeof(uint64_t)) {
      std::memcpy(&word, bytes.data() + i,
                  std::min(sizeof(word), bytes.size() - i));
    }
    seal = std::rotl(seal ^ word, 23) * 0x9e3779b97f4a7c15;
  }
  return Mix(seal);
}

// The eight bytes that stream `stream` has at 8 x `index`.
uint64_t StreamWord(uint64_t stream, uint64_t index) {
  return (index + 1) * 0x9e3779b97f4a7c15 ^ Mix(stream);
}

char StreamByte(uint64_t stream, uint64_t offset) {
  return static_cast<char>(StreamWord(stream, offset / 8) >> (offset % 8 * 8));
}

}  // namespace

std::string EncodeMessage(uint64_t run, const Message& message, size_t size) {
  std::string bytes(std::max(size, kMessageBytesMin), '\0');
  FillStream(message.producer, message.sequence * 8, bytes);
  const Header header = {
      run, message.producer, message.sequence,
      static_cast<uint64_t>(absl::ToUnixNanos(message.intended)), 0};
  std::memcpy(bytes.data(), header.data(), sizeof(header));
  const uint64_t seal = Seal(bytes);
  std::memcpy(bytes.data() + sizeof(header) - sizeof(seal), &seal,
              sizeof(seal));
  return bytes;
}

absl::StatusOr<Message> DecodeMessage(uint64_t run, std::string_view bytes,
                                      size_t size) {
  if (bytes.size() != std::max(size, kMessageBytesMin)) {
    return absl::DataLossError(absl::StrCat("a message of ", bytes.size(),
                                            " bytes; ", size, " were sent"));
  }
  Header header;
  std::memcpy(header.data(), bytes.data(), sizeof(header));
  if (header[4] != Seal(bytes)) {
    return absl::DataLossError("a message is damaged: its checksum is wrong");
  }
  if (header[0] != run) {
    return absl::DataLossError("a message of another run");
  }
  return Message{
      .producer = static_cast<uint32_t>(header[1]),
      .sequence = header[2],
      .intended = absl::FromUnixNanos(static_cast<int64_t>(header[3]))};
}

void FillStream(uint64_t stream, uint64_t offset, std::string& bytes) {
  size_t i = 0;
  while (i < bytes.size() && (offset + i) % 8 != 0) {
    bytes[i] = StreamByte(stream, offset + i);
    ++i;
  }
  for (; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = StreamWord(stream, (offset + i) / 8);
    std::memcpy(bytes.data() + i, &word, sizeof(word));
  }
  for (; i < bytes.size(); ++i) bytes[i] = StreamByte(stream, offset + i);
}

size_t FindWrongByte(uint64_t stream, uint64_t offset, std::string_view bytes) {
  size_t i = 0;
  for (; i < bytes.size(); ++i) {
    // Eight at a time where they stand right.
    while ((offset + i) % 8 == 0 && i + 8 <= bytes.size()) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + i, sizeof(word));
      if (word != StreamWord(stream, (offset + i) / 8)) break;
      i += 8;
    }
    if (i == bytes.size()) break;
    if (bytes[i] != StreamByte(stream, offset + i)) return i;
  }
  return std::string_view::npos;
}

}  // namespace waitq::load
