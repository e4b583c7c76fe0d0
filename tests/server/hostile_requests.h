// Requests that no client of ours would send, for every method of every
// service: made from the descriptors, with values at and beyond the edges, and
// then, some of them, damaged as bytes.

#ifndef WAITQ_TESTS_SERVER_HOSTILE_REQUESTS_H_
#define WAITQ_TESTS_SERVER_HOSTILE_REQUESTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "tests/support/random.h"
#include "waitq/v1/sessions.pb.h"

namespace waitq::test {

// All methods of all services, and how gRPC names one.
std::vector<const google::protobuf::MethodDescriptor*> AllMethods();
std::string PathOf(const google::protobuf::MethodDescriptor& method);

// Many requests are good ones, or nearly: those get deep. They share few names,
// so that they meet.
//
// The same for the same seed, and the same Learn()s.
// Thread safety: none.
class HostileRequests {
 public:
  explicit HostileRequests(uint64_t seed);
  // What is drawn from now on is drawn from this.
  void DrawFrom(const Random& random) { random_ = random; }

  const google::protobuf::MethodDescriptor& Method();
  // The messages of one call: mostly one, of a stream some, that open it first;
  // but also none, too many, or the wrong ones.
  std::vector<std::string> Messages(
      const google::protobuf::MethodDescriptor& method);

  // One message of such a call: the first is 0. Of a session, the next.
  std::string NextMessage(const google::protobuf::MethodDescriptor& method,
                          int index, bool tame) {
    return OneMessage(*method.input_type(), tame, index);
  }

  // Something that a server has answered: its numbers (ids of tasks and holds,
  // offsets) and tokens may be used in what comes.
  void Learn(const google::protobuf::Message& response);

  Random& random() { return random_; }

 private:
  using Field = google::protobuf::FieldDescriptor;

  // With `tame`, only what the rules allow, more or less; timeouts and sizes
  // are small.
  void Fill(google::protobuf::Message& message, bool tame);
  // One of a session: mostly what it may have next.
  void FillFrame(v1::SessionRequest& frame, bool tame);
  void FillHello(v1::SessionRequest::Hello& hello, bool tame);
  void FillField(google::protobuf::Message& message, const Field& field,
                 bool tame);
  // Which field of a oneof is set, if one is.
  const Field* Choose(const google::protobuf::OneofDescriptor& oneof,
                      bool tame);
  std::string OneMessage(const google::protobuf::Descriptor& type, bool tame,
                         int index);
  std::string Text(const Field& field, bool tame);
  int64_t Signed(const Field& field, bool tame);
  uint64_t Unsigned(const Field& field, bool tame);
  uint64_t Number(bool tame);
  // Of a result or an operation.
  uint64_t NumberInSession(bool tame);
  std::string Bytes(bool tame);
  void Damage(std::string& bytes);

  Random random_;
  const std::vector<const google::protobuf::MethodDescriptor*> methods_;
  // The message's place in its stream: `open` comes first.
  int index_ = 0;
  // Of a session: the number of its next operation; and one is being made,
  // which does not say what the session says.
  uint64_t next_operation_ = 1;
  bool in_session_ = false;
  // Learned: the last ones.
  std::array<uint64_t, 32> numbers_ = {};
  size_t learned_ = 0;
  std::array<uint64_t, 32> ids_ = {};
  size_t learned_ids_ = 0;
  uint64_t epoch_ = 0;
  std::string token_;
  std::array<std::string, 4> sessions_;  // their tokens
  size_t learned_sessions_ = 0;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_HOSTILE_REQUESTS_H_
