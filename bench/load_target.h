// The servers that a load can be put on, and what its jobs are called there.

#ifndef WAITQ_BENCH_LOAD_TARGET_H_
#define WAITQ_BENCH_LOAD_TARGET_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "grpcpp/channel.h"
#include "grpcpp/support/byte_buffer.h"

namespace waitq::bench {

// A unary call.
struct Job {
  std::string method;
  grpc::ByteBuffer request;
};

// A stream that carries a payload, and what it begins and ends with.
struct StreamJob {
  std::string method;
  std::optional<grpc::ByteBuffer> first = {};
  grpc::ByteBuffer message = {};
  std::optional<grpc::ByteBuffer> last = {};
};

class Target {
 public:
  // "waitq" or "bare"; `control`: a connection that no load uses.
  static std::unique_ptr<Target> Make(
      const std::string& name, const std::shared_ptr<grpc::Channel>& control);
  virtual ~Target() = default;

  // Is answered at once.
  virtual Job Unary() = 0;

  // Sleeps until WakeAll(), which dies if it does not find `count` asleep. The
  // word that they wait for is put back before.
  virtual Job Sleep() = 0;
  virtual uint64_t Asleep() = 0;
  virtual void WakeAll(uint64_t count) = 0;

  // Each message, of so many bytes, comes back.
  virtual StreamJob Session(size_t bytes) = 0;

  // What the writer sends, in messages of so many bytes, the reader gets.
  virtual StreamJob RelayWriter(size_t bytes) = 0;
  virtual StreamJob RelayReader() = 0;
  // Whether a reader that got `bytes`, framing included, and at last this
  // message, got the `payload` whole.
  virtual bool IsWhole(uint64_t bytes, const grpc::ByteBuffer& last,
                       uint64_t payload) = 0;
};

}  // namespace waitq::bench

#endif  // WAITQ_BENCH_LOAD_TARGET_H_
