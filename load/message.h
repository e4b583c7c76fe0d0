// What the producers of a load send: numbered, dated and sealed, so that
// whoever receives it can tell what it is and whether it is whole.

#ifndef WAITQ_LOAD_MESSAGE_H_
#define WAITQ_LOAD_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace waitq::load {

inline constexpr size_t kMessageBytesMin = 40;

// The producer of the messages that say "no more is coming".
inline constexpr uint32_t kEndProducer = UINT32_MAX;

struct Message {
  uint32_t producer = 0;
  uint64_t sequence = 0;  // from 0
  // When it was to be sent.
  absl::Time intended;
};

// The message as `size` bytes, kMessageBytesMin or more; what does not carry
// the above is filled with bytes that depend on it. `run`: any number that the
// messages of other runs do not have.
std::string EncodeMessage(uint64_t run, const Message& message, size_t size);

// DATA_LOSS: says what is wrong with it.
absl::StatusOr<Message> DecodeMessage(uint64_t run, std::string_view bytes,
                                      size_t size);

// For streams of bytes: fills `bytes` with what stream `stream` has at
// `offset`, or finds the first byte that is another one; npos if none is.
void FillStream(uint64_t stream, uint64_t offset, std::string& bytes);
size_t FindWrongByte(uint64_t stream, uint64_t offset, std::string_view bytes);

}  // namespace waitq::load

#endif  // WAITQ_LOAD_MESSAGE_H_
