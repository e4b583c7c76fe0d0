// Calls that no generated stub makes: bytes as they are, to any method.

#ifndef WAITQ_TESTS_E2E_RAW_CALL_H_
#define WAITQ_TESTS_E2E_RAW_CALL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

namespace waitq::test {

struct RawAnswer {
  grpc::Status status;
  // The first response message; empty if there was none.
  std::string bytes;
};

// Sends one message to `method` ("/package.Service/Method"), of whatever kind,
// closes the request side, and takes the first response.
RawAnswer RawCall(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& method, const std::string& request);

}  // namespace waitq::test

#endif  // WAITQ_TESTS_E2E_RAW_CALL_H_
