// How users name a server.

#ifndef WAITQ_CLIENT_ADDRESS_H_
#define WAITQ_CLIENT_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace waitq {

// gRPC's name for the server at `address`: HOST:PORT, [IPV6]:PORT or unix:PATH
// (a relative PATH begins in the current folder). INVALID_ARGUMENT names the
// address and these forms.
absl::StatusOr<std::string> AddressToTarget(const std::string& address);

}  // namespace waitq

#endif  // WAITQ_CLIENT_ADDRESS_H_
