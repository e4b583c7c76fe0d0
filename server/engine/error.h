// The engine's errors: an absl::Status that carries its errno, the object's
// name and the limit, for programs.

#ifndef WAITQ_SERVER_ENGINE_ERROR_H_
#define WAITQ_SERVER_ENGINE_ERROR_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace waitq::engine {

// What a program needs to know of an error.
struct ErrorDetails {
  // The errno's name: "EPIPE". Empty if the status has no details.
  std::string reason;
  // "object", "limit", "signal", "accepted_bytes": those that apply.
  std::map<std::string, std::string> metadata;
};

// An error whose canonical code follows from `error_number` (an errno) by the
// table in docs/semantics.md. `message` is one line for people.
absl::Status MakeError(int error_number, absl::string_view message,
                       std::map<std::string, std::string> metadata = {});

// The same status with one more entry in its metadata.
absl::Status WithMetadata(absl::Status status, absl::string_view key,
                          absl::string_view value);

ErrorDetails DetailsOf(const absl::Status& status);

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_ERROR_H_
